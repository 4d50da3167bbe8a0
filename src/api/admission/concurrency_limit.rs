//! Limits the number of concurrent requests or streams, in total and per client, so that a flood from one
//! client leaves permits for others.
//!
//! A holder that waits for its client (for a message, or until a response is read) marks its permit. If
//! no permit is left, the holder that has waited longest is evicted for the newcomer, so that idle
//! holders cannot exhaust the limit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    error::{Error, Result},
    observability::metrics::{Limit, limit_hit},
};

/// The delay after which rejected clients may retry.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time that a holder may wait for its client before it can be evicted.
const GRACE: Duration = Duration::from_millis(500);

/// A limit of concurrent requests or streams. Clones share its permits.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimit {
    max: Bound,
    max_per_client: Bound,
    state: Arc<Mutex<State>>,
}

/// A number of permits, and the label under which hits of this limit are counted.
pub(crate) type Bound = (usize, Limit);

/// A permit of a client, which is released when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limit: ConcurrencyLimit,
    client: Arc<str>,
    waiting: Option<(u64, Arc<Notify>)>,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    by_client: HashMap<Arc<str>, usize>,
    /// Ordered by the begin of the wait.
    waiting: BTreeMap<u64, Waiting>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiting {
    client: Arc<str>,
    since: Instant,
    evicted: Arc<Notify>,
}

impl ConcurrencyLimit {
    pub(crate) fn new(max: Bound, max_per_client: Bound) -> Self {
        Self {
            max,
            max_per_client,
            state: Arc::default(),
        }
    }

    /// Acquires a permit for the client.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the limit of the client, or of all clients, is reached and no holder can
    /// be evicted.
    pub(crate) fn acquire(&self, client: &str) -> Result<Permit> {
        let mut state = self.lock();
        let known = state.by_client.get_key_value(client);
        let (client, count) = known.map_or_else(
            || (Arc::from(client), 0),
            |(client, count)| (Arc::clone(client), *count),
        );
        let (max, limit) = self.max_per_client;
        if count >= max {
            limit_hit(limit);
            state.evict(|waiting| waiting.client == client)?;
        }
        let (max, limit) = self.max;
        if state.total >= max {
            limit_hit(limit);
            state.evict(|_| true)?;
        }
        state.total += 1;
        *state.by_client.entry(Arc::clone(&client)).or_default() += 1;
        drop(state);
        Ok(Permit {
            limit: self.clone(),
            client,
            waiting: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Evicts the holder that has waited longest, if there is one that `is_candidate`.
    fn evict(&mut self, is_candidate: impl Fn(&Waiting) -> bool) -> Result<()> {
        let now = Instant::now();
        let mut overdue = self
            .waiting
            .iter()
            .take_while(|(_, waiting)| now.duration_since(waiting.since) >= GRACE);
        let candidate = overdue.find(|(_, waiting)| is_candidate(waiting));
        let number = candidate.map(|(number, _)| *number);
        let evicted = number.and_then(|number| self.waiting.remove(&number));
        let evicted = evicted.ok_or_else(overloaded)?;
        self.release(&evicted.client);
        evicted.evicted.notify_one();
        Ok(())
    }

    fn release(&mut self, client: &Arc<str>) {
        self.total -= 1;
        if let Some(count) = self.by_client.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(client);
            }
        }
    }
}

impl Permit {
    /// Marks the holder as waiting for its client.
    pub(crate) fn wait_for_client(&mut self) {
        if self.waiting.is_some() {
            return;
        }
        let evicted = Arc::new(Notify::new());
        let mut state = self.limit.lock();
        let number = state.next_number;
        state.next_number += 1;
        let waiting = Waiting {
            client: Arc::clone(&self.client),
            since: Instant::now(),
            evicted: Arc::clone(&evicted),
        };
        state.waiting.insert(number, waiting);
        self.waiting = Some((number, evicted));
    }

    /// Marks the holder as no longer waiting. Has no effect if it was evicted.
    pub(crate) fn resume(&mut self) {
        let is_listed = |number| self.limit.lock().waiting.remove(number).is_some();
        if self
            .waiting
            .as_ref()
            .is_some_and(|(number, _)| is_listed(number))
        {
            self.waiting = None;
        }
    }

    /// Resolves when the holder was evicted.
    pub(crate) async fn evicted(&self) {
        match &self.waiting {
            Some((_, evicted)) => evicted.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limit.lock();
        let waiting = self.waiting.as_ref();
        let is_evicted = waiting.is_some_and(|(number, _)| state.waiting.remove(number).is_none());
        if !is_evicted {
            state.release(&self.client);
        }
    }
}

/// Returns the error for requests beyond a limit.
pub(super) const fn overloaded() -> Error {
    Error::Overloaded {
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn limit(max: usize, max_per_client: usize) -> ConcurrencyLimit {
        let max_per_client = (max_per_client, Limit::ClientRequests);
        ConcurrencyLimit::new((max, Limit::Requests), max_per_client)
    }

    #[test]
    fn limit_of_a_client_leaves_permits_for_others() {
        let limit = limit(10, 2);
        let first = limit.acquire("bff").unwrap();
        let second = limit.acquire("bff").unwrap();
        assert!(limit.acquire("bff").is_err());
        assert!(limit.acquire("invoicing").is_ok());
        drop(first);
        let third = limit.acquire("bff").unwrap();
        assert!(limit.acquire("bff").is_err());
        drop((second, third));
        assert!(limit.lock().by_client.is_empty());
        assert_eq!(limit.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn holder_that_has_waited_longest_is_evicted() {
        let limit = limit(3, 3);
        let mut first = limit.acquire("a").unwrap();
        let mut second = limit.acquire("b").unwrap();
        let busy = limit.acquire("c").unwrap();
        second.wait_for_client();
        first.wait_for_client();
        assert!(limit.acquire("d").is_err(), "within the grace period");
        tokio::time::advance(GRACE).await;
        let newcomer = limit.acquire("d").unwrap();
        assert!(second.evicted().now_or_never().is_some());
        assert!(first.evicted().now_or_never().is_none());
        drop(second);
        first.resume();
        assert!(limit.acquire("d").is_err(), "all others are busy");
        drop((first, busy, newcomer));
        assert_eq!(limit.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn client_at_its_limit_evicts_its_own_holder() {
        let limit = limit(10, 1);
        let mut own = limit.acquire("a").unwrap();
        let mut other = limit.acquire("b").unwrap();
        other.wait_for_client();
        own.wait_for_client();
        tokio::time::advance(GRACE).await;
        let _newcomer = limit.acquire("a").unwrap();
        assert!(own.evicted().now_or_never().is_some());
        assert!(other.evicted().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn evicted_holder_that_resumes_stays_evicted() {
        let limit = limit(1, 1);
        let mut holder = limit.acquire("a").unwrap();
        holder.wait_for_client();
        tokio::time::advance(GRACE).await;
        let newcomer = limit.acquire("b").unwrap();
        holder.resume();
        assert!(holder.evicted().now_or_never().is_some());
        drop(holder);
        assert_eq!(limit.lock().total, 1);
        drop(newcomer);
        assert_eq!(limit.lock().total, 0);
    }
}
