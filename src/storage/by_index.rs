//! Statements of background jobs, which may have a whole table to process: bound to an index at
//! any size of the table.
//!
//! The statistics of `PostgreSQL` may be outdated or missing: after a bulk load, or if all or none
//! of the rows were due when they were collected. The plan then reads millions of rows for a
//! thousand. So these statements are ordered by an index, have a limit in their text (a parameter
//! would be estimated as a tenth of the table), and the planner has no alternative to the index.
//! An embedded database keeps no such statistics.

use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, QueryResult, Statement, TransactionOptions,
    TransactionTrait, Value,
};

use super::{
    database::Database, error::StorageError, timeout::with_timeout, transaction::Transaction,
};
use crate::error::Result;

/// Applies until the transaction ends. Without sorts rows are read in index order, so that a limit
/// ends the scan; without these joins rows are found by their key. JIT is off, as a disabled step
/// counts as very expensive and would have the statement compiled.
const FORCE_INDEXES: &str = "\
    SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; \
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

impl Transaction {
    /// Forces the statements of this transaction to use indexes.
    pub(super) async fn force_indexes(&self) -> Result<()> {
        force_indexes(&self.inner).await
    }
}

pub(super) async fn force_indexes(connection: &impl ConnectionTrait) -> Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let set = connection.execute_unprepared(FORCE_INDEXES).await;
        set.map_err(StorageError::from)?;
    }
    Ok(())
}

impl Database {
    /// Reads the rows of a background job.
    pub(super) async fn rows_by_index<const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<QueryResult>> {
        let backend = self.writers.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        with_timeout(async {
            if self.is_embedded() {
                let rows = self.readers.query_all_raw(statement).await;
                return Ok(rows.map_err(StorageError::from)?);
            }
            let options = TransactionOptions {
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            };
            // Through PgBouncer, connections of the readers' pool are already in a transaction.
            let transaction = self.writers.begin_with_options(options).await;
            let transaction = transaction.map_err(StorageError::from)?;
            force_indexes(&transaction).await?;
            let rows = transaction.query_all_raw(statement).await;
            transaction.rollback().await.map_err(StorageError::from)?;
            Ok(rows.map_err(StorageError::from)?)
        })
        .await
    }
}
