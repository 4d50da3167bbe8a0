//! The queue of each customer's requests for a shared resource.
//!
//! Transactions of one customer wait for the lock on its row, each with a connection: a flood of
//! them would leave none to other customers. So most of them wait here, without a connection.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// One transaction that runs, and one that can start when it ends.
const PERMITS_PER_KEY: usize = 2;
/// The same as the timeout of a connection pool.
const TIMEOUT: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Permits of customers, or of agents, by their key `K`. Clones share them.
#[derive(Clone)]
pub struct CustomerQueue<K: Eq + Hash> {
    semaphores: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
    timeout: Duration,
}

/// The keys are personal data.
impl<K: Eq + Hash> std::fmt::Debug for CustomerQueue<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CustomerQueue(…)")
    }
}

impl<K: Eq + Hash> Default for CustomerQueue<K> {
    fn default() -> Self {
        Self::new(TIMEOUT)
    }
}

/// A permit, or a request for one. Dropping it releases the permit.
#[derive(Debug)]
pub struct QueuePermit<K: Eq + Hash> {
    key: K,
    queue: CustomerQueue<K>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash> CustomerQueue<K> {
    /// Creates a queue in which requests wait for at most `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self {
            semaphores: Arc::default(),
            timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.semaphores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> CustomerQueue<K> {
    /// Waits for a permit.
    ///
    /// # Errors
    /// [`Error::Overloaded`] after the timeout.
    pub async fn acquire(&self, key: &K) -> Result<QueuePermit<K>> {
        let semaphore = Arc::clone(
            self.lock()
                .entry(key.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(PERMITS_PER_KEY))),
        );
        let mut waiting = QueuePermit {
            key: key.clone(),
            queue: self.clone(),
            permit: None,
        };
        let permit = tokio::time::timeout(self.timeout, semaphore.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::Overloaded {
                retry_after: RETRY_AFTER,
            });
        };
        waiting.permit = Some(permit);
        Ok(waiting)
    }
}

impl<K: Eq + Hash> Drop for QueuePermit<K> {
    fn drop(&mut self) {
        let mut semaphores = self.queue.lock();
        // Inside the lock, so that no request can begin to wait.
        drop(self.permit.take());
        let semaphore = semaphores.get(&self.key);
        // Waiting requests and permits hold it as well.
        if semaphore.is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            semaphores.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::domain::ids::CustomerNumber;

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    #[tokio::test]
    async fn two_permits_per_customer_are_granted_in_order() {
        let queue = CustomerQueue::default();
        let first = queue.acquire(&number("K-1")).await.unwrap();
        let second = queue.acquire(&number("K-1")).await.unwrap();
        let customer = number("K-1");
        let mut third = Box::pin(queue.acquire(&customer));
        let mut fourth = Box::pin(queue.acquire(&customer));
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        let other = queue.acquire(&number("K-2")).await.unwrap();
        drop(first);
        assert!((&mut fourth).now_or_never().is_none());
        let third = third.await.unwrap();
        // A cancelled request leaves no entry.
        drop(fourth);
        drop((second, third, other));
        assert!(queue.lock().is_empty());
    }
}
