//! The proof of a caller's identity: `CheckPhonePassword`, `CheckOneTimeCode`, `SendOneTimeCode`,
//! `CreateOneTimeCode`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, change_options, timestamp},
        phone_orders, proto,
    },
    app::{App, CallerCheck, CallerVerdict, Candidate, CodeRequest},
    crypto::keyring::VersionedKeys,
    domain::{
        authentication::OneTimeCode, contact::Contact, ids::ContactRef,
        phone_password::NormalizedPassword,
    },
    error::Result,
};

pub(super) async fn check_password(
    app: &App,
    caller: &Caller,
    request: proto::CheckPhonePasswordRequest,
) -> Result<proto::CheckPhonePasswordResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let password = NormalizedPassword::from_spoken(&request.phone_password);
    let candidate = violations.check("phone_password", password);
    let call_id = violations.call_id(&request.call_id);
    let candidate = candidate.map(Candidate::Password);
    let check = violations.finish(caller_check(contact, candidate, call_id))?;
    app.authenticate_caller(caller.actor(), check)
        .await
        .map(encode_verdict)
}

fn caller_check(
    contact: Option<ContactRef>,
    candidate: Option<Candidate>,
    call_id: Option<String>,
) -> Option<CallerCheck> {
    Some(CallerCheck {
        contact: contact?,
        candidate: candidate?,
        call_id: call_id?,
    })
}

pub(super) async fn check_code(
    app: &App,
    caller: &Caller,
    request: proto::CheckOneTimeCodeRequest,
) -> Result<proto::CheckOneTimeCodeResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let candidate = violations.check("code", OneTimeCode::parse(&request.code));
    let call_id = violations.call_id(&request.call_id);
    let candidate = candidate.map(Candidate::Code);
    let check = violations.finish(caller_check(contact, candidate, call_id))?;
    let verdict = app.authenticate_caller(caller.actor(), check).await?;
    // The two responses have the same fields; each RPC has messages of its own.
    let proto::CheckPhonePasswordResponse {
        verdict,
        retry_time,
        grant,
        grant_expire_time,
        caller,
        order_options,
    } = encode_verdict(verdict);
    Ok(proto::CheckOneTimeCodeResponse {
        verdict,
        retry_time,
        grant,
        grant_expire_time,
        caller,
        order_options,
    })
}

fn encode_verdict(verdict: CallerVerdict) -> proto::CheckPhonePasswordResponse {
    match verdict {
        CallerVerdict::Match(caller) => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::Match.into(),
            retry_time: None,
            grant: caller.grant.token,
            grant_expire_time: Some(timestamp(caller.grant.expire_time)),
            caller: Some(encode_caller(&caller.contact)),
            order_options: caller
                .order_options
                .iter()
                .map(phone_orders::encode_option)
                .collect(),
        },
        CallerVerdict::NoMatch => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::NoMatch.into(),
            ..proto::CheckPhonePasswordResponse::default()
        },
        CallerVerdict::Locked { retry_time } => proto::CheckPhonePasswordResponse {
            verdict: proto::PhonePasswordVerdict::Locked.into(),
            retry_time: retry_time.map(timestamp),
            ..proto::CheckPhonePasswordResponse::default()
        },
    }
}

fn encode_caller(contact: &Contact) -> proto::Caller {
    proto::Caller {
        contact_id: contact.id.0.to_string(),
        display_name: contact.display_name.clone(),
        types: convert::contact_types(contact.types),
        locale: contact.locale.as_str().to_owned(),
        restrictions: Some(convert::restrictions(&contact.restrictions)),
    }
}

pub(super) async fn send_code(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::SendOneTimeCodeRequest,
) -> Result<proto::SendOneTimeCodeResponse> {
    const RPC: &str = "SendOneTimeCode";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let call_id = violations.call_id(&request.call_id);
    let (contact, call_id) = violations.finish(contact.zip(call_id))?;
    let request = CodeRequest { contact, call_id };
    let sent = app.send_one_time_code(caller.actor(), request, options);
    Ok(proto::SendOneTimeCodeResponse {
        expire_time: Some(timestamp(sent.await?)),
    })
}

pub(super) async fn create_code(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::CreateOneTimeCodeRequest,
) -> Result<proto::CreateOneTimeCodeResponse> {
    const RPC: &str = "CreateOneTimeCode";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let created = app
        .create_one_time_code(caller.actor(), contact, options)
        .await?;
    let code = created.code;
    Ok(proto::CreateOneTimeCodeResponse {
        code: code.map_or_else(String::new, |code| code.expose().to_owned()),
        expire_time: Some(timestamp(created.expire_time)),
    })
}
