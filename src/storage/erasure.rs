//! What is deleted with a customer, and what becomes of its trail.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QuerySelect, sea_query::Expr,
};

use super::{
    Database, Transaction,
    entity::{audit_events, customers, phone_passwords, request_ids},
    expect_one_row,
    failure::Failure,
};
use crate::{
    domain::customer::CustomerNumber,
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
        request_ids::Entity::delete_many()
            .filter(request_ids::Column::CustomerNumber.eq(number))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Has the trail of a customer go on under a pseudonym, behind that of an earlier erased
    /// customer of this number, which may have other pseudonyms. Gives by how much its ranks
    /// grew.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn rename_trail(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
        others: &[CustomerNumber],
    ) -> Result<i64> {
        use audit_events::Column;
        let renamed = || {
            let name = Expr::value(pseudonym.as_str());
            audit_events::Entity::update_many().col_expr(Column::CustomerNumber, name)
        };
        if !others.is_empty() {
            let others = others.iter().map(CustomerNumber::as_str);
            renamed()
                .filter(Column::CustomerNumber.is_in(others))
                .exec(&self.inner)
                .await
                .map_err(Failure::from)?;
        }
        let last_rank: Option<i64> = audit_events::Entity::find()
            .select_only()
            .column_as(Column::Sequence.max(), "last_rank")
            .filter(Column::CustomerNumber.eq(pseudonym.as_str()))
            .into_tuple::<Option<i64>>()
            .one(&self.inner)
            .await
            .map_err(Failure::from)?
            .flatten();
        let growth = last_rank.unwrap_or_default();
        renamed()
            .col_expr(Column::Sequence, Expr::col(Column::Sequence).add(growth))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(growth)
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
        let truncate = sea_orm::Statement::from_string(
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
