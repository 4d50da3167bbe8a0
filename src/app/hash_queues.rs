//! Fair use of the phone password hasher, so that one agent or one customer cannot make requests
//! of others fail with OVERLOADED.
//!
//! Two checks of an agent, and two hashes of a customer, compete for a permit of the hasher.
//! Further ones wait in their own queue, where they delay no others, and are rejected at the
//! timeout: guesses at one contact run into its lock (rule 16) before that. Passwords are set by
//! portals, whose single subject serves all customers, so these are limited by customer only.

use std::{hash::Hash, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    crypto::password_hasher::{HashPermit, PhoneHasher},
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, Result},
    observability::metrics::{self, Limit},
    storage::{CustomerQueue, QueuePermit},
};

/// How long a check waits for a permit. In a burst of guesses at one contact, the first ones are
/// hashed within this time even on a busy machine, and the rest find the lock.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request that sets a password waits for a permit.
const SET_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a check waits for its precheck of the limits.
const PRECHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of concurrent prechecks. Checks of a locked password cost their agent
/// nothing, so they must not be able to occupy all database connections.
const PRECHECK_CONCURRENCY: usize = 4;
const OVERLOADED: Error = Error::Overloaded {
    retry_after: Duration::from_secs(1),
};

/// Queues for the hasher. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct HashQueues {
    prechecks: Arc<Semaphore>,
    agents: CustomerQueue<String>,
    checks: CustomerQueue<CustomerNumber>,
    setters: CustomerQueue<CustomerNumber>,
}

/// A permit of the hasher together with the customer's place in the queue.
pub(super) struct QueuedPermit {
    pub(super) permit: HashPermit,
    /// Held until the check or update ends.
    pub(super) queue_permit: QueuePermit<CustomerNumber>,
}

impl Default for HashQueues {
    fn default() -> Self {
        Self {
            prechecks: Arc::new(Semaphore::new(PRECHECK_CONCURRENCY)),
            agents: CustomerQueue::new(CHECK_TIMEOUT),
            checks: CustomerQueue::new(CHECK_TIMEOUT),
            setters: CustomerQueue::new(SET_TIMEOUT),
        }
    }
}

impl HashQueues {
    /// Waits for a permit to precheck the limits.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at the timeout.
    pub(super) async fn acquire_precheck(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.prechecks).acquire_owned();
        let permit = tokio::time::timeout(PRECHECK_TIMEOUT, permit).await;
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(OVERLOADED),
        }
    }

    /// Waits until fewer than two checks of the agent run.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at the timeout.
    pub(super) async fn acquire_agent(&self, agent: &Actor) -> Result<QueuePermit<String>> {
        acquire(&self.agents, &agent.0, Limit::HashesPerAgent).await
    }

    /// Waits for a permit to check a password, queued by customer.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at the timeout.
    pub(super) async fn acquire_check(
        &self,
        hasher: &PhoneHasher,
        customer_number: &CustomerNumber,
    ) -> Result<QueuedPermit> {
        let permit = hasher.acquire_timeout(CHECK_TIMEOUT);
        acquire_queued(&self.checks, customer_number, permit, CHECK_TIMEOUT).await
    }

    /// Waits for the permit to set a password, queued by customer.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at the timeout.
    pub(super) async fn acquire_set(
        &self,
        hasher: &PhoneHasher,
        customer_number: &CustomerNumber,
    ) -> Result<QueuedPermit> {
        let permit = hasher.acquire_setter_timeout(SET_TIMEOUT);
        acquire_queued(&self.setters, customer_number, permit, SET_TIMEOUT).await
    }
}

/// Waits in the customer's queue first and for the hasher's permit then, at most `timeout` for both.
async fn acquire_queued(
    queue: &CustomerQueue<CustomerNumber>,
    customer_number: &CustomerNumber,
    permit: impl Future<Output = Option<HashPermit>>,
    timeout: Duration,
) -> Result<QueuedPermit> {
    let queued = async {
        let queue_permit = acquire(queue, customer_number, Limit::HashesPerCustomer).await?;
        let permit = permit.await.ok_or(OVERLOADED)?;
        Ok(QueuedPermit {
            permit,
            queue_permit,
        })
    };
    let queued = tokio::time::timeout(timeout, queued).await;
    queued.unwrap_or(Err(OVERLOADED))
}

async fn acquire<K: Clone + Eq + Hash>(
    queue: &CustomerQueue<K>,
    key: &K,
    limit: Limit,
) -> Result<QueuePermit<K>> {
    let permit = queue.acquire(key).await;
    if permit.is_err() {
        metrics::limit_hit(limit);
    }
    permit
}
