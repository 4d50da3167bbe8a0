//! Inserts disclosures into the audit log, without waiting for changes of their customers.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;

use super::{
    super::{
        columns::from_field_names,
        database_file::{self, DatabaseFile},
        error::StorageError,
        pools::reader_pool::acquire_tested,
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{domain::audit::AuditEvent, error::Result, observability::metrics::SharedQuery};

/// Creates the batcher of disclosures.
pub(crate) fn batcher(
    writers: &DatabaseConnection,
    file: Option<&DatabaseFile>,
    sizes: BatchSizes,
) -> Batcher<AuditEvent, bool> {
    let (writers, file) = (writers.clone(), file.cloned());
    let insert = move |events: Vec<AuditEvent>| {
        let (writers, file) = (writers.clone(), file.clone());
        async move {
            let written = insert_many(&writers, events).await?;
            database_file::ensure_present(file.as_ref())?;
            Ok(written)
        }
    };
    Batcher::new(SharedQuery::Disclosures, sizes, insert)
}

/// Inserts the disclosures. Each value is true if its customer is on file.
async fn insert_many(writers: &DatabaseConnection, events: Vec<AuditEvent>) -> Result<Vec<bool>> {
    if writers.get_database_backend() == DbBackend::Sqlite {
        return insert_into_sqlite(writers, &events).await;
    }
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let written = insert_into_postgres(writers, events).await?;
    Ok(ids.iter().map(|id| written.contains(id)).collect())
}

/// The lock on the customer's row delays an erasure until the event is committed: no event is
/// inserted under the number of an erased customer.
const INSERT_INTO_POSTGRES: &str = "\
    INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
      contact_id, changed_fields) \
    SELECT customers.customer_number, customers.write_count, disclosed.event_id, \
      disclosed.event_time, disclosed.actor, disclosed.kind, disclosed.contact_id, \
      disclosed.changed_fields \
    FROM customers \
    JOIN unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::uuid[], \
      $8::text[]) AS disclosed (number, event_id, event_time, actor, kind, contact_id, \
        changed_fields) ON disclosed.number = customers.customer_number \
    WHERE customers.customer_number = ANY ($1) \
    FOR KEY SHARE OF customers \
    RETURNING event_id";

/// Inserts the disclosures with one statement, and returns the ids of those whose customer is on
/// file.
async fn insert_into_postgres(
    writers: &DatabaseConnection,
    events: Vec<AuditEvent>,
) -> Result<HashSet<Uuid>> {
    let numbers: Vec<_> = events.iter().map(customer_number).collect();
    let customers: BTreeSet<_> = numbers.iter().copied().collect();
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
    let query = sqlx::query_scalar(INSERT_INTO_POSTGRES)
        .bind(customers.into_iter().collect::<Vec<_>>())
        .bind(numbers)
        .bind(ids)
        .bind(times)
        .bind(actors)
        .bind(kinds)
        .bind(contacts)
        .bind(fields);
    let pool = writers.get_postgres_connection_pool();
    let written = async {
        let mut connection = acquire_tested(pool).await?;
        query.fetch_all(&mut *connection).await
    };
    let written = async { Ok(written.await.map_err(StorageError::from)?) };
    Ok(HashSet::from_iter(with_timeout(written).await?))
}

const INSERT_INTO_SQLITE: &str = "\
    INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
      contact_id, changed_fields) \
    SELECT customer_number, write_count, $1, $2, $3, $4, $5, $6 FROM customers \
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
