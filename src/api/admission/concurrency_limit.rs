//! Bounds how many requests or streams are open at once, in total and per client: a flood of one
//! client leaves room for others.
//!
//! A holder that waits for its client (for a message, or until a response is taken) marks its
//! permit. Where no permit is left, the one that has waited longest is evicted for the newcomer, so
//! that clients that open much and do little shut nobody out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::observability::metrics::{Limit, limit_hit};

/// How long a holder may wait for its client before it can be evicted.
const GRACE: Duration = Duration::from_millis(500);

/// Clones share the permits.
#[derive(Clone, Debug)]
pub(in crate::api) struct ConcurrencyLimit {
    max: Bound,
    max_per_client: Bound,
    state: Arc<Mutex<State>>,
}

/// A number of permits, and the metric of how often it was reached.
pub(in crate::api) type Bound = (usize, Limit);

/// A permit of a client, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit {
    limit: ConcurrencyLimit,
    client: Arc<str>,
    waiting: Option<(u64, Arc<Notify>)>,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    by_client: HashMap<Arc<str>, usize>,
    /// In the order in which they began to wait.
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
    pub(in crate::api) fn new(max: Bound, max_per_client: Bound) -> Self {
        Self {
            max,
            max_per_client,
            state: Arc::default(),
        }
    }

    /// Returns a permit for the client, or `None` if it or all clients together have as many as they
    /// may and none of these can be evicted.
    pub(in crate::api) fn acquire(&self, client: &str) -> Option<Permit> {
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
        Some(Permit {
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
    fn evict(&mut self, may_be_evicted: impl Fn(&Waiting) -> bool) -> Option<()> {
        let now = Instant::now();
        let mut overdue = self
            .waiting
            .iter()
            .take_while(|(_, waiting)| now.duration_since(waiting.since) >= GRACE);
        let (number, _) = overdue.find(|(_, waiting)| may_be_evicted(waiting))?;
        let number = *number;
        let evicted = self.waiting.remove(&number)?;
        self.release(&evicted.client);
        evicted.evicted.notify_one();
        Some(())
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
    /// Marks that the holder waits for its client.
    pub(in crate::api) fn wait_for_client(&mut self) {
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

    /// Marks that the holder no longer waits. An eviction that took place stays one.
    pub(in crate::api) fn resume(&mut self) {
        let is_listed = |number| self.limit.lock().waiting.remove(number).is_some();
        if self
            .waiting
            .as_ref()
            .is_some_and(|(number, _)| is_listed(number))
        {
            self.waiting = None;
        }
    }

    /// Resolves when the permit was given to a newcomer.
    pub(in crate::api) async fn evicted(&self) {
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn limit(max: usize, max_per_client: usize) -> ConcurrencyLimit {
        let max_per_client = (max_per_client, Limit::ClientCalls);
        ConcurrencyLimit::new((max, Limit::Calls), max_per_client)
    }

    #[test]
    fn a_client_has_its_share_and_others_have_theirs() {
        let limit = limit(10, 2);
        let first = limit.acquire("bff").unwrap();
        let second = limit.acquire("bff").unwrap();
        assert!(limit.acquire("bff").is_none());
        assert!(limit.acquire("invoicing").is_some());
        drop(first);
        let third = limit.acquire("bff").unwrap();
        assert!(limit.acquire("bff").is_none());
        drop((second, third));
        assert!(limit.lock().by_client.is_empty());
        assert_eq!(limit.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_holder_makes_room() {
        let limit = limit(3, 3);
        let mut first = limit.acquire("a").unwrap();
        let mut second = limit.acquire("b").unwrap();
        let busy = limit.acquire("c").unwrap();
        second.wait_for_client();
        first.wait_for_client();
        assert!(limit.acquire("d").is_none(), "within the grace");
        tokio::time::advance(GRACE).await;
        let newcomer = limit.acquire("d").unwrap();
        assert!(second.evicted().now_or_never().is_some());
        assert!(first.evicted().now_or_never().is_none());
        drop(second);
        first.resume();
        assert!(limit.acquire("d").is_none(), "all others are busy");
        drop((first, busy, newcomer));
        assert_eq!(limit.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_at_its_share_evicts_its_own() {
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
    async fn an_evicted_holder_that_resumes_stays_evicted() {
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
