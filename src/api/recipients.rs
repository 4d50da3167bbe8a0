//! Recipients: `ResolveRecipients`, `BatchResolveRecipients`, and the conversions that `StreamRecipients` shares with it.

use crate::{
    api::{convert::Violations, proto},
    app::App,
    domain::{
        attention_line::{DEFAULT_ROOM_CHARS, MIN_ROOM_CHARS},
        ids::ContactId,
        recipient_changes::RecipientChange,
        recipients::{
            DeliveryMethod, Exclusion, ExclusionReason, Purpose, Recipient, RecipientReason,
            Resolution,
        },
    },
    error::{Result, Violation},
};

pub(super) async fn resolve(
    app: &App,
    request: proto::ResolveRecipientsRequest,
) -> Result<proto::ResolveRecipientsResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let purpose = decode_purpose_and_room(
        request.purpose,
        request.attention_line_chars,
        &mut violations,
    );
    let (number, (purpose, room)) = violations.finish(number.zip(purpose))?;
    let resolution = app.resolve_recipients(&number, purpose, room).await?;
    Ok(proto::ResolveRecipientsResponse {
        resolution: Some(encode(resolution)),
    })
}

pub(super) async fn batch_resolve(
    app: &App,
    request: proto::BatchResolveRecipientsRequest,
) -> Result<proto::BatchResolveRecipientsResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let mut purposes = Vec::new();
    for (index, purpose) in request
        .purposes
        .iter()
        .enumerate()
        .take(Purpose::ALL.len() + 1)
    {
        let field = format!("purposes[{index}]");
        let purpose = decode_purpose(*purpose, &field, &mut violations);
        if purpose.is_some_and(|purpose| purposes.contains(&purpose)) {
            violations.add(&field, Violation::RepeatedPurpose);
        }
        purposes.extend(purpose);
    }
    if request.purposes.is_empty() {
        purposes.extend(Purpose::ALL);
    }
    let room = if purposes.contains(&Purpose::Invoice) {
        decode_room(request.attention_line_chars, &mut violations)
    } else {
        DEFAULT_ROOM_CHARS
    };
    let number = violations.finish(number)?;
    let resolutions = app.resolve_purposes(&number, &purposes, room).await?;
    Ok(proto::BatchResolveRecipientsResponse {
        resolutions: resolutions.into_iter().map(encode).collect(),
    })
}

/// Decodes the purpose and the maximum length of the attention line, which other purposes than invoices
/// ignore.
pub(super) fn decode_purpose_and_room(
    purpose: i32,
    attention_line_chars: i32,
    violations: &mut Violations,
) -> Option<(Purpose, usize)> {
    let purpose = decode_purpose(purpose, "purpose", violations);
    let is_other = purpose.is_some_and(|purpose| purpose != Purpose::Invoice);
    let room = if is_other {
        DEFAULT_ROOM_CHARS
    } else {
        decode_room(attention_line_chars, violations)
    };
    purpose.map(|purpose| (purpose, room))
}

fn decode_purpose(number: i32, field: &str, violations: &mut Violations) -> Option<Purpose> {
    let purpose = match proto::Purpose::try_from(number) {
        Ok(proto::Purpose::Invoice) => Some(Purpose::Invoice),
        Ok(proto::Purpose::PaymentReminder) => Some(Purpose::PaymentReminder),
        Ok(proto::Purpose::SecurityNotice) => Some(Purpose::SecurityNotice),
        Ok(proto::Purpose::PlannedMaintenance) => Some(Purpose::PlannedMaintenance),
        Ok(proto::Purpose::Outage) => Some(Purpose::Outage),
        Ok(proto::Purpose::General) => Some(Purpose::General),
        Ok(proto::Purpose::Unspecified) | Err(_) => None,
    };
    if purpose.is_none() {
        violations.add(field, Violation::UnknownPurpose);
    }
    purpose
}

