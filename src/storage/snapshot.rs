//! A snapshot of the whole database, for long reads: later writes do not show in it.

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, DbBackend, IsolationLevel, QueryResult,
    Statement, TransactionOptions, TransactionTrait, Value,
};

use super::{by_index::force_indexes, database::Database, error::StorageError};
use crate::error::{Error, Result};

/// A snapshot lasts longer than the timeouts of the sessions of requests.
const WITHOUT_TIMEOUTS: &str = "\
    SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// A read-only transaction in which all statements see the same data. With Citus, each node has a
/// snapshot of its own.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) inner: DatabaseTransaction,
}

impl Database {
    /// Begins a snapshot. While it is open, `PostgreSQL` keeps the old versions of rows, and an embedded
    /// database its write-ahead log.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        if self.is_embedded() {
            let inner = self.readers.begin().await.map_err(StorageError::from)?;
            return Ok(Snapshot { inner });
        }
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        // Through PgBouncer, connections of the readers' pool are already in a transaction.
        let begun = self.writers.begin_with_options(options).await;
        let inner = begun.map_err(StorageError::from)?;
        let set = inner.execute_unprepared(WITHOUT_TIMEOUTS).await;
        set.map_err(StorageError::from)?;
        // Pages are short ranges of keys, whatever the planner knows of the tables.
        force_indexes(&inner).await?;
        Ok(Snapshot { inner })
    }
}

impl Snapshot {
    /// Ends the snapshot.
    pub async fn end(self) -> Result<()> {
        Ok(self.inner.rollback().await.map_err(StorageError::from)?)
    }

    /// Counts the customers.
    pub async fn count_customers(&self) -> Result<u64> {
        let rows = self.query("SELECT count(*) FROM customers", []).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::internal("a count returned no row"))?;
        let count: i64 = row.try_get_by_index(0).map_err(StorageError::from)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    pub(super) async fn query(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<QueryResult>> {
        let statement = Statement::from_sql_and_values(self.backend(), sql, values);
        let rows = self.inner.query_all_raw(statement).await;
        Ok(rows.map_err(StorageError::from)?)
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }
}
