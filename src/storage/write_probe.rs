//! Whether the database answers, and takes writes.

use sea_orm::{ConnectionTrait, Statement};

use super::Database;
use crate::observability::metrics::NotReady;
use crate::storage::error::Failure;

/// How many rows the processes share.
const SLOTS: u8 = 16;

/// What came of a probe that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// A row was written.
    Written,
    /// Nothing was: others held the row, or all connections.
    Busy,
}

impl Database {
    /// Reads a row.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn probe_read(&self) -> Result<(), NotReady> {
        let backend = self.readers.get_database_backend();
        let read = Statement::from_string(backend, READ);
        let read = self.readers.query_one_raw(read).await;
        // The pool of the readers has none in time where the server does not answer.
        read.map(|_| ()).map_err(|error| {
            let cause = Failure::from(error).why_not_ready();
            cause.unwrap_or(NotReady::DatabaseUnreachable)
        })
    }

    /// Writes a row, the way that changes are written. `seed` says which of a few.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub async fn probe_write(&self, seed: u8) -> Result<Probed, NotReady> {
        if self.is_file_lost() {
            return Err(NotReady::DatabaseReplaced);
        }
        match self.write_row(i16::from(seed % SLOTS)).await {
            Ok(()) => Ok(Probed::Written),
            Err(failure) => failure.why_not_ready().map_or(Ok(Probed::Busy), Err),
        }
    }

    async fn write_row(&self, slot: i16) -> Result<(), Failure> {
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
