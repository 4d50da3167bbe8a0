//! Phone orders: order types, and the decision whether a contact may place an order (rules 19, 20).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    ids::{ContactId, CustomerNumber},
    restrictions::{OrderTypeCode, Restrictions},
};

/// The maximum length of an order type's name, in characters.
pub const MAX_ORDER_TYPE_NAME_CHARS: usize = 200;

/// A type of order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderType {
    /// The code that requests refer to.
    pub code: OrderTypeCode,
    /// The name for display.
    pub display_name: String,
    /// True for system management, which customers do themselves, in the portal, for products that
    /// they administer.
    pub system_management: bool,
    /// True if the provider offers it by phone.
    pub offered_by_phone: bool,
    /// True if it is no longer offered at all. Records that name it keep it.
    pub retired: bool,
}

impl OrderType {
    /// Returns true if the provider offers it by phone at this time.
    pub const fn can_be_ordered_by_phone(&self) -> bool {
        self.offered_by_phone && !self.retired
    }

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
                "system_management",
                differs(|a, b| a.system_management == b.system_management),
            ),
            (
                "offered_by_phone",
                differs(|a, b| a.offered_by_phone == b.offered_by_phone),
            ),
            ("retired", differs(|a, b| a.retired == b.retired)),
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
}

impl OrderDecision {
    /// All decisions.
    pub const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Denied(OrderDenial::ExcludedByProvider),
        Self::Denied(OrderDenial::PortalRequired),
        Self::Denied(OrderDenial::Restricted),
        Self::AgentDecision,
    ];

    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied(OrderDenial::ExcludedByProvider) => "excluded_by_provider",
            Self::Denied(OrderDenial::PortalRequired) => "portal_required",
            Self::Denied(OrderDenial::Restricted) => "restricted",
            Self::AgentDecision => "agent_decision",
        }
    }
}

/// Decides whether an authenticated contact may place an order (rule 19). The lists of order types
/// take precedence over the note: an order type that they deny is denied.
pub fn decide(
    order_type: &OrderType,
    restrictions: &Restrictions,
    customer_administers_product: bool,
) -> OrderDecision {
    let code = &order_type.code;
    let allowed = &restrictions.allowed_order_types;
    let is_not_allowed = !allowed.is_empty() && !allowed.contains(code);
    if !order_type.can_be_ordered_by_phone() {
        OrderDecision::Denied(OrderDenial::ExcludedByProvider)
    } else if order_type.system_management && customer_administers_product {
        OrderDecision::Denied(OrderDenial::PortalRequired)
    } else if is_not_allowed || restrictions.denied_order_types.contains(code) {
        OrderDecision::Denied(OrderDenial::Restricted)
    } else if restrictions.note.is_empty() {
        OrderDecision::Allowed
    } else {
        OrderDecision::AgentDecision
    }
}

/// A recorded decision, kept as evidence.
#[derive(Clone, Debug)]
pub struct PhoneOrder {
    /// The id of the decision.
    pub id: Uuid,
    /// The customer of the contact.
    pub customer_number: CustomerNumber,
    /// The contact that ordered.
    pub contact_id: ContactId,
    /// The agent that requested the decision.
    pub agent: String,
    /// The id of the phone call.
    pub call_id: String,
    /// The ordered type, as of the decision.
    pub order_type: OrderType,
    /// The version of the contact whose restrictions were applied.
    pub contact_version: i64,
    /// True if the customer administers the product.
    pub customer_administers_product: bool,
    /// The decision.
    pub decision: OrderDecision,
    /// The time of the decision.
    pub decision_time: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> OrderTypeCode {
        OrderTypeCode::parse(text).unwrap()
    }

    /// Rule 19 as a table of: offered by phone, portal required, denied by the lists, has a note.
    fn expected(conditions: (bool, bool, bool, bool)) -> OrderDecision {
        match conditions {
            (false, _, _, _) => OrderDecision::Denied(OrderDenial::ExcludedByProvider),
            (true, true, _, _) => OrderDecision::Denied(OrderDenial::PortalRequired),
            (true, false, true, _) => OrderDecision::Denied(OrderDenial::Restricted),
            (true, false, false, true) => OrderDecision::AgentDecision,
            (true, false, false, false) => OrderDecision::Allowed,
        }
    }

    #[test]
    fn rule_19_holds_for_every_combination() {
        let (this, other) = (code("reboot"), code("transfer"));
        // Contents of the two lists, and whether they deny the order type.
        let allowed = [
            (vec![], false),
            (vec![this.clone()], false),
            (vec![other.clone(), this.clone()], false),
            (vec![other.clone()], true),
        ];
        let denied = [
            (vec![], false),
            (vec![other.clone()], false),
            (vec![this.clone()], true),
            (vec![other, this.clone()], true),
        ];
        let mut count = 0;
        for bits in 0..32u8 {
            let bit = |index: u8| bits >> index & 1 == 1;
            let (offered, system_management) = (bit(0), bit(1));
            let (administers, has_note, retired) = (bit(2), bit(3), bit(4));
            for (allowed_list, excludes) in &allowed {
                for (denied_list, denies) in &denied {
                    let order_type = OrderType {
                        code: this.clone(),
                        display_name: "Reboot".into(),
                        system_management,
                        offered_by_phone: offered,
                        retired,
                    };
                    let restrictions = Restrictions {
                        note: if has_note { "Bis 500 Euro." } else { "" }.into(),
                        allowed_order_types: allowed_list.clone(),
                        denied_order_types: denied_list.clone(),
                    };
                    assert_eq!(
                        decide(&order_type, &restrictions, administers),
                        expected((
                            offered && !retired,
                            system_management && administers,
                            *excludes || *denies,
                            has_note
                        )),
                        "{order_type:?} {restrictions:?} {administers}"
                    );
                    count += 1;
                }
            }
        }
        assert_eq!(count, 512);
    }

    #[test]
    fn order_type_codes_are_case_sensitive() {
        let order_type = OrderType {
            code: code("reboot"),
            display_name: String::new(),
            system_management: false,
            offered_by_phone: true,
            retired: false,
        };
        let restrictions = Restrictions {
            denied_order_types: vec![code("Reboot")],
            ..Restrictions::default()
        };
        assert_eq!(
            decide(&order_type, &restrictions, false),
            OrderDecision::Allowed
        );
    }
}
