//! Inserts disclosures into the audit log, without waiting for changes of their customers.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sqlx::SqlSafeStr as _;
use uuid::Uuid;

use super::{
    super::{
        columns::{from_details, from_field_names},
        database_file::{self, DatabaseFile},
        error::StorageError,
        pools::{observer::StatementObserver, reader_pool::acquire_tested},
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{
    domain::audit::AuditEvent,
    error::Result,
    observability::metrics::{DatabaseOperation, SharedQuery},
};

/// A disclosure to record.
#[derive(Clone, Debug)]
pub struct Disclosure {
    /// The event. The database assigns the sequence number of the customer's last change.
    pub event: AuditEvent,
    /// A hash of the id of the phone call that the disclosed channel is remembered for.
    pub call_hash: Option<String>,
}

/// Creates the batcher of disclosures.
pub(crate) fn batcher(
    writers: &DatabaseConnection,
    observer: &StatementObserver,
    file: Option<&DatabaseFile>,
    sizes: BatchSizes,
) -> Batcher<Disclosure, bool> {
    let (writers, observer, file) = (writers.clone(), observer.clone(), file.cloned());
    let insert = move |disclosures: Vec<Disclosure>| {
        let (writers, observer, file) = (writers.clone(), observer.clone(), file.clone());
        async move {
            let written = insert_many(&writers, &observer, &disclosures).await?;
            database_file::ensure_present(file.as_ref())?;
            Ok(written)
        }
    };
    Batcher::new(SharedQuery::Disclosures, sizes, insert)
}

/// Inserts the disclosures. Each value is true if its customer is on file.
async fn insert_many(
    writers: &DatabaseConnection,
    observer: &StatementObserver,
    disclosures: &[Disclosure],
) -> Result<Vec<bool>> {
    if writers.get_database_backend() == DbBackend::Sqlite {
        return insert_into_sqlite(writers, disclosures).await;
    }
    let written = insert_into_postgres(writers, observer, disclosures).await?;
    let is_written = |disclosure: &Disclosure| written.contains(&disclosure.event.id);
    Ok(disclosures.iter().map(is_written).collect())
}

/// The lock on the customer's row delays an erasure until the event is committed: no event is
/// inserted under the number of an erased customer.
const INSERT_INTO_POSTGRES: &str = "\
    INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
      contact_id, changed_fields, details, call_hash) \
    SELECT customers.customer_number, customers.write_count, disclosed.event_id, \
      disclosed.event_time, disclosed.actor, disclosed.kind, disclosed.contact_id, \
      disclosed.changed_fields, disclosed.details, disclosed.call_hash \
    FROM customers \
    JOIN unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::uuid[], \
      $8::text[], $9::text[], $10::text[]) AS disclosed (number, event_id, event_time, actor, kind, \
        contact_id, changed_fields, details, call_hash) \
      ON disclosed.number = customers.customer_number \
    WHERE customers.customer_number = ANY ($1) \
    FOR KEY SHARE OF customers \
    RETURNING event_id";

/// Inserts the disclosures with one statement, and returns the ids of those whose customer is on
/// file.
async fn insert_into_postgres(
    writers: &DatabaseConnection,
    observer: &StatementObserver,
    disclosures: &[Disclosure],
) -> Result<HashSet<Uuid>> {
    let events = || disclosures.iter().map(|disclosure| &disclosure.event);
    let numbers: Vec<_> = events().map(customer_number).collect();
    let customers: BTreeSet<_> = numbers.iter().copied().collect();
    let ids: Vec<_> = events().map(|event| event.id).collect();
    let times: Vec<_> = events().map(|event| event.event_time).collect();
    let actors: Vec<_> = events().map(|event| event.actor.0.as_str()).collect();
    let kinds: Vec<_> = events().map(|event| event.kind.as_str()).collect();
    let contacts: Vec<_> = events()
        .map(|event| event.contact_id.map(|id| id.0))
        .collect();
    let fields: Vec<String> = events()
        .map(|event| from_field_names(&event.changed_fields))
        .collect::<Result<_>>()?;
    let details: Vec<Option<String>> = events()
        .map(|event| from_details(&event.details))
        .collect::<Result<_>>()?;
    let calls = disclosures.iter().map(|one| one.call_hash.as_deref());
    let query = sqlx::query_scalar(INSERT_INTO_POSTGRES)
        .bind(customers.into_iter().collect::<Vec<_>>())
        .bind(numbers)
        .bind(ids)
        .bind(times)
        .bind(actors)
        .bind(kinds)
        .bind(contacts)
        .bind(fields)
        .bind(details)
        .bind(calls.collect::<Vec<_>>());
    let pool = writers.get_postgres_connection_pool();
    let written = async {
        let mut connection = acquire_tested(pool).await?;
        let inserted = query.fetch_all(&mut *connection);
        let sql = || INSERT_INTO_POSTGRES.into_sql_str();
        observer
            .observe(DatabaseOperation::Insert, sql, inserted)
            .await
    };
    let written = async { Ok(written.await.map_err(StorageError::from)?) };
    Ok(HashSet::from_iter(with_timeout(written).await?))
}

const INSERT_INTO_SQLITE: &str = "\
    INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
      contact_id, changed_fields, details, call_hash) \
    SELECT customer_number, write_count, $1, $2, $3, $4, $5, $6, $7, $8 FROM customers \
    WHERE customer_number = $9";

async fn insert_into_sqlite(
    writers: &DatabaseConnection,
    disclosures: &[Disclosure],
) -> Result<Vec<bool>> {
    let mut written = Vec::with_capacity(disclosures.len());
    for Disclosure { event, call_hash } in disclosures {
        let values = [
            event.id.into(),
            event.event_time.into(),
            event.actor.0.clone().into(),
            event.kind.clone().into(),
            event.contact_id.map(|id| id.0).into(),
            from_field_names(&event.changed_fields)?.into(),
            from_details(&event.details)?.into(),
            call_hash.clone().into(),
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
