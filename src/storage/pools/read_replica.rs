//! The read replica, for reads that tolerate replication lag.
//!
//! Customers that were written through this process recently are read from the primary, so that
//! clients read their own writes. A circuit breaker skips a replica that does not answer.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use sea_orm::DatabaseConnection;

use super::{observer::StatementObserver, reader_pool::PinnedReaders};
use crate::domain::ids::CustomerNumber;

/// Replication lag up to this stays invisible to clients of this process.
const READ_YOUR_WRITES_WINDOW: Duration = Duration::from_mins(1);
/// Customers that were written within the window; some bytes each.
const MAX_WRITTEN: usize = 100_000;
/// Time without reads after a failure.
const COOLDOWN: Duration = Duration::from_secs(5);

/// The pool of the replica. Clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct ReadReplica {
    readers: DatabaseConnection,
    pinned: PinnedReaders,
    /// The last write by the hash of the customer number: the entry may outlive an erased customer.
    /// A customer with the same hash is read from the primary as well.
    written: Arc<Cache<u64, Instant>>,
    hashes: Arc<RandomState>,
    retry_at: Arc<Mutex<Option<Instant>>>,
}

impl ReadReplica {
    pub(crate) fn new(mut readers: DatabaseConnection, observer: StatementObserver) -> Self {
        observer.observe_all(&mut readers);
        Self {
            pinned: PinnedReaders::new(&readers, observer),
            readers,
            written: Arc::new(Cache::new(MAX_WRITTEN)),
            hashes: Arc::default(),
            retry_at: Arc::default(),
        }
    }

    /// Records a write of the customer, before its transaction commits.
    pub(crate) fn record_write(&self, number: &CustomerNumber) {
        self.written
            .insert(self.hashes.hash_one(number), Instant::now());
    }

    /// Returns the connections if the replica is available and none of these customers was written
    /// recently.
    pub(crate) fn readers_for(&self, numbers: &[CustomerNumber]) -> Option<&PinnedReaders> {
        let is_old = |number: &CustomerNumber| {
            let written = self.written.get(&self.hashes.hash_one(number));
            written.is_none_or(|time| time.elapsed() > READ_YOUR_WRITES_WINDOW)
        };
        (self.is_available() && numbers.iter().all(is_old)).then_some(&self.pinned)
    }

    /// Skips the replica for the cooldown.
    pub(crate) fn trip_breaker(&self) {
        tracing::warn!("read replica unavailable, reads fall back to the primary");
        *self.lock() = Some(Instant::now() + COOLDOWN);
    }

    pub(crate) fn into_readers(self) -> DatabaseConnection {
        self.pinned.release();
        self.readers
    }

    /// Returns false during the cooldown.
    pub(crate) fn is_available(&self) -> bool {
        self.lock()
            .is_none_or(|retry_at| Instant::now() >= retry_at)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.retry_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
