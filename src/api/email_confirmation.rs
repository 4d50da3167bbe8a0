//! `ChangeEmail`, `RemoveEmail`, `CancelEmailChange`.

use std::mem;

use crate::{
    api::{
        auth::Caller,
        convert::{self, Fields},
        proto,
        service::ContactApi,
    },
    domain::email_address::EmailAddress,
    error::Result,
};

pub(super) async fn change(
    api: &ContactApi,
    caller: &Caller,
    mut request: proto::ChangeEmailRequest,
) -> Result<proto::ChangeEmailResponse> {
    let request_id = mem::take(&mut request.request_id);
    let mut fields = Fields::default();
    let request_key = fields.request_key("ChangeEmail", &request_id, &request);
    let contact = fields.contact_ref(&request.customer_number, &request.contact_id);
    let email = fields.check("email", EmailAddress::parse(&request.email));
    let (contact, email) = fields.finish(contact.zip(email))?;
    let contact = api
        .app
        .change_email(caller.actor(), contact, email, request_key)
        .await?;
    Ok(proto::ChangeEmailResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn remove(
    api: &ContactApi,
    caller: &Caller,
    mut request: proto::RemoveEmailRequest,
) -> Result<proto::RemoveEmailResponse> {
    let request_id = mem::take(&mut request.request_id);
    let mut fields = Fields::default();
    let request_key = fields.request_key("RemoveEmail", &request_id, &request);
    let contact = fields.contact_ref(&request.customer_number, &request.contact_id);
    let contact = fields.finish(contact)?;
    let contact = api
        .app
        .remove_email(caller.actor(), contact, request_key)
        .await?;
    Ok(proto::RemoveEmailResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn cancel(
    api: &ContactApi,
    caller: &Caller,
    request: proto::CancelEmailChangeRequest,
) -> Result<proto::CancelEmailChangeResponse> {
    let mut fields = Fields::default();
    let contact = fields.contact_ref(&request.customer_number, &request.contact_id);
    let contact = fields.finish(contact)?;
    let contact = api.app.cancel_email_change(caller.actor(), contact).await?;
    Ok(proto::CancelEmailChangeResponse {
        contact: Some(convert::contact(&contact)),
    })
}
