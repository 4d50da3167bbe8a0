//! A replica of the database, for reads that may be a moment old.
//!
//! What was written through this process lately is read from the primary, so that whoever
//! wrote sees it. A replica that does not answer is left alone for a while.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use sea_orm::DatabaseConnection;

use crate::domain::ids::CustomerNumber;
use crate::storage::pools::reader_pool::HeldReaders;

/// A replica that lags by more than this tells its callers of the past.
const WRITTEN_LATELY: Duration = Duration::from_mins(1);
/// Customers written within that time; some bytes each.
const MOST_WRITTEN: usize = 100_000;
/// How long a replica that failed is not asked.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// Clones share what they know.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Replica {
    readers: DatabaseConnection,
    held: HeldReaders,
    /// By the hash of its number: this may outlive a customer that was erased. Whoever shares a
    /// hash is read from the primary as well.
    written: Arc<Cache<u64, Instant>>,
    hashes: Arc<RandomState>,
    asked_again: Arc<Mutex<Option<Instant>>>,
}

impl Replica {
    pub(in crate::storage) fn new(readers: DatabaseConnection) -> Self {
        Self {
            held: HeldReaders::of(&readers),
            readers,
            written: Arc::new(Cache::new(MOST_WRITTEN)),
            hashes: Arc::default(),
            asked_again: Arc::default(),
        }
    }

    /// Notes, before its transaction is committed, that a customer is written.
    pub(in crate::storage) fn note_write(&self, number: &CustomerNumber) {
        self.written
            .insert(self.hashes.hash_one(number), Instant::now());
    }

    /// The connections to it, when it may answer for all of these customers.
    pub(in crate::storage) fn readers_for(
        &self,
        numbers: &[CustomerNumber],
    ) -> Option<&HeldReaders> {
        let is_old = |number: &CustomerNumber| {
            let written = self.written.get(&self.hashes.hash_one(number));
            written.is_none_or(|time| time.elapsed() > WRITTEN_LATELY)
        };
        (self.is_asked() && numbers.iter().all(is_old)).then_some(&self.held)
    }

    /// Leaves it alone for a while.
    pub(in crate::storage) fn leave_alone(&self) {
        tracing::warn!("the database replica does not answer: the primary does meanwhile");
        *self.lock() = Some(Instant::now() + LEFT_ALONE);
    }

    pub(in crate::storage) fn into_readers(self) -> DatabaseConnection {
        self.held.release();
        self.readers
    }

    fn is_asked(&self) -> bool {
        self.lock().is_none_or(|again| Instant::now() >= again)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.asked_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
