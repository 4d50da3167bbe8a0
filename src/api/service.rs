//! Dispatches the RPCs of the contract to the files of their nouns.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    api::{
        audit,
        auth::Caller,
        caller_authentication, caller_verification, changes, contacts, customers, delivery_reports,
        email_confirmation, order_types, phone_orders, phone_password, privacy,
        proto::{self, contact_service_server::ContactService},
        recipients, recipients_stream,
        request::authorize,
        review,
    },
    app::App,
    crypto::keyring::VersionedKeys,
    error::Error,
};

/// Smaller responses fit into one packet: compressing them costs more than it saves, and many client
/// libraries request compression by default.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// The implementation of the contract by the use cases of [`App`].
#[derive(Clone, Debug)]
pub struct ContactApi {
    app: App,
    service_keys: Arc<VersionedKeys>,
}

impl ContactApi {
    /// Creates a service for `app`; `service_keys` sign page tokens.
    pub fn new(app: App, service_keys: VersionedKeys) -> Self {
        Self {
            app,
            service_keys: Arc::new(service_keys),
        }
    }
}

#[tonic::async_trait]
impl ContactService for ContactApi {
    type StreamRecipientsStream = BoxStream<proto::StreamRecipientsResponse>;
    type WatchChangesStream = BoxStream<proto::WatchChangesResponse>;

