//! Permits for slow attempts, in addition to those of the workers.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The permits for slow attempts. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct OverflowPermits(Arc<Semaphore>);

impl OverflowPermits {
    pub(super) fn new(permits: usize) -> Self {
        Self(Arc::new(Semaphore::new(permits)))
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }

    /// Returns true if no permit is left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.available_permits() == 0
    }
}
