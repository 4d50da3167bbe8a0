//! What a request must pass before its feature sees it.

use std::borrow::Cow;

use tonic::{Request, Status};

use crate::{
    api::{auth::Caller, proto},
    domain::email_confirmation::ConfirmationToken,
    error::Error,
};

/// Whom a request concerns.
pub(super) enum Concern<'m> {
    /// The customer it names.
    Customer(Cow<'m, str>),
    /// No customer that it names.
    Nobody,
    /// All customers.
    Everybody,
}

/// A request of the contract.
pub(super) trait Concerns {
    /// Whom it concerns.
    fn concern(&self) -> Concern<'_>;
}

/// Gives the caller and the message, once a token confined to one customer was
/// compared with the customer the message names. There is no other way to get a
/// caller, so no RPC can forget it.
pub(super) fn admit<M: Concerns>(request: Request<M>) -> Result<(Caller, M), Status> {
    let (_, extensions, message) = request.into_parts();
    let caller = extensions
        .get::<Caller>()
        .cloned()
        .ok_or(Error::TokenMissing)?;
    match message.concern() {
        Concern::Customer(number) => caller.check_tenant(&number)?,
        Concern::Nobody => {}
        Concern::Everybody => caller.require_all_tenants()?,
    }
    Ok((caller, message))
}

macro_rules! concerns_its_customer {
    ($($message:ident),+ $(,)?) => {
        $(impl Concerns for proto::$message {
            fn concern(&self) -> Concern<'_> {
                Concern::Customer(Cow::Borrowed(&self.customer_number))
            }
        })+
    };
}

concerns_its_customer!(
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

impl Concerns for proto::UpdateCustomerRequest {
    fn concern(&self) -> Concern<'_> {
        let named = self.customer.as_ref();
        Concern::Customer(
            named
                .map_or("", |customer| &customer.customer_number)
                .into(),
        )
    }
}

impl Concerns for proto::UpdateContactRequest {
    fn concern(&self) -> Concern<'_> {
        let named = self.contact.as_ref();
        Concern::Customer(named.map_or("", |contact| &contact.customer_number).into())
    }
}

impl Concerns for proto::UpdateOrderTypeRequest {
    fn concern(&self) -> Concern<'_> {
        Concern::Everybody
    }
}

impl Concerns for proto::ListOrderTypesRequest {
    fn concern(&self) -> Concern<'_> {
        Concern::Nobody
    }
}

impl Concerns for proto::WatchChangesRequest {
    fn concern(&self) -> Concern<'_> {
        Concern::Nobody
    }
}

/// The token that is found in the text begins with the customer's number.
impl Concerns for proto::InspectEmailConfirmationRequest {
    fn concern(&self) -> Concern<'_> {
        Concern::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}

/// The token that is found in the text begins with the customer's number.
impl Concerns for proto::ConfirmEmailRequest {
    fn concern(&self) -> Concern<'_> {
        Concern::Customer(ConfirmationToken::customer_number_in(&self.token).into())
    }
}
