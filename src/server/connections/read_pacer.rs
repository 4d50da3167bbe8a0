//! The common paces at which connections that have reached a limit are read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::observability::metrics::{Limit, limit_hit};

/// The time between two reads: far slower than requests can be rejected.
const INTERVAL: Duration = Duration::from_millis(1);

/// The paces of a process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ReadPacers {
    /// Of connections without an authenticated request.
    pub(super) unauthenticated: ReadPacer,
    /// Of authenticated connections whose clients cancel too many requests.
    pub(super) cancelling: ReadPacer,
}

impl Default for ReadPacers {
    fn default() -> Self {
        Self {
            unauthenticated: ReadPacer::new(Limit::UnauthenticatedReads),
            cancelling: ReadPacer::new(Limit::CancelledRequests),
        }
    }
}

/// Assigns times to reads. Clones share the pace.
#[derive(Clone, Debug)]
pub(super) struct ReadPacer {
    limit: Limit,
    next: Arc<Mutex<Option<Instant>>>,
}

impl ReadPacer {
    fn new(limit: Limit) -> Self {
        Self {
            limit,
            next: Arc::default(),
        }
    }

    /// Returns a future that resolves at the next free time. A time that passes without a read delays
    /// other connections by the interval only.
    pub(super) fn next_read(&self) -> Sleep {
        limit_hit(self.limit);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let assigned = next.map_or(now, |next| next.max(now));
        *next = Some(assigned + INTERVAL);
        sleep_until(assigned)
    }
}
