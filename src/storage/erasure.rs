//! Deletes a customer, and pseudonymizes its audit log.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Statement, Value,
};

use super::{
    database::Database,
    entity::{
        audit_events, channel_check_customers, customers, phone_password_calls, phone_passwords,
        request_ids,
    },
    error::{StorageError, ensure_version_matched},
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{audit::EventSortKey, ids::CustomerNumber},
    error::{Error, Result},
};

impl Transaction {
    /// Deletes all data of a locked customer except its audit log.
    pub async fn delete_customer(&self, number: &CustomerNumber) -> Result<()> {
        let number = number.as_str();
        // First, with the rows that reference it: this waits for attempts on phone passwords that
        // are in flight, and later ones wait for it.
        let deleted = customers::Entity::delete_by_id(number)
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(deleted.rows_affected)?;
        phone_passwords::Entity::delete_many()
            .filter(phone_passwords::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        phone_password_calls::Entity::delete_many()
            .filter(phone_password_calls::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        channel_check_customers::Entity::delete_many()
            .filter(channel_check_customers::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        request_ids::Entity::delete_many()
            .filter(request_ids::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Pseudonymizes a batch of the oldest events of a locked customer, and returns their number.
    pub async fn pseudonymize_some_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<u64> {
        let last = audit_events::Entity::find()
            .filter(audit_events::Column::CustomerNumber.eq(number.as_str()))
            .order_by_asc(audit_events::Column::Sequence)
            .order_by_asc(audit_events::Column::EventId)
            .offset(BATCH_SIZE - 1)
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let last = last.map_or(EventSortKey::LAST, |event| EventSortKey {
            sequence: event.sequence,
            id: event.event_id,
        });
        self.move_events(number, pseudonym, last).await
    }

    /// Pseudonymizes all events of a customer, and those of earlier erased customers with this
    /// number, which may have other pseudonyms.
    pub async fn pseudonymize_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
        others: &[CustomerNumber],
    ) -> Result<()> {
        for former in others.iter().chain([number]) {
            self.move_events(former, pseudonym, EventSortKey::LAST)
                .await?;
        }
        Ok(())
    }

    /// Moves the events up to `last` to another number. The number is part of the key, which no update
    /// may change in a distributed table. On PostgreSQL it is one statement, as a disclosure may be
    /// inserted at any time before the customer is deleted.
    async fn move_events(
        &self,
        number: &CustomerNumber,
        to: &CustomerNumber,
        last: EventSortKey,
    ) -> Result<u64> {
        let values = [
            to.as_str().into(),
            number.as_str().into(),
            last.sequence.into(),
            last.id.into(),
        ];
        if self.inner.get_database_backend() == DbBackend::Postgres {
            return self.execute_move(MOVE_POSTGRES, values).await;
        }
        let [_, number, sequence, id] = values.clone();
        let moved = self.execute_move(COPY_SQLITE, values).await?;
        self.execute_move(DELETE_SQLITE, [number, sequence, id])
            .await?;
        Ok(moved)
    }

    async fn execute_move<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64> {
        let backend = self.inner.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let moved = self.inner.execute_raw(statement).await;
        Ok(moved.map_err(StorageError::from)?.rows_affected())
    }
}

/// Events that are pseudonymized in one transaction, well within the time limit of a statement.
const BATCH_SIZE: u64 = 2_000;

macro_rules! columns {
    () => {
        "sequence, event_id, event_time, actor, kind, contact_id, changed_fields, details"
    };
}
// A range of the key, whatever the planner knows of the table: it may have no statistics yet.
const MOVE_POSTGRES: &str = concat!(
    "WITH moved AS ( \
       DELETE FROM audit_events WHERE customer_number = $2 AND (sequence, event_id) <= ($3, $4) \
       RETURNING ",
    columns!(),
    ") INSERT INTO audit_events (customer_number, ",
    columns!(),
    ") SELECT $1, ",
    columns!(),
    " FROM moved"
);
const COPY_SQLITE: &str = concat!(
    "INSERT INTO audit_events (customer_number, ",
    columns!(),
    ") SELECT $1, ",
    columns!(),
    " FROM audit_events WHERE customer_number = $2 AND (sequence, event_id) <= ($3, $4)"
);
const DELETE_SQLITE: &str = "\
    DELETE FROM audit_events WHERE customer_number = $1 AND (sequence, event_id) <= ($2, $3)";

impl Database {
    /// Returns true if a customer has too many events to pseudonymize them in one transaction.
    pub async fn has_many_events(&self, number: &CustomerNumber) -> Result<bool> {
        let beyond = audit_events::Entity::find()
            .filter(audit_events::Column::CustomerNumber.eq(number.as_str()))
            .offset(BATCH_SIZE)
            .one(&self.readers);
        let beyond = with_timeout(async { Ok(beyond.await.map_err(StorageError::from)?) }).await?;
        Ok(beyond.is_some())
    }
}

impl Database {
    /// Overwrites the remains of deleted rows in the files of an embedded database. A server does
    /// this on its own.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a reader has an older snapshot.
    pub async fn overwrite_deleted_rows(&self) -> Result<()> {
        if !self.is_embedded() {
            return Ok(());
        }
        // The connection overwrites deleted rows, but not copies of rows that moved within a page.
        let vacuumed = self.writers.execute_unprepared("VACUUM").await;
        vacuumed.map_err(StorageError::from)?;
        let truncate = Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(TRUNCATE)");
        let row = self.writers.query_one_raw(truncate).await;
        let row = row.map_err(StorageError::from)?;
        let row = row.ok_or_else(|| Error::internal("a checkpoint returned no row"))?;
        match row.try_get_by_index::<i32>(0).map_err(StorageError::from)? {
            0 => Ok(()),
            _ => Err(Error::Conflict),
        }
    }
}
