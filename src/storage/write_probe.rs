//! Probes of the database for readiness: a read, and a write.
//!
//! The rows are on one node of a distributed database. An instance is ready if its own node answers: a
//! node that is down fails the requests of its customers only, and is counted by
//! [`Database::count_unreachable_nodes`].

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{
    database::Database, database_file::DatabaseFile, error::StorageError, timeout::with_timeout,
};
use crate::{
    error::{Error, Result},
    observability::metrics::NotReady,
};

/// Rows that all instances share.
const SLOTS: u8 = 16;

/// The outcome of a write probe that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A row was written.
    Written,
    /// No row was written: it was locked, or all connections were in use.
    Busy,
}

impl Database {
    /// Reads a row.
    ///
    /// # Errors
    /// The cause why it cannot be read.
    pub async fn probe_read(&self) -> std::result::Result<(), NotReady> {
        let backend = self.readers.get_database_backend();
        let read = Statement::from_string(backend, READ);
        let read = self.readers.query_one_raw(read).await;
        // A pool timeout means that the server does not answer.
        read.map(|_| ()).or_else(|error| {
            let failure = StorageError::from(error);
            if self.is_of_other_node(&failure) {
                return Ok(());
            }
            let cause = failure.readiness_cause();
            Err(cause.unwrap_or(NotReady::DatabaseUnreachable))
        })
    }

    /// Writes a row through the pool of the writers. `seed` selects the row.
    ///
    /// # Errors
    /// The cause why it cannot be written.
    pub async fn probe_write(&self, seed: u8) -> std::result::Result<ProbeOutcome, NotReady> {
        if self.file.as_ref().is_some_and(DatabaseFile::is_lost) {
            return Err(NotReady::DatabaseReplaced);
        }
        match self.write_row(i16::from(seed % SLOTS)).await {
            Ok(()) => Ok(ProbeOutcome::Written),
            Err(failure) if self.is_of_other_node(&failure) => Ok(ProbeOutcome::Written),
            Err(failure) => failure
                .readiness_cause()
                .map_or(Ok(ProbeOutcome::Busy), Err),
        }
    }

    fn is_of_other_node(&self, failure: &StorageError) -> bool {
        self.is_distributed() && failure.is_of_other_node()
    }

    /// Counts the nodes of a distributed database that this instance's node does not reach.
    pub async fn count_unreachable_nodes(&self) -> Result<u32> {
        if !self.is_distributed() {
            return Ok(0);
        }
        let query = Statement::from_string(DbBackend::Postgres, UNREACHABLE_NODES);
        let row = self.readers.query_one_raw(query);
        let row = with_timeout(async { Ok(row.await.map_err(StorageError::from)?) }).await?;
        let row = row.ok_or_else(|| Error::internal("a count returned no row"))?;
        let count: i64 = row.try_get_by_index(0).map_err(StorageError::from)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn write_row(&self, slot: i16) -> std::result::Result<(), StorageError> {
        let transaction = self.begin().await?;
        let backend = transaction.get_database_backend();
        let write = Statement::from_sql_and_values(backend, WRITE, [slot.into()]);
        transaction.execute_raw(write).await?;
        Ok(transaction.commit().await?)
    }
}

const READ: &str = "SELECT last_position FROM change_feed WHERE id = 1";
const WRITE: &str = "\
    INSERT INTO write_probes (slot, count) VALUES ($1, 1) \
    ON CONFLICT (slot) DO UPDATE SET count = write_probes.count + 1";
/// Each node runs a query, without one that does not answer.
const UNREACHABLE_NODES: &str =
    "SELECT count(*) FROM run_command_on_all_nodes('SELECT 1') WHERE NOT success";
