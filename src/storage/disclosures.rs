//! Disclosures in the trail: written beside the changes, and without waiting for them.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sqlx::Row as _;
use uuid::Uuid;

use super::{Database, audit::names_as_json, bounded};
use crate::storage::error::Failure;
use crate::{domain::audit::AuditEvent, error::Result};

impl Database {
    /// Writes a disclosure under the rank of its customer's last change, and gives whether the
    /// customer is still on file. Calls at the same moment share a statement.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_disclosure(&self, event: AuditEvent) -> Result<bool> {
        self.disclosures.ask(event).await
    }
}

/// Writes the disclosures; an answer for each, whether its customer is on file.
pub(super) async fn insert_many(
    writers: &DatabaseConnection,
    events: &[AuditEvent],
) -> Result<Vec<bool>> {
    if writers.get_database_backend() == DbBackend::Postgres {
        insert_into_postgres(writers, events).await
    } else {
        insert_into_sqlite(writers, events).await
    }
}

/// The customer's row is kept from being deleted until the event is written: nothing is
/// recorded under the number of a customer that is erased meanwhile.
const INSERT_INTO_POSTGRES: &str = "\
    WITH written AS ( \
      INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
        contact_id, changed_fields, feed_position) \
      SELECT customers.customer_number, customers.write_count, asked.event_id, asked.event_time, \
        asked.actor, asked.kind, asked.contact_id, asked.changed_fields, 0 \
      FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::uuid[], \
        $7::text[]) AS asked (number, event_id, event_time, actor, kind, contact_id, changed_fields) \
      JOIN customers ON customers.customer_number = asked.number \
      FOR KEY SHARE OF customers \
      RETURNING event_id) \
    SELECT event_id FROM written";

async fn insert_into_postgres(
    writers: &DatabaseConnection,
    events: &[AuditEvent],
) -> Result<Vec<bool>> {
    let numbers: Vec<_> = events.iter().map(number_of).collect();
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
        .map(|event| names_as_json(&event.changed_fields))
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
    let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
    let written: sqlx::Result<Vec<Uuid>> = rows.iter().map(|row| row.try_get(0)).collect();
    let written = written.map_err(Failure::from)?;
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
            names_as_json(&event.changed_fields)?.into(),
            number_of(event).into(),
        ];
        let insertion =
            Statement::from_sql_and_values(DbBackend::Sqlite, INSERT_INTO_SQLITE, values);
        let done = writers.execute_raw(insertion);
        let done = bounded(async { Ok(done.await.map_err(Failure::from)?) }).await?;
        written.push(done.rows_affected() == 1);
    }
    Ok(written)
}

fn number_of(event: &AuditEvent) -> &str {
    event
        .customer_number
        .as_ref()
        .map_or("", |number| number.as_str())
}
