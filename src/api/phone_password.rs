//! Phone passwords: `SetPhonePassword`, `ClearPhonePassword`, `CheckPhonePassword`, `UnlockPhonePassword`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, timestamp},
        proto::{self, set_phone_password_request::Source},
    },
    app::{App, PhonePasswordCheck, PhonePasswordVerdict},
    domain::{phone_password::NormalizedPassword, text},
    error::{Result, Violation},
};

const MAX_REASON_CHARS: usize = 500;

pub(super) async fn set(
    app: &App,
    caller: &Caller,
    request: proto::SetPhonePasswordRequest,
) -> Result<proto::SetPhonePasswordResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let password = match &request.source {
        Some(Source::PhonePassword(text)) => violations
            .check("phone_password", NormalizedPassword::parse(text))
            .map(Some),
        Some(Source::Generate(true)) => Some(None),
        Some(Source::Generate(false)) => {
            violations.add("generate", Violation::GenerateFalse);
            None
        }
        None => {
            violations.add("source", Violation::PasswordMissing);
            None
        }
    };
    let (contact, password) = violations.finish(contact.zip(password))?;
    let actor = caller.actor();
    let (contact, generated_phone_password) = match password {
        Some(password) => {
            let contact = app.set_phone_password(actor, contact, password).await?;
            (contact, String::new())
        }
        None => app.generate_phone_password(actor, contact).await?,
    };
    Ok(proto::SetPhonePasswordResponse {
        contact: Some(convert::contact(&contact)),
        generated_phone_password,
    })
}

pub(super) async fn clear(
    app: &App,
    caller: &Caller,
    request: proto::ClearPhonePasswordRequest,
) -> Result<proto::ClearPhonePasswordResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = app.clear_phone_password(caller.actor(), contact).await?;
    Ok(proto::ClearPhonePasswordResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn check(
    app: &App,
    caller: &Caller,
    request: proto::CheckPhonePasswordRequest,
) -> Result<proto::CheckPhonePasswordResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let candidate = violations.check(
        "phone_password",
        NormalizedPassword::from_spoken(&request.phone_password),
    );
    let call_id = violations.call_id(&request.call_id);
    let check = (|| {
        Some(PhonePasswordCheck {
            contact: contact?,
            candidate: candidate?,
            call_id: call_id?,
        })
    })();
    let check = violations.finish(check)?;
    let verdict = app.check_phone_password(caller.actor(), check).await?;
    Ok(match verdict {
        PhonePasswordVerdict::Match { grant, contact } => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::Match.into(),
            retry_time: None,
            grant: grant.token,
            grant_expire_time: Some(timestamp(grant.expire_time)),
            contact: Some(convert::contact(&contact)),
        },
        PhonePasswordVerdict::NoMatch => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::NoMatch.into(),
            ..proto::CheckPhonePasswordResponse::default()
        },
        PhonePasswordVerdict::Locked { retry_time } => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::Locked.into(),
            retry_time: retry_time.map(timestamp),
            ..proto::CheckPhonePasswordResponse::default()
        },
    })
}

pub(super) async fn unlock(
    app: &App,
    caller: &Caller,
    request: proto::UnlockPhonePasswordRequest,
) -> Result<proto::UnlockPhonePasswordResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let reason = violations.check(
        "reason",
        text::single_line(&request.reason, MAX_REASON_CHARS),
    );
    let (contact, reason) = violations.finish(contact.zip(reason))?;
    let contact = app
        .unlock_phone_password(caller.actor(), contact, reason)
        .await?;
    Ok(proto::UnlockPhonePasswordResponse {
        contact: Some(convert::contact(&contact)),
    })
}
