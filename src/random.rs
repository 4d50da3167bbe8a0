//! Randomness, handed in: nothing else in this crate makes any.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Where random bytes come from: the system's secure generator.
#[derive(Clone, Debug)]
pub struct Random(SystemRandom);

impl Random {
    /// The system's secure generator.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that makes a generator"
    )]
    pub fn system() -> Self {
        Self(SystemRandom::new())
    }

    /// Fresh random bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has none.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0
            .fill(&mut bytes)
            .map_err(|_| Error::internal("the system gives no random bytes"))?;
        Ok(bytes)
    }

    /// A fresh `UUIDv7` of the time `now`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no random bytes.
    pub fn uuid_v7(&self, now: DateTime<Utc>) -> Result<Uuid> {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let random = self.bytes()?;
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}
