//! The pepper versions of stored phone passwords. Revoked ones are left out: they are never
//! checked again, and the index `phone_passwords_by_pepper_version` leaves them out as well.

use super::Database;
use crate::error::Result;
use crate::storage::error::Failure;

impl Database {
    /// Lists the pepper versions of stored hashes, lowest first. It costs one look at the index
    /// per version, whatever the number of hashes.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_pepper_versions(&self) -> Result<Vec<i64>> {
        let mut versions = Vec::new();
        let mut last = i64::MIN;
        loop {
            let next = self.rows_by_index(NEXT_VERSION, [last.into()]).await?;
            let Some(row) = next.first() else {
                return Ok(versions);
            };
            last = row.try_get_by_index(0).map_err(Failure::from)?;
            versions.push(last);
        }
    }

    /// Counts the stored hashes of each pepper version, up to 100,000 of each.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_hashes_by_pepper(&self) -> Result<Vec<(i64, i64)>> {
        let mut counts = Vec::new();
        for version in self.list_pepper_versions().await? {
            let rows = self.rows_by_index(COUNT, [version.into()]).await?;
            for row in rows {
                let count = row.try_get_by_index(0).map_err(Failure::from)?;
                counts.push((version, count));
            }
        }
        Ok(counts)
    }
}

const NEXT_VERSION: &str = "\
    SELECT pepper_version FROM phone_passwords \
    WHERE pepper_version IS NOT NULL AND NOT is_void AND pepper_version > $1 \
    ORDER BY pepper_version LIMIT 1";
const COUNT: &str = "\
    SELECT count(*) FROM (SELECT 1 FROM phone_passwords \
      WHERE pepper_version = $1 AND NOT is_void LIMIT 100000) AS hashes";
