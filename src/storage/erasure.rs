//! What is deleted with a customer, and what becomes of its trail.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Statement, sea_query::Expr,
};

use super::{
    Database, Transaction, bounded,
    entity::{
        audit_events, channel_check_customers, customers, phone_password_calls, phone_passwords,
        request_ids,
    },
    expect_one_row,
};
use crate::storage::error::Failure;
use crate::{
    domain::ids::CustomerNumber,
    error::{Error, Result},
};

impl Transaction {
    /// Deletes everything on file about a locked customer but its trail.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn erase_customer(&self, number: &CustomerNumber) -> Result<()> {
        let number = number.as_str();
        // First, with whatever hangs on it by a foreign key: this waits for the tries on phone
        // passwords that are under way, and those that begin now wait for it.
        let deleted = customers::Entity::delete_by_id(number)
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(deleted.rows_affected)?;
        phone_passwords::Entity::delete_many()
            .filter(phone_passwords::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        phone_password_calls::Entity::delete_many()
            .filter(phone_password_calls::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        channel_check_customers::Entity::delete_many()
            .filter(channel_check_customers::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        request_ids::Entity::delete_many()
            .filter(request_ids::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Has the oldest events of a locked customer go on under a pseudonym, and gives how many.
    /// Those that wait for their places in the feed are left.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn rename_some_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<u64> {
        let limit = i64::try_from(RENAMED_AT_ONCE).unwrap_or(i64::MAX);
        let (number, pseudonym) = (number.as_str(), pseudonym.as_str());
        let values = [pseudonym.into(), number.into(), limit.into()];
        let backend = self.inner.get_database_backend();
        let renaming = Statement::from_sql_and_values(backend, RENAME_SOME, values);
        let renamed = self.inner.execute_raw(renaming).await;
        Ok(renamed.map_err(Failure::from)?.rows_affected())
    }

    /// Has the trail of a customer, whose events all have their places in the feed, go on under
    /// a pseudonym, and that of an earlier erased customer of this number, which may have
    /// others.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn rename_trail(
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
            .map_err(Failure::from)?;
        Ok(())
    }
}

/// How many events are renamed in one transaction.
const RENAMED_AT_ONCE: u64 = 5_000;
const RENAME_SOME: &str = "\
    UPDATE audit_events SET customer_number = $1 \
    WHERE (customer_number, sequence, event_id) IN ( \
      SELECT customer_number, sequence, event_id FROM audit_events \
      WHERE customer_number = $2 AND feed_position IS NOT NULL \
      ORDER BY sequence, event_id LIMIT $3)";

impl Database {
    /// Whether the trail of a customer is too long to be renamed in one transaction.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn has_long_trail(&self, number: &CustomerNumber) -> Result<bool> {
        let behind = audit_events::Entity::find()
            .filter(audit_events::Column::CustomerNumber.eq(number.as_str()))
            .offset(RENAMED_AT_ONCE)
            .one(&self.readers);
        let behind = bounded(async { Ok(behind.await.map_err(Failure::from)?) }).await?;
        Ok(behind.is_some())
    }
}

impl Database {
    /// Overwrites what an embedded database's files still hold of deleted rows. A server does
    /// that by itself, in its own time.
    ///
    /// # Errors
    /// [`Error::Conflict`] while somebody reads what was there before, and the failures of the
    /// database.
    pub async fn overwrite_deleted(&self) -> Result<()> {
        if !self.is_embedded() {
            return Ok(());
        }
        // The connection overwrites what it deletes, but rows that moved within a page leave
        // copies behind.
        let vacuumed = self.writers.execute_unprepared("VACUUM").await;
        vacuumed.map_err(Failure::from)?;
        let truncate = Statement::from_string(
            sea_orm::DbBackend::Sqlite,
            "PRAGMA wal_checkpoint(TRUNCATE)",
        );
        let row = self.writers.query_one_raw(truncate).await;
        let row = row.map_err(Failure::from)?;
        let row = row.ok_or_else(|| Error::internal("a checkpoint says nothing"))?;
        match row.try_get_by_index::<i32>(0).map_err(Failure::from)? {
            0 => Ok(()),
            _ => Err(Error::Conflict),
        }
    }
}
