//! Orders by phone: which there are, and who may place them (rules 19 and 20).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    ids::{ContactId, CustomerNumber},
    restrictions::{OrderTypeCode, Restrictions},
};

/// The longest name of an order type, in characters.
pub const MAX_ORDER_TYPE_NAME_CHARS: usize = 200;

/// A kind of order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderType {
    /// Which one.
    pub code: OrderTypeCode,
    /// The name shown to people.
    pub display_name: String,
    /// Whether it is system management, which the customer may do itself for a product
    /// that it administers.
    pub system_management: bool,
    /// Whether the provider offers it by phone.
    pub offered_by_phone: bool,
    /// True if it is no longer offered at all. Records that name it keep it.
    pub retired: bool,
}

impl OrderType {
    /// Returns true if the provider offers it by phone at this time.
    pub const fn can_be_ordered_by_phone(&self) -> bool {
        self.offered_by_phone && !self.retired
    }

    /// Names of the fields in which it differs from `other`; `None`: all of them.
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

/// Whether a contact may place an order by phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDecision {
    /// It may.
    Allowed,
    /// It may not.
    Denied(OrderDenial),
    /// The agent decides, with the free text in view.
    AgentDecision,
}

/// Why an order may not be placed by phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDenial {
    /// The provider does not offer it by phone.
    ExcludedByProvider,
    /// It has to be placed in the portal.
    PortalRequired,
    /// The contact's lists deny it.
    Restricted,
}

impl OrderDecision {
    /// Every decision.
    pub const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Denied(OrderDenial::ExcludedByProvider),
        Self::Denied(OrderDenial::PortalRequired),
        Self::Denied(OrderDenial::Restricted),
        Self::AgentDecision,
    ];

    /// The name that is kept.
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

/// Rule 19, for a contact that has proved who it is. The structured lists are judged
/// before the free text: what they deny stays denied.
pub fn decide(
    order_type: &OrderType,
    restrictions: &Restrictions,
    customer_administers_product: bool,
) -> OrderDecision {
    let code = &order_type.code;
    let allowed = &restrictions.allowed_order_types;
    let is_left_out = !allowed.is_empty() && !allowed.contains(code);
    if !order_type.can_be_ordered_by_phone() {
        OrderDecision::Denied(OrderDenial::ExcludedByProvider)
    } else if order_type.system_management && customer_administers_product {
        OrderDecision::Denied(OrderDenial::PortalRequired)
    } else if is_left_out || restrictions.denied_order_types.contains(code) {
        OrderDecision::Denied(OrderDenial::Restricted)
    } else if restrictions.note.is_empty() {
        OrderDecision::Allowed
    } else {
        OrderDecision::AgentDecision
    }
}

/// A decision, as it is kept for evidence.
#[derive(Clone, Debug)]
pub struct PhoneOrder {
    /// Which decision.
    pub id: Uuid,
    /// For which customer.
    pub customer_number: CustomerNumber,
    /// Who ordered.
    pub contact_id: ContactId,
    /// The agent that asked.
    pub agent: String,
    /// In which call.
    pub call_id: String,
    /// What was ordered, as it was offered then.
    pub order_type: OrderType,
    /// The version of the contact whose restrictions were judged.
    pub contact_version: i64,
    /// Whether the customer administers the product.
    pub customer_administers_product: bool,
    /// What was decided.
    pub decision: OrderDecision,
    /// When.
    pub decision_time: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> OrderTypeCode {
        OrderTypeCode::parse(text).unwrap()
    }

    /// Rule 19 once more, in the words of the rule: of whether it is offered, has to be
    /// placed in the portal, is denied by the lists, and there is a note.
    fn expected(judged: (bool, bool, bool, bool)) -> OrderDecision {
        match judged {
            (false, _, _, _) => OrderDecision::Denied(OrderDenial::ExcludedByProvider),
            (true, true, _, _) => OrderDecision::Denied(OrderDenial::PortalRequired),
            (true, false, true, _) => OrderDecision::Denied(OrderDenial::Restricted),
            (true, false, false, true) => OrderDecision::AgentDecision,
            (true, false, false, false) => OrderDecision::Allowed,
        }
    }

    #[test]
    fn rule_19_in_every_combination() {
        let (this, other) = (code("reboot"), code("transfer"));
        // What the two lists can say of an order type, and whether they deny it.
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
            for (allowed_list, leaves_out) in &allowed {
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
                            *leaves_out || *denies,
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
    fn codes_are_compared_as_they_are_written() {
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
