//! Etags, which identify the version of a record that a caller has read (AIP-154).

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// Returns the etag of a `version` of a record. The creation time distinguishes a record from an
/// erased predecessor with the same key.
pub fn etag(create_time: DateTime<Utc>, version: i64) -> String {
    format!("{:x}-{version:x}", create_time.timestamp_micros())
}

/// Compares the expected etag of a request with the current one. An empty one matches any version.
///
/// # Errors
/// [`Error::EtagMismatch`] if they differ.
pub fn check_etag(expected: &str, current: &str) -> Result<()> {
    if expected.is_empty() || expected == current {
        Ok(())
    } else {
        Err(Error::EtagMismatch)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn etag_is_optional_and_a_stale_one_is_rejected() {
        let create_time = DateTime::UNIX_EPOCH;
        let current = etag(create_time, 2);
        assert_eq!(check_etag("", &current), Ok(()));
        assert_eq!(check_etag(&current, &current), Ok(()));
        for stale in [
            etag(create_time, 1),
            etag(create_time + TimeDelta::seconds(1), 2),
            "*".into(),
        ] {
            assert_eq!(check_etag(&stale, &current), Err(Error::EtagMismatch));
        }
    }
}
