//! Statements of background jobs, which no client waits for and which may have a whole table to do:
//! bound by an index at any size of the table.
//!
//! What `PostgreSQL` knows of a table may be old or nothing: after a bulk load, or where all or
//! none of the rows waited for a job when it looked. Its plan is then one for another table, and
//! reads millions of rows for a thousand. So these statements have an index in their order and a
//! limit in their text (a parameter would count as a tenth of the table), and the planner is left
//! no way around the index. An embedded database keeps no such knowledge.

use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, QueryResult, Statement, TransactionOptions,
    TransactionTrait, Value,
};

use super::{Database, Transaction, bounded};
use crate::error::Result;
use crate::storage::error::Failure;

/// Until the transaction ends. Without a sort rows come in the order of an index, so that a limit
/// ends the reading; without these joins each row is found by its key. What is disabled counts as
/// very expensive, and would have the statement compiled.
const BY_INDEXES: &str = "\
    SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; \
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

impl Transaction {
    /// Has the statements of this transaction go by indexes.
    pub(super) async fn go_by_indexes(&self) -> Result<()> {
        go_by_indexes(&self.inner).await
    }
}

async fn go_by_indexes(connection: &impl ConnectionTrait) -> Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let set = connection.execute_unprepared(BY_INDEXES).await;
        set.map_err(Failure::from)?;
    }
    Ok(())
}

impl Database {
    /// The rows that a background job asks for.
    pub(super) async fn rows_by_index<const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<QueryResult>> {
        let backend = self.writers.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        bounded(async {
            if self.is_embedded() {
                let rows = self.readers.query_all_raw(statement).await;
                return Ok(rows.map_err(Failure::from)?);
            }
            let options = TransactionOptions {
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            };
            // Through PgBouncer those of the readers' pool are in a transaction already.
            let begun = self.writers.begin_with_options(options).await;
            let transaction = begun.map_err(Failure::from)?;
            go_by_indexes(&transaction).await?;
            let rows = transaction.query_all_raw(statement).await;
            transaction.rollback().await.map_err(Failure::from)?;
            Ok(rows.map_err(Failure::from)?)
        })
        .await
    }
}
