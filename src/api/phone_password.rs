//! Phone passwords: `SetPhonePassword`, `ClearPhonePassword`, `UnlockPhonePassword`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, change_options},
        proto::{self, set_phone_password_request::Source},
    },
    app::{App, NewPhonePassword, PhonePasswordEdit, UpdateContact},
    crypto::keyring::VersionedKeys,
    domain::{phone_password::NormalizedPassword, text},
    error::{Result, Violation},
};

const MAX_REASON_CHARS: usize = 500;

pub(super) async fn set(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::SetPhonePasswordRequest,
) -> Result<proto::SetPhonePasswordResponse> {
    const FIELD: &str = "phone_password";
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "SetPhonePassword", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let new = match &request.source {
        Some(Source::PhonePassword(text)) => violations
            .check(FIELD, NormalizedPassword::parse(text))
            .map(NewPhonePassword::Given),
        Some(Source::Generate(true)) => Some(NewPhonePassword::Generated),
        Some(Source::Generate(false)) => {
            violations.add("generate", Violation::GenerateFalse);
            None
        }
        None => {
            violations.add("source", Violation::PasswordMissing);
            None
        }
    };
    let (contact, new) = violations.finish(contact.zip(new))?;
    let update = UpdateContact {
        phone_password: Some(PhonePasswordEdit::Set { new, field: FIELD }),
        ..UpdateContact::new(contact, options)
    };
    let updated = app.update_contact(caller.actor(), update).await?;
    Ok(proto::SetPhonePasswordResponse {
        contact: Some(convert::contact(&updated.contact)),
        generated_phone_password: updated.generated_phone_password.unwrap_or_default(),
    })
}

pub(super) async fn clear(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::ClearPhonePasswordRequest,
) -> Result<proto::ClearPhonePasswordResponse> {
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "ClearPhonePassword", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let update = UpdateContact {
        phone_password: Some(PhonePasswordEdit::Clear),
        ..UpdateContact::new(contact, options)
    };
    let updated = app.update_contact(caller.actor(), update).await?;
    Ok(proto::ClearPhonePasswordResponse {
        contact: Some(convert::contact(&updated.contact)),
    })
}

pub(super) async fn unlock(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::UnlockPhonePasswordRequest,
) -> Result<proto::UnlockPhonePasswordResponse> {
    const RPC: &str = "UnlockPhonePassword";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let reason = violations.check(
        "reason",
        text::single_line(&request.reason, MAX_REASON_CHARS),
    );
    let (contact, reason) = violations.finish(contact.zip(reason))?;
    let contact = app
        .unlock_phone_password(caller.actor(), contact, reason, options)
        .await?;
    Ok(proto::UnlockPhonePasswordResponse {
        contact: Some(convert::contact(&contact)),
    })
}
