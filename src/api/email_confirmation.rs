//! E-mail addresses: `ChangeEmail`, `RemoveEmail`, `CancelEmailChange`, `ResendEmailConfirmation`,
//! `InspectEmailConfirmation`, `ConfirmEmail`.

use std::mem;

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, timestamp},
        proto,
    },
    app::App,
    crypto::keyring::VersionedKeys,
    domain::{
        email_address::EmailAddress,
        email_confirmation::{ConfirmationState, ConfirmationToken},
    },
    error::{Error, Result, Violation},
};

pub(super) async fn change(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::ChangeEmailRequest,
) -> Result<proto::ChangeEmailResponse> {
    let request_id = mem::take(&mut request.request_id);
    let mut violations = Violations::default();
    let request_key = violations.request_key(keys, "ChangeEmail", &request_id, &request);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let email = violations.check("email", EmailAddress::parse(&request.email));
    let (contact, email) = violations.finish(contact.zip(email))?;
    let contact = app
        .change_email(caller.actor(), contact, email, request_key)
        .await?;
    Ok(proto::ChangeEmailResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn remove(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::RemoveEmailRequest,
) -> Result<proto::RemoveEmailResponse> {
    let request_id = mem::take(&mut request.request_id);
    let mut violations = Violations::default();
    let request_key = violations.request_key(keys, "RemoveEmail", &request_id, &request);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = app
        .remove_email(caller.actor(), contact, request_key)
        .await?;
    Ok(proto::RemoveEmailResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn cancel(
    app: &App,
    caller: &Caller,
    request: proto::CancelEmailChangeRequest,
) -> Result<proto::CancelEmailChangeResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = app.cancel_email_change(caller.actor(), contact).await?;
    Ok(proto::CancelEmailChangeResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn resend(
    app: &App,
    caller: &Caller,
    request: proto::ResendEmailConfirmationRequest,
) -> Result<proto::ResendEmailConfirmationResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = violations.finish(contact)?;
    let contact = app
        .resend_email_confirmation(caller.actor(), contact)
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
