//! Rule 19 as a table over all its conditions.

use super::*;

fn code(text: &str) -> OrderTypeCode {
    OrderTypeCode::parse(text).unwrap()
}

/// Rule 19 as a table of: offered by phone, portal required, denied by the lists, channel missing, has a
/// note.
fn expected(conditions: (bool, bool, bool, bool, bool)) -> OrderDecision {
    match conditions {
        (false, _, _, _, _) => OrderDecision::Denied(OrderDenial::ExcludedByProvider),
        (true, true, _, _, _) => OrderDecision::Denied(OrderDenial::PortalRequired),
        (true, false, true, _, _) => OrderDecision::Denied(OrderDenial::Restricted),
        (true, false, false, true, _) => OrderDecision::Denied(OrderDenial::ChannelNotVerified),
        (true, false, false, false, true) => OrderDecision::AgentDecision,
        (true, false, false, false, false) => OrderDecision::Allowed,
    }
}

const CHANNELS: [VerifiedChannel; 5] = [
    VerifiedChannel::NotVerified,
    VerifiedChannel::Contact(MatchKind::Exact),
    VerifiedChannel::Contact(MatchKind::SameLine),
    VerifiedChannel::ContactData(MatchKind::Exact),
    VerifiedChannel::ContactData(MatchKind::SameLine),
];

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
    for bits in 0..64u8 {
        let bit = |index: u8| bits >> index & 1 == 1;
        let (administers, has_note) = (bit(0), bit(1));
        let terms = OrderTerms {
            system_management: bit(2),
            offered_by_phone: bit(3),
            requires_verified_channel: bit(4),
            retired: bit(5),
        };
        for channel in CHANNELS {
            for (allowed_list, excludes) in &allowed {
                for (denied_list, denies) in &denied {
                    let restrictions = Restrictions {
                        note: if has_note { "Bis 500 Euro." } else { "" }.into(),
                        allowed_order_types: allowed_list.clone(),
                        denied_order_types: denied_list.clone(),
                    };
                    let is_unverified = channel == VerifiedChannel::NotVerified;
                    let conditions = (
                        terms.offered_by_phone && !terms.retired,
                        terms.system_management && administers,
                        *excludes || *denies,
                        terms.requires_verified_channel && is_unverified,
                        has_note,
                    );
                    let basis = OrderBasis {
                        restrictions,
                        terms,
                    };
                    assert_eq!(
                        decide(&this, &basis, channel, administers),
                        expected(conditions),
                        "{basis:?} {channel:?} {administers}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 5_120);
}

#[test]
fn order_type_codes_are_case_sensitive() {
    let basis = OrderBasis {
        restrictions: Restrictions {
            denied_order_types: vec![code("Reboot")],
            ..Restrictions::default()
        },
        terms: OrderTerms {
            offered_by_phone: true,
            ..OrderTerms::default()
        },
    };
    let decision = decide(&code("reboot"), &basis, VerifiedChannel::NotVerified, false);
    assert_eq!(decision, OrderDecision::Allowed);
}
