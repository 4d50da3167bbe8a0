//! Online backup of an embedded database.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{database::Database, error::StorageError};

/// The code of SQLite for a full disk.
const FULL: &str = "database error 13 ";

impl Database {
    /// Copies an embedded database into an empty file, from one snapshot. Writers are not delayed.
    ///
    /// # Errors
    /// The cause, in one line.
    pub async fn back_up_into(&self, file: &str) -> Result<(), String> {
        let copy = "VACUUM INTO $1";
        let copy = Statement::from_sql_and_values(DbBackend::Sqlite, copy, [file.into()]);
        // The readers may not write, not even another file. No transaction of this process waits.
        let copied = self.writers.execute_raw(copy).await;
        copied.map(|_| ()).map_err(|error| {
            let failure = StorageError::from(error).to_string();
            if failure == FULL {
                "the disk is full".to_owned()
            } else {
                failure
            }
        })
    }
}
