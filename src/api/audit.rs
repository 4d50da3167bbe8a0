//! `ListAuditEvents`.

use crate::{
    api::{
        convert::{self, Fields},
        page_token::Listing,
        proto,
        service::ContactApi,
    },
    domain::{
        audit::{AuditEvent, EventRank},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::Result,
};

pub(super) async fn list(
    api: &ContactApi,
    request: proto::ListAuditEventsRequest,
) -> Result<proto::ListAuditEventsResponse> {
    let mut fields = Fields::default();
    let number = fields.customer_number("customer_number", &request.customer_number);
    let page_size = fields.page_size(request.page_size);
    let number = fields.finish(number)?;
    let listing = Listing {
        rpc: "ListAuditEvents",
        customer_number: number.as_str(),
        filter: 0,
    };
    let before = convert::page_start(
        &api.service_keys,
        listing,
        &request.page_token,
        EventRank::LAST,
    )?;
    let page = api
        .app
        .list_audit_events(&number, before, page_size)
        .await?;
    Ok(proto::ListAuditEventsResponse {
        events: page.events.into_iter().map(encode).collect(),
        next_page_token: convert::next_page_token(&api.service_keys, listing, page.next_before)?,
    })
}

pub(super) fn encode(event: AuditEvent) -> proto::AuditEvent {
    proto::AuditEvent {
        event_id: event.id.to_string(),
        event_time: Some(convert::timestamp(event.event_time)),
        actor: event.actor.0,
        kind: event.kind,
        customer_number: number_or_none(event.customer_number),
        contact_id: id_or_none(event.contact_id),
        changed_fields: event.changed_fields,
    }
}

/// Empty: it belongs to no customer.
pub(super) fn number_or_none(number: Option<CustomerNumber>) -> String {
    number.map_or_else(String::new, |number| number.as_str().to_owned())
}

/// Empty: it concerns the customer itself.
pub(super) fn id_or_none(id: Option<ContactId>) -> String {
    id.map_or_else(String::new, |id| id.0.to_string())
}
