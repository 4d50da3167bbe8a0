//! The tenant check of requests: the customers that a message concerns, against the token.

use std::borrow::Cow;

use tonic::{Request, Status};

use crate::{
    api::{auth::Caller, proto},
    domain::email_confirmation::ConfirmationToken,
    error::Error,
};

/// The customers that a request concerns.
pub(super) enum TenantScope<'m> {
    /// The customer with this number; empty if the request has none.
    Customer(Cow<'m, str>),
    /// No customer of the request.
    NoTenant,
    /// All customers.
    AllTenants,
}

/// A request message with a known tenant scope.
pub(super) trait HasTenant {
    /// Returns the customers that it concerns.
    fn tenant_scope(&self) -> TenantScope<'_>;
}

/// Returns the caller and the message after the check of a tenant-scoped token against the customer of the
/// message. Unary RPCs get their caller here only, so that none can omit the check.
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
    BatchResolveRecipientsRequest,
    CancelEmailChangeRequest,
    ChangeEmailRequest,
    CheckOneTimeCodeRequest,
    CheckPhonePasswordRequest,
    ClearPhonePasswordRequest,
    CreateContactRequest,
    CreateOneTimeCodeRequest,
    DeleteContactRequest,
    EraseCustomerRequest,
    ExportCustomerRequest,
    GetContactRequest,
    GetCustomerRequest,
    GetPhoneOrderRequest,
    ListContactsRequest,
    MarkContactsReviewedRequest,
    RecordPhoneOrderOutcomeRequest,
    RemoveEmailRequest,
    ResendEmailConfirmationRequest,
    ResolveRecipientsRequest,
    ReviewContactsRequest,
    SendOneTimeCodeRequest,
    SetAttentionLineRequest,
    SetPhonePasswordRequest,
    UnlockPhonePasswordRequest,
    VerifyContactChannelRequest,
);

/// Each report names its customer, and is checked by itself.
impl HasTenant for proto::ReportDeliveriesRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::NoTenant
    }
}

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

/// Lists that concern all customers, or no customer, if they name none.
macro_rules! has_optional_customer_number {
    ($($message:ident),+ $(,)?) => {
        $(impl HasTenant for proto::$message {
            fn tenant_scope(&self) -> TenantScope<'_> {
                if self.customer_number.is_empty() {
                    return TenantScope::AllTenants;
                }
                TenantScope::Customer(Cow::Borrowed(&self.customer_number))
            }
        })+
    };
}

has_optional_customer_number!(ListAuditEventsRequest, ListPhoneOrdersRequest);

impl HasTenant for proto::FindCustomersRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::AllTenants
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

/// The token in the text begins with the customer number.
impl HasTenant for proto::InspectEmailConfirmationRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}

/// The token in the text begins with the customer number.
impl HasTenant for proto::ConfirmEmailRequest {
    fn tenant_scope(&self) -> TenantScope<'_> {
        TenantScope::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}
