//! The audit log: `ListAuditEvents`, and the encoding of events.

use prost::Message;

use crate::{
    api::{
        convert::{self, Violations},
        page_token::PageContext,
        proto,
    },
    app::App,
    crypto::keyring::VersionedKeys,
    domain::{
        audit::{AuditEvent, EventFilter, EventKind, EventSortKey},
        ids::{ContactId, CustomerNumber},
    },
    error::{Result, Violation},
};

pub(super) async fn list(
    app: &App,
    keys: &VersionedKeys,
    mut request: proto::ListAuditEventsRequest,
) -> Result<proto::ListAuditEventsResponse> {
    let page_size = std::mem::take(&mut request.page_size);
    let page_token = std::mem::take(&mut request.page_token);
    let mut violations = Violations::default();
    let number = violations.customer_or_none(&request.customer_number);
    let filter = EventFilter {
        contact_id: violations.contact_of(&request.customer_number, &request.contact_id),
        kinds: kinds(&mut violations, &request.kinds),
        actor: violations.subject("actor", &request.actor),
        times: violations.time_range(request.start_time, request.end_time),
    };
    let page_size = violations.page_size(page_size);
    violations.finish(Some(()))?;
    let context = PageContext {
        rpc: "ListAuditEvents",
        customer_number: &request.customer_number,
        filter: &request.encode_to_vec(),
    };
    let before = convert::page_start(keys, context, &page_token, EventSortKey::LAST)?;
    let page = app
        .list_audit_events(number.as_ref(), &filter, before, page_size)
        .await?;
    Ok(proto::ListAuditEventsResponse {
        events: page.events.into_iter().map(encode).collect(),
        next_page_token: convert::next_page_token(keys, context, page.next_before)?,
    })
}

fn kinds(violations: &mut Violations, numbers: &[i32]) -> Vec<EventKind> {
    if numbers.len() > EventKind::ALL.len() {
        let (max, of) = (EventKind::ALL.len(), "kinds");
        violations.add("kinds", Violation::TooMany { max, of });
        return Vec::new();
    }
    let kind = |(index, number): (usize, &i32)| {
        let mut kinds = EventKind::ALL.into_iter();
        let known = kinds.find(|kind| i32::from(encode_kind(kind.as_str())) == *number);
        if known.is_none() {
            violations.add(format!("kinds[{index}]"), Violation::UnknownEventKind);
        }
        known
    };
    numbers.iter().enumerate().filter_map(kind).collect()
}

pub(super) fn encode(event: AuditEvent) -> proto::AuditEvent {
    proto::AuditEvent {
        event_id: event.id.to_string(),
        event_time: Some(convert::timestamp(event.event_time)),
        actor: event.actor.0,
        kind: encode_kind(&event.kind).into(),
        customer_number: number_or_none(event.customer_number),
        contact_id: id_or_none(event.contact_id),
        changed_fields: event.changed_fields,
        details: event.details.into_iter().collect(),
    }
}

/// Returns the kind of this name, such as `contact.created`; unspecified for one that a newer version
/// recorded.
pub(super) fn encode_kind(name: &str) -> proto::EventKind {
    let name = name.replace('.', "_").to_uppercase();
    proto::EventKind::from_str_name(&format!("EVENT_KIND_{name}")).unwrap_or_default()
}

/// Returns the customer number; empty for an event that belongs to no customer.
pub(super) fn number_or_none(number: Option<CustomerNumber>) -> String {
    number.map_or_else(String::new, |number| number.as_str().to_owned())
}

/// Returns the contact id; empty for an event that concerns the customer itself.
pub(super) fn id_or_none(id: Option<ContactId>) -> String {
    id.map_or_else(String::new, |id| id.0.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn contract_lists_exactly_the_recorded_kinds() {
        let encoded = EventKind::ALL.map(|kind| i32::from(encode_kind(kind.as_str())));
        let encoded = BTreeSet::from(encoded);
        let listed = (1..).take_while(|number| proto::EventKind::try_from(*number).is_ok());
        assert_eq!(encoded, listed.collect());
        let last = EventKind::ContactDataComplaint as usize;
        assert_eq!(encoded.len(), last + 1, "a kind is missing in ALL");
    }

    #[test]
    fn unknown_kind_is_unspecified() {
        let kinds = ["contact.promoted", "", "contact_created.", "unspecified"];
        for kind in kinds {
            assert_eq!(encode_kind(kind), proto::EventKind::Unspecified, "{kind}");
        }
    }
}
