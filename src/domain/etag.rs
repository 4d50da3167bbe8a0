//! Etags: which state of a record a caller has seen (AIP-154).

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// The etag of a record in its `version`. The time of its creation keeps a
/// record that was erased and made anew apart from its predecessor.
pub fn etag(create_time: DateTime<Utc>, version: i64) -> String {
    format!("{:x}-{version:x}", create_time.timestamp_micros())
}

/// Compares the etag that a caller gave, if any, with the current one.
///
/// # Errors
/// [`Error::EtagMismatch`] when they differ.
pub fn check_etag(given: &str, current: &str) -> Result<()> {
    if given.is_empty() || given == current {
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
    fn an_etag_is_optional_and_a_stale_one_is_refused() {
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
