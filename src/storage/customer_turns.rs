//! Whose turn it is to write to a customer.
//!
//! Transactions of one customer queue behind its row, each with a connection in its hands:
//! a flood of them would leave none to others. So most of them wait here, without one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::customer::CustomerNumber,
    error::{Error, Result},
};

/// One at work, and one that begins as soon as it ends.
const AT_ONCE: usize = 2;
/// As long as one waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);

/// Clones share the turns.
#[derive(Clone, Default)]
pub(super) struct CustomerTurns(Arc<Mutex<HashMap<CustomerNumber, Arc<Semaphore>>>>);

/// Numbers of customers are not for logs.
impl std::fmt::Debug for CustomerTurns {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CustomerTurns(…)")
    }
}

/// A turn, until it is dropped; also one that is still waited for.
pub(super) struct Turn {
    number: CustomerNumber,
    turns: CustomerTurns,
    permit: Option<OwnedSemaphorePermit>,
}

impl CustomerTurns {
    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it does not come in time.
    pub(super) async fn take(&self, number: &CustomerNumber) -> Result<Turn> {
        let places = Arc::clone(
            self.lock()
                .entry(number.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))),
        );
        let mut turn = Turn {
            number: number.clone(),
            turns: self.clone(),
            permit: None,
        };
        let permit = tokio::time::timeout(PATIENCE, places.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::Overloaded { retry_after: RETRY });
        };
        turn.permit = Some(permit);
        Ok(turn)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CustomerNumber, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        // Within the lock: nobody can begin to wait meanwhile.
        drop(self.permit.take());
        let places = turns.get(&self.number);
        // Those who wait or work hold it as well.
        if places.is_some_and(|places| Arc::strong_count(places) == 1) {
            turns.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    #[tokio::test]
    async fn two_at_once_the_others_in_the_order_of_their_arrival_and_other_customers_at_once() {
        let turns = CustomerTurns::default();
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
