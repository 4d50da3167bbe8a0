//! The marks of failing addresses, with the events that record them (rule 32).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use uuid::Uuid;

use super::{
    columns::from_details,
    customers::LockedCustomer,
    entity::audit_events::{Column, Entity},
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        contact::Contact,
        delivery_report::AddressChange,
        ids::{ContactId, CustomerNumber},
    },
    error::Result,
};

/// The common parts of the events of changed addresses.
#[derive(Clone, Debug)]
pub struct AddressEvents<'a> {
    /// The actor that reported the delivery.
    pub actor: &'a Actor,
    /// The details of the report.
    pub details: BTreeMap<String, String>,
    /// The time of the events.
    pub now: DateTime<Utc>,
}

impl Transaction {
    /// Stores the marks of changed addresses of a locked customer, and records each. Each event takes a
    /// sequence number of its own.
    pub async fn store_address_changes(
        &self,
        locked: &LockedCustomer,
        contacts: &[Contact],
        changes: Vec<AddressChange>,
        events: &AddressEvents<'_>,
        mut new_id: impl FnMut() -> Result<Uuid> + Send,
    ) -> Result<()> {
        let number = &locked.customer.number;
        for change in changes {
            let contact = contacts
                .iter()
                .find(|contact| Some(contact.id) == change.contact_id);
            match contact {
                Some(contact) => self.update_bounces(contact).await?,
                None => self.update_contact_data_bounce(&locked.customer).await?,
            }
            let sequence = self.lock_customer(number).await?.sequence_number;
            let event = AuditEvent {
                sequence,
                customer_number: Some(number.clone()),
                contact_id: change.contact_id,
                details: events.details.clone(),
                ..AuditEvent::new(new_id()?, events.now, events.actor, change.kind)
            };
            let event = event.with_changed_fields(&change.fields);
            self.insert_audit_event(&event).await?;
        }
        Ok(())
    }

    /// Returns true if an event of this kind with these details was recorded.
    pub async fn has_event(
        &self,
        number: &CustomerNumber,
        contact_id: Option<ContactId>,
        kind: EventKind,
        details: &BTreeMap<String, String>,
    ) -> Result<bool> {
        let contact = contact_id.map_or_else(
            || Column::ContactId.is_null(),
            |id| Column::ContactId.eq(id.0),
        );
        let count = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(contact)
            .filter(Column::Kind.eq(kind.as_str()))
            .filter(Column::Details.eq(from_details(details)?))
            .count(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(count > 0)
    }
}
