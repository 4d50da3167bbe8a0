//! The review of contacts: `ReviewContacts`, `MarkContactsReviewed`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, change_options},
        proto,
    },
    app::App,
    crypto::keyring::VersionedKeys,
    domain::review::{Finding, FindingKind},
    error::Result,
};

pub(super) async fn review(
    app: &App,
    request: proto::ReviewContactsRequest,
) -> Result<proto::ReviewContactsResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let (findings, last) = app.review_contacts(&violations.finish(number)?).await?;
    Ok(proto::ReviewContactsResponse {
        findings: findings.into_iter().map(encode).collect(),
        last_review: last.map(convert::contacts_review),
    })
}

pub(super) async fn mark_reviewed(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::MarkContactsReviewedRequest,
) -> Result<proto::MarkContactsReviewedResponse> {
    const RPC: &str = "MarkContactsReviewed";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let number = violations.customer_number("customer_number", &request.customer_number);
    let number = violations.finish(number)?;
    let customer = app
        .mark_contacts_reviewed(caller.actor(), number, options)
        .await?;
    Ok(proto::MarkContactsReviewedResponse {
        customer: Some(convert::customer(customer)),
    })
}

fn encode(finding: Finding) -> proto::Finding {
    let kind = match finding.kind {
        FindingKind::NoInvoiceRecipient => proto::FindingKind::NoInvoiceRecipient,
        FindingKind::NoTechnicalContact => proto::FindingKind::NoTechnicalContact,
        FindingKind::NoSubstitute => proto::FindingKind::NoSubstitute,
        FindingKind::NoEmail => proto::FindingKind::NoEmail,
        FindingKind::EmailUnconfirmed => proto::FindingKind::EmailUnconfirmed,
        FindingKind::EmailBounced => proto::FindingKind::EmailBounced,
        FindingKind::EmailConfirmedLongAgo => proto::FindingKind::EmailConfirmedLongAgo,
        FindingKind::InvoiceEmailLapsed => proto::FindingKind::InvoiceEmailLapsed,
        FindingKind::NoContactDataEmail => proto::FindingKind::NoContactDataEmail,
        FindingKind::ContactDataEmailBounced => proto::FindingKind::ContactDataEmailBounced,
    };
    let ids = finding.contact_ids.into_iter();
    proto::Finding {
        kind: kind.into(),
        contact_ids: ids.map(|id| id.0.to_string()).collect(),
    }
}
