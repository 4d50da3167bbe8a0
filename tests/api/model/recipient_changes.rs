//! The recipients before and after a request, as `ResolveRecipients` returns them, against the
//! `recipient_changes` of its response and of its validation.

use contact_service::api::proto;
use tonic::Status;

use super::{
    driver::{Difference, Driver, same},
    requests::{Request, Response},
};
use crate::harness::Client;

impl Driver<'_> {
    /// Sends a request that changes a contact, and compares the changes of recipients that it returns
    /// with those that happened.
    pub async fn send_and_compare_recipients(
        &mut self,
        real: Request,
        mut client: Client,
        is_replay: bool,
    ) -> Result<Result<Response, Status>, Difference> {
        let is_of_contact = matches!(
            real,
            Request::CreateContact(_) | Request::UpdateContact(_) | Request::DeleteContact(_)
        );
        if !is_of_contact || is_replay {
            return Ok(real.send(client).await);
        }
        let (number, validates) = (real.number().to_owned(), real.is_validate_only());
        let before = self.resolve_all(&number).await;
        let predicted = match &real {
            // Each validation of a new contact has an id of its own.
            Request::CreateContact(_) => None,
            other => changes(&mut client, other.clone(), true).await.ok(),
        };
        let (response, returned) = match changes(&mut client, real, validates).await {
            Ok((response, returned)) => (response, returned),
            Err(status) => return Ok(Err(status)),
        };
        let after = self.resolve_all(&number).await;
        if validates {
            same("the recipients after a validation", &before, &after)?;
            return Ok(Ok(response));
        }
        let happened: Vec<_> = before
            .into_iter()
            .zip(after)
            .filter(|(before, after)| before != after)
            .map(|(before, after)| proto::RecipientChange {
                purpose: after.purpose,
                before: Some(before),
                after: Some(after),
            })
            .collect();
        same("the changes of recipients", &happened, &returned)?;
        if let Some((_, predicted)) = predicted {
            same("the predicted changes of recipients", &happened, &predicted)?;
        }
        let counted = self.seen.entry("recipient changes".to_owned());
        *counted.or_default() += returned.len();
        Ok(Ok(response))
    }

    async fn resolve_all(&mut self, number: &str) -> Vec<proto::Resolution> {
        let request = proto::BatchResolveRecipientsRequest {
            customer_number: number.to_owned(),
            ..proto::BatchResolveRecipientsRequest::default()
        };
        let resolved = self.reader().batch_resolve_recipients(request).await;
        resolved.map_or_else(|_| Vec::new(), |resolved| resolved.into_inner().resolutions)
    }
}

/// Returns the response of a request, and the changes of recipients in it.
async fn changes(
    client: &mut Client,
    request: Request,
    validate_only: bool,
) -> Result<(Response, Vec<proto::RecipientChange>), Status> {
    let show_recipient_changes = true;
    match request {
        Request::CreateContact(r) => {
            let request = proto::CreateContactRequest {
                validate_only,
                show_recipient_changes,
                ..r
            };
            let created = client.create_contact(request).await?.into_inner();
            let contact = created.contact.expect("no contact in the response");
            Ok((Response::Contact(contact), created.recipient_changes))
        }
        Request::UpdateContact(r) => {
            let request = proto::UpdateContactRequest {
                validate_only,
                show_recipient_changes,
                ..r
            };
            let updated = client.update_contact(request).await?.into_inner();
            let contact = updated.contact.expect("no contact in the response");
            Ok((Response::Contact(contact), updated.recipient_changes))
        }
        Request::DeleteContact(r) => {
            let request = proto::DeleteContactRequest {
                validate_only,
                show_recipient_changes,
                ..r
            };
            let deleted = client.delete_contact(request).await?.into_inner();
            Ok((Response::Nothing, deleted.recipient_changes))
        }
        other => panic!("{other:?} changes no contact"),
    }
}
