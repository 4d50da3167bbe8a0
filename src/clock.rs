//! The clock, which is passed to all code that needs the current time.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// A source of the current time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system clock.
    System,
    /// The system clock, ahead by a time that tests of consumers advance.
    Ahead(Arc<Mutex<TimeDelta>>),
    /// A stopped clock that tests advance.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// Creates a stopped clock at `now`.
    pub fn manual(now: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(Mutex::new(now)))
    }

    /// Creates a clock that runs like that of the system and can be advanced.
    pub fn ahead() -> Self {
        Self::Ahead(Arc::default())
    }

    /// Returns the current time in whole microseconds, the precision that both databases store.
    pub fn now(&self) -> DateTime<Utc> {
        let now = match self {
            Self::System => system_time(),
            Self::Ahead(by) => system_time() + *by.lock().unwrap_or_else(PoisonError::into_inner),
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        };
        now.duration_trunc(TimeDelta::microseconds(1))
            .unwrap_or(now)
    }

    /// Advances the clock; has no effect on the system clock.
    pub fn advance(&self, by: TimeDelta) {
        match self {
            Self::System => {}
            Self::Ahead(ahead) => *ahead.lock().unwrap_or_else(PoisonError::into_inner) += by,
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the only place that reads the system clock"
)]
fn system_time() -> DateTime<Utc> {
    Utc::now()
}
