//! The pepper versions of stored phone passwords. Revoked ones are excluded: they are never checked
//! again, and the index `phone_passwords_by_pepper_version` excludes them as well.

use super::{database::Database, error::StorageError};
use crate::error::Result;

impl Database {
    /// Lists the pepper versions of stored hashes, lowest first. The cost is one index lookup per
    /// version, independent of the number of hashes.
    pub async fn list_pepper_versions(&self) -> Result<Vec<i64>> {
        let mut versions = Vec::new();
        let mut last = i64::MIN;
        loop {
            let next = self.rows_by_index(NEXT_VERSION, [last.into()]).await?;
            let Some(row) = next.first() else {
                return Ok(versions);
            };
            last = row.try_get_by_index(0).map_err(StorageError::from)?;
            versions.push(last);
        }
    }

    /// Counts the stored hashes of each pepper version, up to 100,000 of each.
    pub async fn count_hashes_by_pepper(&self) -> Result<Vec<(i64, i64)>> {
        let mut counts = Vec::new();
        for version in self.list_pepper_versions().await? {
            let rows = self.rows_by_index(COUNT, [version.into()]).await?;
            for row in rows {
                let count = row.try_get_by_index(0).map_err(StorageError::from)?;
                counts.push((version, count));
            }
        }
        Ok(counts)
    }
}

const NEXT_VERSION: &str = "\
    SELECT pepper_version FROM phone_passwords \
    WHERE pepper_version IS NOT NULL AND NOT is_revoked AND pepper_version > $1 \
    ORDER BY pepper_version LIMIT 1";
const COUNT: &str = "\
    SELECT count(*) FROM (SELECT 1 FROM phone_passwords \
      WHERE pepper_version = $1 AND NOT is_revoked LIMIT 100000) AS hashes";
