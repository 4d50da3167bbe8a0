//! Probes of the database for readiness: a read, and a write.

use sea_orm::{ConnectionTrait, Statement};

use super::{database::Database, database_file::DatabaseFile, error::StorageError};
use crate::observability::metrics::NotReady;

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
    pub async fn probe_read(&self) -> Result<(), NotReady> {
        let backend = self.readers.get_database_backend();
        let read = Statement::from_string(backend, READ);
        let read = self.readers.query_one_raw(read).await;
        // A pool timeout means that the server does not answer.
        read.map(|_| ()).map_err(|error| {
            let cause = StorageError::from(error).readiness_cause();
            cause.unwrap_or(NotReady::DatabaseUnreachable)
        })
    }

    /// Writes a row through the pool of the writers. `seed` selects the row.
    ///
    /// # Errors
    /// The cause why it cannot be written.
    pub async fn probe_write(&self, seed: u8) -> Result<ProbeOutcome, NotReady> {
        if self.file.as_ref().is_some_and(DatabaseFile::is_lost) {
            return Err(NotReady::DatabaseReplaced);
        }
        match self.write_row(i16::from(seed % SLOTS)).await {
            Ok(()) => Ok(ProbeOutcome::Written),
            Err(failure) => failure
                .readiness_cause()
                .map_or(Ok(ProbeOutcome::Busy), Err),
        }
    }

    async fn write_row(&self, slot: i16) -> Result<(), StorageError> {
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
