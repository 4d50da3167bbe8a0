//! The time, handed in: nothing else in this crate asks the system for it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Where the time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until a test moves it.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn manual(now: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(Mutex::new(now)))
    }

    /// The time in whole microseconds, the finest that both databases keep.
    pub fn now(&self) -> DateTime<Utc> {
        let now = match self {
            #[allow(
                clippy::disallowed_methods,
                reason = "the one place that asks the system"
            )]
            Self::System => Utc::now(),
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        };
        now.duration_trunc(TimeDelta::microseconds(1))
            .unwrap_or(now)
    }

    /// Moves a manual clock on; the system's clock cannot be moved.
    pub fn advance(&self, by: TimeDelta) {
        match self {
            Self::System => {}
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}
