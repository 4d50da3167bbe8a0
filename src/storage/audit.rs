//! Rows of the audit log.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set,
};

use super::{
    columns::from_field_names,
    database::Database,
    entity::audit_events::{ActiveModel, Column, Entity, Model},
    error::StorageError,
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventSortKey},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

impl Database {
    /// Lists up to `limit` events of the customer before a position, newest first.
    pub async fn list_audit_events(
        &self,
        number: &CustomerNumber,
        before: EventSortKey,
        limit: u64,
    ) -> Result<Vec<AuditEvent>> {
        let earlier_of_same_change = Condition::all()
            .add(Column::Sequence.eq(before.sequence))
            .add(Column::EventId.lt(before.id));
        let query = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            // A condition of its own, so that the primary key is searched by it.
            .filter(Column::Sequence.lte(before.sequence))
            .filter(
                Condition::any()
                    .add(Column::Sequence.lt(before.sequence))
                    .add(earlier_of_same_change),
            )
            .order_by_desc(Column::Sequence)
            .order_by_desc(Column::EventId)
            .limit(limit);
        self.read_events(query).await
    }

    /// Lists up to `limit` events of the customer after a position, oldest first.
    pub async fn list_oldest_audit_events(
        &self,
        number: &CustomerNumber,
        after: EventSortKey,
        limit: u64,
    ) -> Result<Vec<AuditEvent>> {
        let later_of_same_change = Condition::all()
            .add(Column::Sequence.eq(after.sequence))
            .add(Column::EventId.gt(after.id));
        let query = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::Sequence.gte(after.sequence))
            .filter(
                Condition::any()
                    .add(Column::Sequence.gt(after.sequence))
                    .add(later_of_same_change),
            )
            .order_by_asc(Column::Sequence)
            .order_by_asc(Column::EventId)
            .limit(limit);
        self.read_events(query).await
    }

    /// Inserts a disclosure under the sequence number of its customer's last change, and returns
    /// true if the customer is still on file. Concurrent requests share a statement.
    pub async fn insert_disclosure(&self, event: AuditEvent) -> Result<bool> {
        self.disclosures.load(event).await
    }

    async fn read_events(&self, query: Select<Entity>) -> Result<Vec<AuditEvent>> {
        let rows = query.all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        rows.into_iter().map(to_event).collect()
    }
}

impl Transaction {
    /// Inserts an event of this transaction.
    pub async fn insert_audit_event(&self, event: &AuditEvent) -> Result<()> {
        self.insert_audit_row(to_row(event)?).await
    }

    /// Inserts the event of an erasure, with the encrypted customer number and its feed position.
    pub async fn insert_sealed_event(
        &self,
        event: &AuditEvent,
        sealed: Vec<u8>,
        position: i64,
    ) -> Result<()> {
        let row = ActiveModel {
            sealed_customer_number: Set(Some(sealed)),
            feed_position: Set(Some(position)),
            ..to_row(event)?
        };
        self.insert_audit_row(row).await
    }

    async fn insert_audit_row(&self, row: ActiveModel) -> Result<()> {
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        self.has_events.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Creates the row of an event, which has no feed position yet.
fn to_row(event: &AuditEvent) -> Result<ActiveModel> {
    let number = event.customer_number.as_ref();
    Ok(ActiveModel {
        customer_number: Set(number.map_or_else(String::new, |n| n.as_str().to_owned())),
        sequence: Set(event.sequence),
        event_id: Set(event.id),
        event_time: Set(event.event_time),
        actor: Set(event.actor.0.clone()),
        kind: Set(event.kind.clone()),
        contact_id: Set(event.contact_id.map(|id| id.0)),
        changed_fields: Set(from_field_names(&event.changed_fields)?),
        details: Set(details_as_json(&event.details)?),
        feed_position: Set(None),
        sealed_customer_number: Set(None),
    })
}

/// Details of an event as they are stored; `None` where there are none.
fn details_as_json(details: &BTreeMap<String, String>) -> Result<Option<String>> {
    if details.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(details)
        .map(Some)
        .map_err(|_| Error::internal("details of an audit event cannot be serialized"))
}

pub(super) fn to_event(row: Model) -> Result<AuditEvent> {
    let number = Some(row.customer_number).filter(|number| !number.is_empty());
    Ok(AuditEvent {
        id: row.event_id,
        sequence: row.sequence,
        event_time: row.event_time,
        actor: Actor(row.actor),
        kind: row.kind,
        customer_number: number.map(CustomerNumber::from_stored),
        contact_id: row.contact_id.map(ContactId),
        changed_fields: serde_json::from_str(&row.changed_fields)
            .map_err(|_| Error::data_loss("audit_events.changed_fields"))?,
        details: row
            .details
            .map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(&text))
            .map_err(|_| Error::data_loss("audit_events.details"))?,
    })
}