    async fn get_customer(
        &self,
        request: Request<proto::GetCustomerRequest>,
    ) -> Result<Response<proto::GetCustomerResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(customers::get(&self.app, request).await?))
    }

    async fn update_customer(
        &self,
        request: Request<proto::UpdateCustomerRequest>,
    ) -> Result<Response<proto::UpdateCustomerResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            customers::update(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn set_attention_line(
        &self,
        request: Request<proto::SetAttentionLineRequest>,
    ) -> Result<Response<proto::SetAttentionLineResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            customers::set_attention_line(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn review_contacts(
        &self,
        request: Request<proto::ReviewContactsRequest>,
    ) -> Result<Response<proto::ReviewContactsResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(review::review(&self.app, request).await?))
    }

    async fn mark_contacts_reviewed(
        &self,
        request: Request<proto::MarkContactsReviewedRequest>,
    ) -> Result<Response<proto::MarkContactsReviewedResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            review::mark_reviewed(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn create_contact(
        &self,
        request: Request<proto::CreateContactRequest>,
    ) -> Result<Response<proto::CreateContactResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            contacts::create(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn get_contact(
        &self,
        request: Request<proto::GetContactRequest>,
    ) -> Result<Response<proto::GetContactResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(contacts::get(&self.app, request).await?))
    }

    async fn list_contacts(
        &self,
        request: Request<proto::ListContactsRequest>,
    ) -> Result<Response<proto::ListContactsResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(
            contacts::list(&self.app, &self.service_keys, request).await?,
        ))
    }

    async fn update_contact(
        &self,
        request: Request<proto::UpdateContactRequest>,
    ) -> Result<Response<proto::UpdateContactResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            contacts::update(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn delete_contact(
        &self,
        request: Request<proto::DeleteContactRequest>,
    ) -> Result<Response<proto::DeleteContactResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            contacts::delete(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn change_email(
        &self,
        request: Request<proto::ChangeEmailRequest>,
    ) -> Result<Response<proto::ChangeEmailResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::change(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn remove_email(
        &self,
        request: Request<proto::RemoveEmailRequest>,
    ) -> Result<Response<proto::RemoveEmailResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::remove(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn cancel_email_change(
        &self,
        request: Request<proto::CancelEmailChangeRequest>,
    ) -> Result<Response<proto::CancelEmailChangeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::cancel(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn resend_email_confirmation(
        &self,
        request: Request<proto::ResendEmailConfirmationRequest>,
    ) -> Result<Response<proto::ResendEmailConfirmationResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::resend(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn inspect_email_confirmation(
        &self,
        request: Request<proto::InspectEmailConfirmationRequest>,
    ) -> Result<Response<proto::InspectEmailConfirmationResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::inspect(&self.app, request).await?,
        ))
    }

    async fn confirm_email(
        &self,
        request: Request<proto::ConfirmEmailRequest>,
    ) -> Result<Response<proto::ConfirmEmailResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            email_confirmation::confirm(&self.app, &caller, request).await?,
        ))
    }

    async fn resolve_recipients(
        &self,
        request: Request<proto::ResolveRecipientsRequest>,
    ) -> Result<Response<proto::ResolveRecipientsResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(recipients::resolve(&self.app, request).await?))
    }

    async fn batch_resolve_recipients(
        &self,
        request: Request<proto::BatchResolveRecipientsRequest>,
    ) -> Result<Response<proto::BatchResolveRecipientsResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(
            recipients::batch_resolve(&self.app, request).await?,
        ))
    }

    async fn list_audit_events(
        &self,
        request: Request<proto::ListAuditEventsRequest>,
    ) -> Result<Response<proto::ListAuditEventsResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(
            audit::list(&self.app, &self.service_keys, request).await?,
        ))
    }

    async fn verify_contact_channel(
        &self,
        request: Request<proto::VerifyContactChannelRequest>,
    ) -> Result<Response<proto::VerifyContactChannelResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_verification::verify(&self.app, &caller, request).await?,
        ))
    }

    async fn set_phone_password(
        &self,
        request: Request<proto::SetPhonePasswordRequest>,
    ) -> Result<Response<proto::SetPhonePasswordResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            phone_password::set(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn clear_phone_password(
        &self,
        request: Request<proto::ClearPhonePasswordRequest>,
    ) -> Result<Response<proto::ClearPhonePasswordResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            phone_password::clear(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn check_phone_password(
        &self,
        request: Request<proto::CheckPhonePasswordRequest>,
    ) -> Result<Response<proto::CheckPhonePasswordResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_authentication::check_password(&self.app, &caller, request).await?,
        ))
    }

    async fn unlock_phone_password(
        &self,
        request: Request<proto::UnlockPhonePasswordRequest>,
    ) -> Result<Response<proto::UnlockPhonePasswordResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            phone_password::unlock(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn authorize_phone_order(
        &self,
        request: Request<proto::AuthorizePhoneOrderRequest>,
    ) -> Result<Response<proto::AuthorizePhoneOrderResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            phone_orders::authorize(&self.app, &caller, request).await?,
        ))
    }

    async fn find_customers(
        &self,
        request: Request<proto::FindCustomersRequest>,
    ) -> Result<Response<proto::FindCustomersResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_verification::find(&self.app, &caller, request).await?,
        ))
    }

    async fn check_one_time_code(
        &self,
        request: Request<proto::CheckOneTimeCodeRequest>,
    ) -> Result<Response<proto::CheckOneTimeCodeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_authentication::check_code(&self.app, &caller, request).await?,
        ))
    }

    async fn send_one_time_code(
        &self,
        request: Request<proto::SendOneTimeCodeRequest>,
    ) -> Result<Response<proto::SendOneTimeCodeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_authentication::send_code(&self.app, &self.service_keys, &caller, request)
                .await?,
        ))
    }

    async fn create_one_time_code(
        &self,
        request: Request<proto::CreateOneTimeCodeRequest>,
    ) -> Result<Response<proto::CreateOneTimeCodeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            caller_authentication::create_code(&self.app, &self.service_keys, &caller, request)
                .await?,
        ))
    }

    async fn record_phone_order_outcome(
        &self,
        request: Request<proto::RecordPhoneOrderOutcomeRequest>,
    ) -> Result<Response<proto::RecordPhoneOrderOutcomeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            phone_orders::record_outcome(&self.app, &self.service_keys, &caller, request).await?,
        ))
    }

    async fn get_phone_order(
        &self,
        request: Request<proto::GetPhoneOrderRequest>,
    ) -> Result<Response<proto::GetPhoneOrderResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(phone_orders::get(&self.app, request).await?))
    }

    async fn list_phone_orders(
        &self,
        request: Request<proto::ListPhoneOrdersRequest>,
    ) -> Result<Response<proto::ListPhoneOrdersResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(
            phone_orders::list(&self.app, &self.service_keys, request).await?,
        ))
    }

    async fn list_order_types(
        &self,
        request: Request<proto::ListOrderTypesRequest>,
    ) -> Result<Response<proto::ListOrderTypesResponse>, Status> {
        let (_, request) = authorize(request)?;
        Ok(respond(order_types::list(&self.app, request).await?))
    }

    async fn update_order_type(
        &self,
        request: Request<proto::UpdateOrderTypeRequest>,
    ) -> Result<Response<proto::UpdateOrderTypeResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            order_types::update(&self.app, &caller, request).await?,
        ))
    }

    async fn export_customer(
        &self,
        request: Request<proto::ExportCustomerRequest>,
    ) -> Result<Response<proto::ExportCustomerResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(privacy::export(&self.app, &caller, request).await?))
    }

    async fn erase_customer(
        &self,
        request: Request<proto::EraseCustomerRequest>,
    ) -> Result<Response<proto::EraseCustomerResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(privacy::erase(&self.app, &caller, request).await?))
    }

    async fn report_deliveries(
        &self,
        request: Request<proto::ReportDeliveriesRequest>,
    ) -> Result<Response<proto::ReportDeliveriesResponse>, Status> {
        let (caller, request) = authorize(request)?;
        Ok(respond(
            delivery_reports::report(&self.app, &caller, request).await?,
        ))
    }

    async fn stream_recipients(
        &self,
        request: Request<Streaming<proto::StreamRecipientsRequest>>,
    ) -> Result<Response<Self::StreamRecipientsStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or(Error::TokenMissing)?;
        let results =
            recipients_stream::resolve_stream(self.app.clone(), caller, request.into_inner());
        Ok(Response::new(Box::pin(results)))
    }

    async fn watch_changes(
        &self,
        request: Request<proto::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (caller, request) = authorize(request)?;
        let changes = changes::watch(&self.app, caller, request).await?;
        Ok(Response::new(Box::pin(changes)))
    }
}

/// Wraps a message, and disables compression of a small one.
fn respond<M: Message>(message: M) -> Response<M> {
    let mut response = Response::new(message);
    if response.get_ref().encoded_len() < MIN_COMPRESSED_BYTES {
        response.disable_compression();
    }
    response
}
