//! Rows of the audit log.

use std::sync::atomic::Ordering;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, Select, Statement, Value, sea_query::Expr,
};

use super::{
    batch::disclosures::Disclosure,
    columns::{from_details, from_field_names, to_details},
    database::Database,
    database_file,
    entity::{
        audit_events::{Column, Entity, Model},
        feed_inbox,
    },
    error::StorageError,
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventFilter, EventSortKey},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

impl Database {
    /// Lists up to `limit` events of the customer, or of no customer, before a position, newest first.
    pub async fn list_audit_events(
        &self,
        number: Option<&CustomerNumber>,
        filter: &EventFilter,
        before: EventSortKey,
        limit: u64,
    ) -> Result<Vec<AuditEvent>> {
        let earlier_of_same_change = Condition::all()
            .add(Column::Sequence.eq(before.sequence))
            .add(Column::EventId.lt(before.id));
        // A literal, so that the planner finds the indexes of the events of no customer.
        let of_customer = number.map_or_else(
            || Expr::cust("customer_number = ''"),
            |number| Column::CustomerNumber.eq(number.as_str()),
        );
        let query = Entity::find()
            .filter(of_customer)
            .filter(condition(filter))
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

    /// Inserts a disclosure that belongs to no customer.
    pub async fn insert_disclosure_of_no_customer(&self, event: &AuditEvent) -> Result<()> {
        let insertion = Entity::insert(to_row(event)?.into_active_model());
        let inserted = insertion.exec_without_returning(&self.writers);
        with_timeout(async { Ok(inserted.await.map_err(StorageError::from)?) }).await?;
        database_file::ensure_present(self.file.as_ref())
    }

    /// Inserts a disclosure under the sequence number of its customer's last change, and returns
    /// true if the customer is still on file. Concurrent requests share a statement.
    pub async fn insert_disclosure(&self, disclosure: Disclosure) -> Result<bool> {
        self.disclosures.load(disclosure).await
    }

    async fn read_events(&self, query: Select<Entity>) -> Result<Vec<AuditEvent>> {
        let rows = query.all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        rows.into_iter().map(to_event).collect()
    }
}

/// Returns the condition of the filters.
fn condition(filter: &EventFilter) -> Condition {
    let kinds = filter.kinds.iter().map(|kind| kind.as_str());
    let kinds = (!filter.kinds.is_empty()).then(|| Column::Kind.is_in(kinds));
    Condition::all()
        .add_option(filter.contact_id.map(|id| Column::ContactId.eq(id.0)))
        .add_option(kinds)
        .add_option(filter.actor.as_ref().map(|actor| Column::Actor.eq(actor)))
        .add_option(filter.times.start.map(|start| Column::EventTime.gte(start)))
        .add_option(filter.times.end.map(|end| Column::EventTime.lt(end)))
}

impl Transaction {
    /// Inserts an event of this transaction, and queues it for the change feed.
    pub async fn insert_audit_event(&self, event: &AuditEvent) -> Result<()> {
        if self.inner.get_database_backend() != DbBackend::Postgres {
            return self.insert_audit_events(std::slice::from_ref(event)).await;
        }
        self.execute_insertion(INSERT_AND_QUEUE_POSTGRES, event_values(event)?)
            .await?;
        self.has_events.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Inserts events of this transaction, which may be of many customers, and queues them for the
    /// change feed.
    pub(super) async fn insert_audit_events(&self, events: &[AuditEvent]) -> Result<()> {
        let rows = events.iter().map(to_row).collect::<Result<Vec<_>>>()?;
        let queued = rows.iter().map(|row| feed_inbox::Model {
            customer_number: row.customer_number.clone(),
            sequence: row.sequence,
            event_id: row.event_id,
            event_time: row.event_time,
            kind: row.kind.clone(),
            contact_id: row.contact_id,
            changed_fields: row.changed_fields.clone(),
            feed_number: None,
            sealed_customer_number: None,
        });
        let queued = queued.map(IntoActiveModel::into_active_model).collect();
        let rows = rows.into_iter().map(IntoActiveModel::into_active_model);
        self.insert_rows(rows.collect()).await?;
        self.insert_rows::<feed_inbox::ActiveModel>(queued).await?;
        self.has_events.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Inserts the event of an erasure, which is stored under the pseudonym. In the change feed it
    /// follows the other events of the erased number, and contains the encrypted number.
    pub async fn insert_erasure_event(
        &self,
        event: &AuditEvent,
        number: &CustomerNumber,
        sealed: Vec<u8>,
    ) -> Result<()> {
        let values = event_values(event)?;
        let [pseudonym, sequence, id, time, _, kind, contact, fields, _] = values.clone();
        let number = number.as_str().into();
        let queued = [
            number,
            sequence,
            id,
            time,
            kind,
            contact,
            fields,
            pseudonym,
            sealed.into(),
        ];
        self.execute_insertion(INSERT, values).await?;
        self.execute_insertion(QUEUE_ERASURE, queued).await?;
        self.has_events.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn execute_insertion<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let insertion = Statement::from_sql_and_values(backend, sql, values);
        let inserted = self.inner.execute_raw(insertion).await;
        inserted.map_err(StorageError::from)?;
        Ok(())
    }

    /// Returns the highest sequence number of the events that were written under this number or
    /// its pseudonyms, including those that are yet to be sequenced for the change feed.
    pub(super) async fn find_last_sequence(
        &self,
        number: &CustomerNumber,
        pseudonyms: &[CustomerNumber],
    ) -> Result<Option<i64>> {
        let numbers = [number].into_iter().chain(pseudonyms);
        let values: Vec<Value> = numbers.map(|number| number.as_str().into()).collect();
        let placeholders: Vec<_> = (1..=values.len()).map(|nth| format!("${nth}")).collect();
        let sql = LAST_SEQUENCE.replace("{numbers}", &placeholders.join(", "));
        let backend = self.inner.get_database_backend();
        let query = Statement::from_sql_and_values(backend, sql, values);
        let row = self.inner.query_one_raw(query).await;
        let row = row.map_err(StorageError::from)?;
        let row = row.ok_or_else(|| Error::internal("an aggregate returned no row"))?;
        Ok(row.try_get_by_index(0).map_err(StorageError::from)?)
    }
}

macro_rules! insert_event {
    () => {
        "INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
           contact_id, changed_fields, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    };
}
const INSERT: &str = insert_event!();
const QUEUE_ERASURE: &str = "\
    INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, contact_id, \
      changed_fields, feed_number, sealed_customer_number) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
/// Both rows in one round trip.
const INSERT_AND_QUEUE_POSTGRES: &str = concat!(
    "WITH written AS (",
    insert_event!(),
    ") INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, contact_id, \
       changed_fields) VALUES ($1, $2, $3, $4, $6, $7, $8)"
);
const LAST_SEQUENCE: &str = "\
    SELECT max(sequence) FROM ( \
      SELECT max(sequence) AS sequence FROM audit_events WHERE customer_number IN ({numbers}) \
      UNION ALL \
      SELECT max(sequence) FROM feed_inbox WHERE customer_number = $1) AS sequences";

fn to_row(event: &AuditEvent) -> Result<Model> {
    let number = event.customer_number.as_ref();
    Ok(Model {
        customer_number: number.map_or("", CustomerNumber::as_str).to_owned(),
        sequence: event.sequence,
        event_id: event.id,
        event_time: event.event_time,
        actor: event.actor.0.clone(),
        kind: event.kind.clone(),
        contact_id: event.contact_id.map(|id| id.0),
        changed_fields: from_field_names(&event.changed_fields)?,
        details: from_details(&event.details)?,
        call_hash: None,
    })
}

/// Returns the columns of an event, in the order of `audit_events`.
fn event_values(event: &AuditEvent) -> Result<[Value; 9]> {
    let row = to_row(event)?;
    Ok([
        row.customer_number.into(),
        row.sequence.into(),
        row.event_id.into(),
        row.event_time.into(),
        row.actor.into(),
        row.kind.into(),
        row.contact_id.into(),
        row.changed_fields.into(),
        row.details.into(),
    ])
}

fn to_event(row: Model) -> Result<AuditEvent> {
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
        details: to_details(row.details.as_deref())?,
    })
}
