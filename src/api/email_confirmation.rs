//! E-mail addresses: `ChangeEmail`, `RemoveEmail`, `CancelEmailChange`, `ResendEmailConfirmation`,
//! `InspectEmailConfirmation`, `ConfirmEmail`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, change_options, timestamp},
        proto,
    },
    app::{App, ChangeOptions, EmailEdit, UpdateContact},
    crypto::keyring::VersionedKeys,
    domain::{
        email_address::EmailAddress,
        email_confirmation::{ConfirmationState, ConfirmationToken},
        ids::ContactRef,
    },
    error::{Error, Result, Violation},
};

pub(super) async fn change(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::ChangeEmailRequest,
) -> Result<proto::ChangeEmailResponse> {
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "ChangeEmail", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let email = violations.check("email", EmailAddress::parse(&request.email));
    let (contact, email) = violations.finish(contact.zip(email))?;
    let contact = edit(app, caller, contact, EmailEdit::Enter(email), options).await?;
    Ok(proto::ChangeEmailResponse {
        contact: Some(contact),
    })
}

pub(super) async fn remove(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::RemoveEmailRequest,
) -> Result<proto::RemoveEmailResponse> {
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "RemoveEmail", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = edit(app, caller, contact, EmailEdit::Remove, options).await?;
    Ok(proto::RemoveEmailResponse {
        contact: Some(contact),
    })
}

pub(super) async fn cancel(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::CancelEmailChangeRequest,
) -> Result<proto::CancelEmailChangeResponse> {
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "CancelEmailChange", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = edit(app, caller, contact, EmailEdit::CancelPending, options).await?;
    Ok(proto::CancelEmailChangeResponse {
        contact: Some(contact),
    })
}

/// Changes the addresses of a contact, and nothing else.
async fn edit(
    app: &App,
    caller: &Caller,
    contact: ContactRef,
    edit: EmailEdit,
    options: ChangeOptions,
) -> Result<proto::Contact> {
    let update = UpdateContact {
        email: Some(edit),
        ..UpdateContact::new(contact, options)
    };
    let updated = app.update_contact(caller.actor(), update).await?;
    Ok(convert::contact(&updated.contact))
}

pub(super) async fn resend(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::ResendEmailConfirmationRequest,
) -> Result<proto::ResendEmailConfirmationResponse> {
    const RPC: &str = "ResendEmailConfirmation";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = app
        .resend_email_confirmation(caller.actor(), contact, options)
        .await?;
    Ok(proto::ResendEmailConfirmationResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn inspect(
    app: &App,
    request: proto::InspectEmailConfirmationRequest,
) -> Result<proto::InspectEmailConfirmationResponse> {
    let token = token(&request.token)?;
    let inspection = app.inspect_email_confirmation(&token).await?;
    Ok(proto::InspectEmailConfirmationResponse {
        state: encode_state(inspection.state).into(),
        masked_email: inspection.masked_email,
        expire_time: Some(timestamp(inspection.expire_time)),
    })
}

pub(super) async fn confirm(
    app: &App,
    caller: &Caller,
    request: proto::ConfirmEmailRequest,
) -> Result<proto::ConfirmEmailResponse> {
    let token = token(&request.token)?;
    let confirmed = app.confirm_email(caller.actor(), &token).await?;
    Ok(proto::ConfirmEmailResponse {
        customer_number: confirmed.contact.customer_number.as_str().to_owned(),
        contact_id: confirmed.contact.contact_id.0.to_string(),
        already_confirmed: confirmed.already_confirmed,
    })
}

/// Decodes the token of a link. Tokens are opaque to clients, so a malformed one is not found.
fn token(text: &str) -> Result<ConfirmationToken> {
    if text.is_empty() {
        return Err(Error::invalid_field("token", Violation::Required));
    }
    ConfirmationToken::parse(text).ok_or(Error::ConfirmationNotFound)
}

/// Encodes the state of a link.
pub(super) fn encode_state(state: ConfirmationState) -> proto::ConfirmationState {
    match state {
        ConfirmationState::Pending => proto::ConfirmationState::Pending,
        ConfirmationState::Confirmed => proto::ConfirmationState::Confirmed,
        ConfirmationState::Expired => proto::ConfirmationState::Expired,
        ConfirmationState::Superseded => proto::ConfirmationState::Superseded,
    }
}
