//! The pepper versions of stored phone passwords. Revoked ones are left out: they are never
//! checked again, and the index `phone_passwords_by_pepper_version` leaves them out as well.

use sea_orm::{ConnectionTrait, Statement};

use super::{Database, bounded, failure::Failure};
use crate::error::Result;

impl Database {
    /// Lists the pepper versions of stored hashes, lowest first. It costs one look at the index
    /// per version, whatever the number of hashes.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_pepper_versions(&self) -> Result<Vec<i64>> {
        let backend = self.readers.get_database_backend();
        let mut versions = Vec::new();
        let mut last = i64::MIN;
        loop {
            let next = Statement::from_sql_and_values(backend, NEXT_VERSION, [last.into()]);
            let row = self.readers.query_one_raw(next);
            let row = bounded(async { Ok(row.await.map_err(Failure::from)?) }).await?;
            let version: Option<i64> = match row {
                Some(row) => row.try_get_by_index(0).map_err(Failure::from)?,
                None => None,
            };
            let Some(version) = version else {
                return Ok(versions);
            };
            versions.push(version);
            last = version;
        }
    }

    /// Counts the stored hashes of each pepper version, which reads all of them.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_hashes_by_pepper(&self) -> Result<Vec<(i64, i64)>> {
        let backend = self.readers.get_database_backend();
        let rows = self
            .readers
            .query_all_raw(Statement::from_string(backend, COUNTS));
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        let counts = rows.iter().map(|row| {
            let version = row.try_get_by_index(0).map_err(Failure::from)?;
            let count = row.try_get_by_index(1).map_err(Failure::from)?;
            Ok((version, count))
        });
        counts.collect()
    }
}

const NEXT_VERSION: &str = "\
    SELECT min(pepper_version) FROM phone_passwords \
    WHERE pepper_version IS NOT NULL AND NOT is_void AND pepper_version > $1";
const COUNTS: &str = "\
    SELECT pepper_version, count(*) FROM phone_passwords \
    WHERE pepper_version IS NOT NULL AND NOT is_void GROUP BY pepper_version";
