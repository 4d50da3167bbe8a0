//! Randomness, handed in: nothing else in this crate makes any.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Where random bytes come from.
#[derive(Clone, Debug)]
pub enum Random {
    /// The system's secure generator.
    System(SystemRandom),
    /// Bytes that a test can foresee: a counter, never random.
    Counter(Arc<Mutex<u128>>),
}

impl Random {
    /// The system's secure generator.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that makes a generator"
    )]
    pub fn system() -> Self {
        Self::System(SystemRandom::new())
    }

    /// Bytes that count up, for tests.
    pub fn counter() -> Self {
        Self::Counter(Arc::new(Mutex::new(0)))
    }

    /// Fresh random bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has none.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self {
            Self::System(system) => system
                .fill(&mut bytes)
                .map_err(|_| Error::internal("the system gives no random bytes"))?,
            Self::Counter(counter) => {
                let mut count = counter.lock().unwrap_or_else(PoisonError::into_inner);
                *count += 1;
                for (byte, counted) in bytes.iter_mut().rev().zip(count.to_le_bytes()) {
                    *byte = counted;
                }
            }
        }
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
