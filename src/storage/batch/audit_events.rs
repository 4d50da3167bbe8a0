//! Inserts disclosures into the audit log, without waiting for changes of their customers.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sqlx::Row as _;
use uuid::Uuid;

use super::{
    super::{
        columns::from_field_names,
        database_file::{self, DatabaseFile},
        error::StorageError,
        timeout::with_timeout,
    },
    batcher::Batcher,
};
use crate::{domain::audit::AuditEvent, error::Result, observability::metrics::SharedQuery};

/// Creates the batcher of disclosures.
pub(crate) fn batcher(
    writers: &DatabaseConnection,
    file: Option<&DatabaseFile>,
) -> Batcher<AuditEvent, bool> {
    let (writers, file) = (writers.clone(), file.cloned());
    Batcher::new(SharedQuery::Disclosures, move |events: Vec<AuditEvent>| {
        let (writers, file) = (writers.clone(), file.clone());
        async move {
            let written = insert_many(&writers, &events).await?;
            database_file::ensure_present(file.as_ref())?;
            Ok(written)
        }
    })
}

/// Inserts the disclosures. Each value is true if its customer is on file.
async fn insert_many(writers: &DatabaseConnection, events: &[AuditEvent]) -> Result<Vec<bool>> {
    if writers.get_database_backend() == DbBackend::Postgres {
        insert_into_postgres(writers, events).await
    } else {
        insert_into_sqlite(writers, events).await
    }
}

/// The lock on the customer's row delays an erasure until the event is committed: no event is
/// inserted under the number of an erased customer.
const INSERT_INTO_POSTGRES: &str = "\
    WITH written AS ( \
      INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
        contact_id, changed_fields, feed_position) \
      SELECT customers.customer_number, customers.write_count, disclosed.event_id, disclosed.event_time, \
        disclosed.actor, disclosed.kind, disclosed.contact_id, disclosed.changed_fields, 0 \
      FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::uuid[], \
        $7::text[]) AS disclosed (number, event_id, event_time, actor, kind, contact_id, changed_fields) \
      JOIN customers ON customers.customer_number = disclosed.number \
      FOR KEY SHARE OF customers \
      RETURNING event_id) \
    SELECT event_id FROM written";

async fn insert_into_postgres(
    writers: &DatabaseConnection,
    events: &[AuditEvent],
) -> Result<Vec<bool>> {
    let numbers: Vec<_> = events.iter().map(customer_number).collect();
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let times: Vec<_> = events.iter().map(|event| event.event_time).collect();
    let actors: Vec<_> = events.iter().map(|event| event.actor.0.as_str()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let contacts: Vec<_> = events
        .iter()
        .map(|event| event.contact_id.map(|id| id.0))
        .collect();
    let fields: Vec<String> = events
        .iter()
        .map(|event| from_field_names(&event.changed_fields))
        .collect::<Result<_>>()?;
    let query = sqlx::query(INSERT_INTO_POSTGRES)
        .bind(numbers)
        .bind(&ids)
        .bind(times)
        .bind(actors)
        .bind(kinds)
        .bind(contacts)
        .bind(fields);
    let rows = query.fetch_all(writers.get_postgres_connection_pool());
    let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
    let written: sqlx::Result<Vec<Uuid>> = rows.iter().map(|row| row.try_get(0)).collect();
    let written = written.map_err(StorageError::from)?;
    Ok(ids.iter().map(|id| written.contains(id)).collect())
}

const INSERT_INTO_SQLITE: &str = "\
    INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
      contact_id, changed_fields, feed_position) \
    SELECT customer_number, write_count, $1, $2, $3, $4, $5, $6, 0 FROM customers \
    WHERE customer_number = $7";

async fn insert_into_sqlite(
    writers: &DatabaseConnection,
    events: &[AuditEvent],
) -> Result<Vec<bool>> {
    let mut written = Vec::with_capacity(events.len());
    for event in events {
        let values = [
            event.id.into(),
            event.event_time.into(),
            event.actor.0.clone().into(),
            event.kind.clone().into(),
            event.contact_id.map(|id| id.0).into(),
            from_field_names(&event.changed_fields)?.into(),
            customer_number(event).into(),
        ];
        let insertion =
            Statement::from_sql_and_values(DbBackend::Sqlite, INSERT_INTO_SQLITE, values);
        let inserted = writers.execute_raw(insertion);
        let inserted =
            with_timeout(async { Ok(inserted.await.map_err(StorageError::from)?) }).await?;
        written.push(inserted.rows_affected() == 1);
    }
    Ok(written)
}

fn customer_number(event: &AuditEvent) -> &str {
    event
        .customer_number
        .as_ref()
        .map_or("", |number| number.as_str())
}
