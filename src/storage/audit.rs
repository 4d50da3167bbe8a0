//! Rows of the trail.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::{
    Database, Transaction, bounded,
    entity::audit_events::{ActiveModel, Column, Entity, Model},
    failure::Failure,
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::{Error, Result},
};

impl Database {
    /// Up to `limit` events of the customer before a sequence, newest first.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_audit_events(
        &self,
        number: &CustomerNumber,
        before_sequence: i64,
        limit: u64,
    ) -> Result<Vec<AuditEvent>> {
        let rows = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::Sequence.lt(before_sequence))
            .order_by_desc(Column::Sequence)
            .limit(limit)
            .all(&self.readers);
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        rows.into_iter().map(to_event).collect()
    }
}

impl Transaction {
    /// Writes an event of this transaction.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_audit_event(&self, event: &AuditEvent) -> Result<()> {
        let changed_fields = serde_json::to_string(&event.changed_fields)
            .map_err(|_| Error::internal("names of fields cannot be written"))?;
        let row = ActiveModel {
            customer_number: Set(event.customer_number.as_str().to_owned()),
            sequence: Set(event.sequence),
            event_id: Set(event.id),
            event_time: Set(event.event_time),
            actor: Set(event.actor.0.clone()),
            kind: Set(event.kind.clone()),
            contact_id: Set(event.contact_id.map(|id| id.0)),
            changed_fields: Set(changed_fields),
            feed_position: Set(None),
            sealed_customer_number: Set(None),
        };
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

fn to_event(row: Model) -> Result<AuditEvent> {
    Ok(AuditEvent {
        id: row.event_id,
        sequence: row.sequence,
        event_time: row.event_time,
        actor: Actor(row.actor),
        kind: row.kind,
        customer_number: CustomerNumber::from_stored(row.customer_number),
        contact_id: row.contact_id.map(ContactId),
        changed_fields: serde_json::from_str(&row.changed_fields)
            .map_err(|_| Error::data_loss("audit_events.changed_fields"))?,
    })
}
