//! Room for mails whose servers are slow, next to the workers that send the others.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Room for a number of slow mails. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Crowd(Arc<Semaphore>);

impl Crowd {
    pub(super) fn new(room: usize) -> Self {
        Self(Arc::new(Semaphore::new(room)))
    }

    /// Waits for room.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }

    /// Returns true if no room is left.
    pub(super) fn is_full(&self) -> bool {
        self.0.available_permits() == 0
    }
}
