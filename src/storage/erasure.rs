//! Deletes a customer, and pseudonymizes its audit log.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Statement, sea_query::Expr,
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
    domain::ids::CustomerNumber,
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
    /// Events without a feed position are skipped.
    pub async fn pseudonymize_some_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<u64> {
        let limit = i64::try_from(BATCH_SIZE).unwrap_or(i64::MAX);
        let (number, pseudonym) = (number.as_str(), pseudonym.as_str());
        let values = [pseudonym.into(), number.into(), limit.into()];
        let backend = self.inner.get_database_backend();
        let update = Statement::from_sql_and_values(backend, PSEUDONYMIZE_SOME, values);
        let updated = self.inner.execute_raw(update).await;
        Ok(updated.map_err(StorageError::from)?.rows_affected())
    }

    /// Pseudonymizes all events of a customer, which must have feed positions, and those of earlier
    /// erased customers with this number, which may have other pseudonyms.
    pub async fn pseudonymize_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
        others: &[CustomerNumber],
    ) -> Result<()> {
        use audit_events::Column;
        let names = others.iter().chain([number]).map(CustomerNumber::as_str);
        audit_events::Entity::update_many()
            .col_expr(Column::CustomerNumber, Expr::value(pseudonym.as_str()))
            .filter(Column::CustomerNumber.is_in(names))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

/// Events that are pseudonymized in one transaction.
const BATCH_SIZE: u64 = 5_000;
const PSEUDONYMIZE_SOME: &str = "\
    UPDATE audit_events SET customer_number = $1 \
    WHERE (customer_number, sequence, event_id) IN ( \
      SELECT customer_number, sequence, event_id FROM audit_events \
      WHERE customer_number = $2 AND feed_position IS NOT NULL \
      ORDER BY sequence, event_id LIMIT $3)";

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
        let truncate = Statement::from_string(
            sea_orm::DbBackend::Sqlite,
            "PRAGMA wal_checkpoint(TRUNCATE)",
        );
        let row = self.writers.query_one_raw(truncate).await;
        let row = row.map_err(StorageError::from)?;
        let row = row.ok_or_else(|| Error::internal("a checkpoint returned no row"))?;
        match row.try_get_by_index::<i32>(0).map_err(StorageError::from)? {
            0 => Ok(()),
            _ => Err(Error::Conflict),
        }
    }
}
