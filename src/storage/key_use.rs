//! The rows that need a version of a key.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::QueryResult;

use super::{error::StorageError, snapshot::Snapshot};
use crate::error::{Error, Result};

/// The numbers of rows by version.
pub type RowsByVersion = BTreeMap<i64, i64>;

const HASHES: &str = "\
    SELECT pepper_version, count(*) FROM phone_passwords \
    WHERE pepper_version IS NOT NULL AND NOT is_revoked GROUP BY pepper_version";
const CODES: &str = "\
    SELECT key_version, count(*) FROM one_time_codes \
    WHERE code_hash IS NOT NULL AND expire_time > $1 GROUP BY key_version";
/// A sealed number begins with the version of its key.
const SEALED: &str = "\
    SELECT version, count(*) FROM ( \
      SELECT substr(sealed_customer_number, 1, 4) AS version FROM feed_entries \
        WHERE sealed_customer_number IS NOT NULL \
      UNION ALL SELECT substr(sealed_customer_number, 1, 4) FROM feed_inbox \
        WHERE sealed_customer_number IS NOT NULL) AS numbers GROUP BY version";

impl Snapshot {
    /// Counts the phone passwords by pepper version; revoked ones need no pepper.
    pub async fn count_hashes_by_pepper(&self) -> Result<RowsByVersion> {
        let rows = self.query(HASHES, []).await?;
        rows.iter().map(to_count).collect()
    }

    /// Counts the one-time codes that may be used at `now`, by version of the service key.
    pub async fn count_codes_by_key(&self, now: DateTime<Utc>) -> Result<RowsByVersion> {
        let rows = self.query(CODES, [now.into()]).await?;
        rows.iter().map(to_count).collect()
    }

    /// Counts the encrypted numbers of erased customers in the change feed, by version of the service
    /// key.
    pub async fn count_sealed_numbers_by_key(&self) -> Result<RowsByVersion> {
        let rows = self.query(SEALED, []).await?;
        let counts = rows.iter().map(|row| {
            let bytes: Vec<u8> = row.try_get_by_index(0).map_err(StorageError::from)?;
            let bytes = bytes.try_into();
            let damaged = |_| Error::data_loss("feed_entries.sealed_customer_number");
            let version = u32::from_be_bytes(bytes.map_err(damaged)?);
            let count = row.try_get_by_index(1).map_err(StorageError::from)?;
            Ok((version.into(), count))
        });
        counts.collect()
    }
}

fn to_count(row: &QueryResult) -> Result<(i64, i64)> {
    let version = row.try_get_by_index(0).map_err(StorageError::from)?;
    let count = row.try_get_by_index(1).map_err(StorageError::from)?;
    Ok((version, count))
}
