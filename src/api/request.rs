//! What a request must pass before its feature sees it.

use std::borrow::Cow;

use tonic::{Request, Status};

use crate::{
    api::{auth::Caller, proto},
    domain::email_confirmation::ConfirmationToken,
    error::Error,
};

/// Whom a request concerns.
pub(super) enum TenantScope<'m> {
    /// The customer it names.
    Customer(Cow<'m, str>),
    /// No customer that it names.
    NoTenant,
    /// All customers.
    AllTenants,
}

/// A request of the contract.
pub(super) trait HasTenant {
    /// Whom it concerns.
    fn tenant_scope(&self) -> TenantScope<'_>;
}

/// Gives the caller and the message, once a token confined to one customer was
/// compared with the customer the message names. There is no other way to get a
/// caller, so no RPC can forget it.
pub(super) fn authorize<M: HasTenant>(request: Request<M>) -> Result<(Caller, M), Status> {
    let (_, extensions, message) = request.into_parts();
    let caller = extensions
        .get::<Caller>()
        .cloned()
        .ok_or(Error::TokenMissing)?;
    match message.tenant_scope() {
        TenantScope::Customer(number) => caller.check_tenant(&number)?,
        TenantScope::NoTenant => {}
        TenantScope::AllTenants => caller.require_all_tenants()?,
    }
    Ok((caller, message))
}

macro_rules! has_customer_number {
    ($($message:ident),+ $(,)?) => {
        $(impl HasTenant for proto::$message {
            fn tenant_scope(&self) -> TenantScope<'_> {
                TenantScope::Customer(Cow::Borrowed(&self.customer_number))
            }
        })+
    };
}

has_customer_number!(
    AuthorizePhoneOrderRequest,
    CancelEmailChangeRequest,
    ChangeEmailRequest,
    CheckPhonePasswordRequest,
    ClearPhonePasswordRequest,
    CreateContactRequest,
    DeleteContactRequest,
    EraseCustomerRequest,
    ExportCustomerRequest,
    GetContactRequest,
    GetCustomerRequest,
    ListAuditEventsRequest,
    ListContactsRequest,
    RemoveEmailRequest,
    ResendEmailConfirmationRequest,
    ResolveRecipientsRequest,
    SetAttentionLineRequest,
    SetPhonePasswordRequest,
    UnlockPhonePasswordRequest,
    VerifyContactChannelRequest,
);

impl HasTenant for proto::UpdateCustomerRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        let named = self.customer.as_ref();
        TenantScope::Customer(
            named
                .map_or("", |customer| &customer.customer_number)
                .into(),
        )
    }
}

impl HasTenant for proto::UpdateContactRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        let named = self.contact.as_ref();
        TenantScope::Customer(named.map_or("", |contact| &contact.customer_number).into())
    }
}

impl HasTenant for proto::UpdateOrderTypeRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::AllTenants
    }
}

impl HasTenant for proto::ListOrderTypesRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::NoTenant
    }
}

impl HasTenant for proto::WatchChangesRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::NoTenant
    }
}

/// The token that is found in the text begins with the customer's number.
impl HasTenant for proto::InspectEmailConfirmationRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}

/// The token that is found in the text begins with the customer's number.
impl HasTenant for proto::ConfirmEmailRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}
