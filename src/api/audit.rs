//! The audit log: `ListAuditEvents`, and the encoding of events.

use crate::{
    api::{
        convert::{self, Violations},
        page_token::PageContext,
        proto,
    },
    app::App,
    crypto::keyring::VersionedKeys,
    domain::{
        audit::{AuditEvent, EventSortKey},
        ids::{ContactId, CustomerNumber},
    },
    error::Result,
};

pub(super) async fn list(
    app: &App,
    keys: &VersionedKeys,
    request: proto::ListAuditEventsRequest,
) -> Result<proto::ListAuditEventsResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let page_size = violations.page_size(request.page_size);
    let number = violations.finish(number)?;
    let context = PageContext {
        rpc: "ListAuditEvents",
        customer_number: number.as_str(),
        filter: 0,
    };
    let before = convert::page_start(keys, context, &request.page_token, EventSortKey::LAST)?;
    let page = app.list_audit_events(&number, before, page_size).await?;
    Ok(proto::ListAuditEventsResponse {
        events: page.events.into_iter().map(encode).collect(),
        next_page_token: convert::next_page_token(keys, context, page.next_before)?,
    })
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
    use crate::domain::audit::EventKind;

    #[test]
    fn contract_lists_exactly_the_recorded_kinds() {
        let encoded = EventKind::ALL.map(|kind| i32::from(encode_kind(kind.as_str())));
        let encoded = BTreeSet::from(encoded);
        let listed = (1..).take_while(|number| proto::EventKind::try_from(*number).is_ok());
        assert_eq!(encoded, listed.collect());
        let last = EventKind::ContactsReviewed as usize;
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