fn decode_room(chars: i32, violations: &mut Violations) -> usize {
    match usize::try_from(chars) {
        Ok(0) => DEFAULT_ROOM_CHARS,
        Ok(room) if room >= MIN_ROOM_CHARS => room,
        Ok(_) | Err(_) => {
            let (default, min) = (DEFAULT_ROOM_CHARS, MIN_ROOM_CHARS);
            let violation = Violation::AttentionLineTooShort { default, min };
            violations.add("attention_line_chars", violation);
            DEFAULT_ROOM_CHARS
        }
    }
}

pub(super) fn encode(resolution: Resolution) -> proto::Resolution {
    let delivery = match resolution.delivery {
        DeliveryMethod::Email => proto::Delivery::Email,
        DeliveryMethod::Postal => proto::Delivery::Postal,
        DeliveryMethod::None => proto::Delivery::None,
    };
    proto::Resolution {
        customer_number: resolution.customer_number.as_str().to_owned(),
        recipients: resolution
            .recipients
            .into_iter()
            .map(encode_recipient)
            .collect(),
        exclusions: resolution
            .exclusions
            .into_iter()
            .map(encode_exclusion)
            .collect(),
        delivery: delivery.into(),
        attention_line: resolution.attention_line.text,
        attention_line_omitted_names: resolution.attention_line.omitted_names,
        purpose: encode_purpose(resolution.purpose).into(),
    }
}

/// Encodes the effects of a change.
pub(super) fn encode_changes(changes: Vec<RecipientChange>) -> Vec<proto::RecipientChange> {
    let encode_change = |change: RecipientChange| proto::RecipientChange {
        purpose: encode_purpose(change.after.purpose).into(),
        before: Some(encode(change.before)),
        after: Some(encode(change.after)),
    };
    changes.into_iter().map(encode_change).collect()
}

fn encode_purpose(purpose: Purpose) -> proto::Purpose {
    match purpose {
        Purpose::Invoice => proto::Purpose::Invoice,
        Purpose::PaymentReminder => proto::Purpose::PaymentReminder,
        Purpose::SecurityNotice => proto::Purpose::SecurityNotice,
        Purpose::PlannedMaintenance => proto::Purpose::PlannedMaintenance,
        Purpose::Outage => proto::Purpose::Outage,
        Purpose::General => proto::Purpose::General,
    }
}

fn encode_recipient(recipient: Recipient) -> proto::Recipient {
    let reason = match recipient.reason {
        RecipientReason::TypeMatch => proto::RecipientReason::TypeMatch,
        RecipientReason::StandardFallback => proto::RecipientReason::StandardFallback,
        RecipientReason::ContactDataSetting => proto::RecipientReason::ContactDataSetting,
        RecipientReason::ContactDataFallback => proto::RecipientReason::ContactDataFallback,
        RecipientReason::ContactData => proto::RecipientReason::ContactData,
    };
    proto::Recipient {
        contact_id: encode_id(recipient.contact_id),
        display_name: recipient.display_name,
        email: recipient.email.as_str().to_owned(),
        locale: recipient.locale.as_str().to_owned(),
        reason: reason.into(),
    }
}

fn encode_exclusion(exclusion: Exclusion) -> proto::Exclusion {
    let reason = match exclusion.reason {
        ExclusionReason::NoEmail => proto::ExclusionReason::NoEmail,
        ExclusionReason::EmailUnconfirmed => proto::ExclusionReason::EmailUnconfirmed,
        ExclusionReason::InvoiceEmailOff => proto::ExclusionReason::InvoiceEmailOff,
        ExclusionReason::DuplicateAddress => proto::ExclusionReason::DuplicateAddress,
        ExclusionReason::NotificationsOff => proto::ExclusionReason::NotificationsOff,
        ExclusionReason::EmailBounced => proto::ExclusionReason::EmailBounced,
    };
    proto::Exclusion {
        contact_id: encode_id(exclusion.contact_id),
        reason: reason.into(),
    }
}

/// Encodes the id of a contact; empty for the contact data.
fn encode_id(id: Option<ContactId>) -> String {
    id.map_or_else(String::new, |id| id.0.to_string())
}
