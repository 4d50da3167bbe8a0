//! Phone orders: order types, the decision whether a contact may place an order, and its record
//! (rules 19, 20, 27, 28).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    authentication::AuthenticationMethod,
    caller::MatchKind,
    contact::Locale,
    ids::{ContactId, CustomerNumber},
    restrictions::{OrderTypeCode, Restrictions},
};

/// The maximum length of an order type's name, in characters.
pub const MAX_ORDER_TYPE_NAME_CHARS: usize = 200;
/// The maximum length of a reference of the order system, in characters.
pub const MAX_REFERENCE_CHARS: usize = 200;

/// A type of order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderType {
    /// The code that requests refer to.
    pub code: OrderTypeCode,
    /// The name for display where there is none in the reader's language.
    pub display_name: String,
    /// The names for display by language.
    pub display_names: BTreeMap<Locale, String>,
    /// The properties that an order is judged by.
    pub terms: OrderTerms,
}

/// The properties of an order type that an order is judged by.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent properties, as in the contract"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderTerms {
    /// True for system management, which customers do themselves, in the portal, for products that
    /// they administer.
    pub system_management: bool,
    /// True if the provider offers it by phone.
    pub offered_by_phone: bool,
    /// True if the caller's phone number or the writer's address has to be verified (rule 21).
    pub requires_verified_channel: bool,
    /// True if it is no longer offered at all. Records that name it keep it.
    pub retired: bool,
}

impl OrderType {
    /// Returns the names of the fields that differ from `other`; all of them if it is `None`.
    pub fn differences(&self, other: Option<&Self>) -> Vec<&'static str> {
        let is_new = other.is_none();
        let differs = |is_same: fn(&Self, &Self) -> bool| !other.is_some_and(|o| is_same(self, o));
        [
            ("code", is_new),
            (
                "display_name",
                differs(|a, b| a.display_name == b.display_name),
            ),
            (
                "display_names",
                differs(|a, b| a.display_names == b.display_names),
            ),
            (
                "system_management",
                differs(|a, b| a.terms.system_management == b.terms.system_management),
            ),
            (
                "offered_by_phone",
                differs(|a, b| a.terms.offered_by_phone == b.terms.offered_by_phone),
            ),
            (
                "requires_verified_channel",
                differs(|a, b| {
                    a.terms.requires_verified_channel == b.terms.requires_verified_channel
                }),
            ),
            (
                "retired",
                differs(|a, b| a.terms.retired == b.terms.retired),
            ),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// The decision about a phone order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDecision {
    /// The contact may place the order.
    Allowed,
    /// The contact may not place the order by phone.
    Denied(OrderDenial),
    /// The agent decides from the restrictions note.
    AgentDecision,
}

/// The reason of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDenial {
    /// The provider does not offer the order type by phone.
    ExcludedByProvider,
    /// The order has to be placed in the portal.
    PortalRequired,
    /// The contact's restrictions deny the order type.
    Restricted,
    /// The order type requires a verified channel, and none was verified in the phone call.
    ChannelNotVerified,
}

impl OrderDecision {
    /// All decisions.
    pub const ALL: [Self; 6] = [
        Self::Allowed,
        Self::Denied(OrderDenial::ExcludedByProvider),
        Self::Denied(OrderDenial::PortalRequired),
        Self::Denied(OrderDenial::Restricted),
        Self::Denied(OrderDenial::ChannelNotVerified),
        Self::AgentDecision,
    ];

    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied(OrderDenial::ExcludedByProvider) => "excluded_by_provider",
            Self::Denied(OrderDenial::PortalRequired) => "portal_required",
            Self::Denied(OrderDenial::Restricted) => "restricted",
            Self::Denied(OrderDenial::ChannelNotVerified) => "channel_not_verified",
            Self::AgentDecision => "agent_decision",
        }
    }
}

/// The verification of the caller's channel in a phone call (rule 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedChannel {
    /// No channel of the contact or the contact data was verified.
    NotVerified,
    /// A channel of the contact was verified.
    Contact(MatchKind),
    /// A channel of the contact data was verified.
    ContactData(MatchKind),
}

/// The properties that decide an order, besides its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBasis {
    /// The contact's restrictions.
    pub restrictions: Restrictions,
    /// The properties of the order type.
    pub terms: OrderTerms,
}

