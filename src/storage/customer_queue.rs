//! Whose turn it is to use what a customer's requests share with those of others.
//!
//! Transactions of one customer queue behind its row, each with a connection in its hands:
//! a flood of them would leave none to others. So most of them wait here, without one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// One at work, and one that begins as soon as it ends.
const AT_ONCE: usize = 2;
/// As long as one waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);

/// Turns of customers, or of others whose key is `K`. Clones share them.
#[derive(Clone)]
pub struct Turns<K: Eq + Hash> {
    places: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
    patience: Duration,
}

/// Numbers of customers are not for logs.
impl<K: Eq + Hash> std::fmt::Debug for Turns<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Turns(…)")
    }
}

impl<K: Eq + Hash> Default for Turns<K> {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

/// A turn, until it is dropped; also one that is still waited for.
#[derive(Debug)]
pub struct Turn<K: Eq + Hash> {
    key: K,
    turns: Turns<K>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash> Turns<K> {
    /// Creates turns that are waited for as long as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self {
            places: Arc::default(),
            patience,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it does not come in time.
    pub async fn take(&self, key: &K) -> Result<Turn<K>> {
        let places = Arc::clone(
            self.lock()
                .entry(key.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))),
        );
        let mut turn = Turn {
            key: key.clone(),
            turns: self.clone(),
            permit: None,
        };
        let permit = tokio::time::timeout(self.patience, places.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::Overloaded { retry_after: RETRY });
        };
        turn.permit = Some(permit);
        Ok(turn)
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        // Within the lock: nobody can begin to wait meanwhile.
        drop(self.permit.take());
        let places = turns.get(&self.key);
        // Those who wait or work hold it as well.
        if places.is_some_and(|places| Arc::strong_count(places) == 1) {
            turns.remove(&self.key);
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
    async fn two_at_once_the_others_in_the_order_of_their_arrival_and_other_customers_at_once() {
        let turns = Turns::default();
        let first = turns.take(&number("K-1")).await.unwrap();
        let second = turns.take(&number("K-1")).await.unwrap();
        let customer = number("K-1");
        let mut third = Box::pin(turns.take(&customer));
        let mut fourth = Box::pin(turns.take(&customer));
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        let other = turns.take(&number("K-2")).await.unwrap();
        drop(first);
        assert!((&mut fourth).now_or_never().is_none());
        let third = third.await.unwrap();
        // One that gave up leaves nothing behind.
        drop(fourth);
        drop((second, third, other));
        assert!(turns.lock().is_empty());
    }
}
