//! The common pace at which connections without an authenticated request are read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The time between two reads: far slower than requests can be rejected.
const INTERVAL: Duration = Duration::from_millis(1);

/// Assigns times to reads. Clones share the pace.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadPacer(Arc<Mutex<Option<Instant>>>);

impl ReadPacer {
    /// Returns a future that resolves at the next free time. A time that passes without a read delays
    /// other connections by the interval only.
    pub(super) fn next_read(&self) -> Sleep {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let assigned = next.map_or(now, |next| next.max(now));
        *next = Some(assigned + INTERVAL);
        sleep_until(assigned)
    }
}