/// Decides whether an authenticated contact may place an order (rule 19). The lists of order types
/// take precedence over the note: an order type that they deny is denied.
pub fn decide(
    code: &OrderTypeCode,
    basis: &OrderBasis,
    channel: VerifiedChannel,
    customer_administers_product: bool,
) -> OrderDecision {
    let OrderBasis {
        restrictions,
        terms,
    } = basis;
    let allowed = &restrictions.allowed_order_types;
    let is_not_allowed = !allowed.is_empty() && !allowed.contains(code);
    if !terms.offered_by_phone || terms.retired {
        OrderDecision::Denied(OrderDenial::ExcludedByProvider)
    } else if terms.system_management && customer_administers_product {
        OrderDecision::Denied(OrderDenial::PortalRequired)
    } else if is_not_allowed || restrictions.denied_order_types.contains(code) {
        OrderDecision::Denied(OrderDenial::Restricted)
    } else if terms.requires_verified_channel && channel == VerifiedChannel::NotVerified {
        OrderDecision::Denied(OrderDenial::ChannelNotVerified)
    } else if restrictions.note.is_empty() {
        OrderDecision::Allowed
    } else {
        OrderDecision::AgentDecision
    }
}

/// The decisions about an order type in a phone call (rule 27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderOption {
    /// The order type.
    pub code: OrderTypeCode,
    /// The decision for a product that the provider administers.
    pub provider_administered: OrderDecision,
    /// The decision for a product that the customer administers.
    pub customer_administered: OrderDecision,
}

impl OrderOption {
    /// Decides about an order type without a record.
    pub fn new(
        order_type: &OrderType,
        restrictions: &Restrictions,
        channel: VerifiedChannel,
    ) -> Self {
        let code = order_type.code.clone();
        let basis = OrderBasis {
            restrictions: restrictions.clone(),
            terms: order_type.terms,
        };
        Self {
            provider_administered: decide(&code, &basis, channel, false),
            customer_administered: decide(&code, &basis, channel, true),
            code,
        }
    }
}

/// The outcome of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneOrderOutcome {
    /// It was placed.
    Placed,
    /// It was not placed.
    NotPlaced,
}

impl PhoneOrderOutcome {
    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::NotPlaced => "not_placed",
        }
    }
}

/// The recorded outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedOutcome {
    /// The outcome.
    pub outcome: PhoneOrderOutcome,
    /// The reference in the order system; empty: none.
    pub reference: String,
    /// The time of the record.
    pub time: DateTime<Utc>,
}

/// A recorded decision, kept as evidence (rule 28).
#[derive(Clone, Debug)]
pub struct PhoneOrder {
    /// The id of the decision, a `UUIDv7`.
    pub id: Uuid,
    /// The customer of the contact.
    pub customer_number: CustomerNumber,
    /// The contact that ordered.
    pub contact_id: ContactId,
    /// The agent that requested the decision.
    pub agent: String,
    /// The id of the phone call.
    pub call_id: String,
    /// The ordered type.
    pub order_type: OrderTypeCode,
    /// True if the customer administers the product.
    pub customer_administers_product: bool,
    /// The properties that decided the order, as of the decision.
    pub basis: OrderBasis,
    /// The verification of the caller's channel.
    pub channel: VerifiedChannel,
    /// The way in which the caller was authenticated.
    pub authentication: AuthenticationMethod,
    /// The decision.
    pub decision: OrderDecision,
    /// The time of the decision.
    pub decision_time: DateTime<Utc>,
    /// The outcome of the order; `None`: nothing is recorded.
    pub outcome: Option<RecordedOutcome>,
}

/// The orders that a list contains. An order has to satisfy all filters.
#[derive(Clone, Debug, Default)]
pub struct PhoneOrderFilter {
    /// The customer; `None`: all customers.
    pub customer_number: Option<CustomerNumber>,
    /// The contact; `None`: all contacts.
    pub contact_id: Option<ContactId>,
    /// The agent; `None`: all agents.
    pub agent: Option<String>,
    /// The time range of the decisions.
    pub times: TimeRange,
}

/// A range of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// The inclusive start; `None`: none.
    pub start: Option<DateTime<Utc>>,
    /// The exclusive end; `None`: none.
    pub end: Option<DateTime<Utc>>,
}
