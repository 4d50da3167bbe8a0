//! The limit of connections to a listener, and the eviction of connections for newcomers.
//!
//! A connection is admitted by [`ConnectionLimit::admit`] and keeps its [`ConnectionPermit`] until it is
//! closed. While permits are left, no connection is evicted. When none is left, a newcomer evicts another
//! connection:
//!
//! 1. A connection with a request in progress ([`ConnectionPermit::busy`]) is never evicted.
//! 2. Neither is one of a host with fewer connections than the newcomer's host.
//! 3. Of the others, unauthenticated connections are evicted first, at once: those of the host with most
//!    connections, and of these the one that has been idle, or unfinished, longest.
//! 4. An authenticated connection is evicted only if none of those is left, and it has been idle for
//!    [`GRACE`], or its host is not the newcomer's and has more than half of the permits. Until then
//!    newcomers wait.
//!
//! A host is an IPv4 address or an IPv6 network of 64 bits. All clients of a proxy are one host: rules 1,
//! 3 and 4 apply to them. Each eviction and each rejection counts as a hit of the limit.

mod close_signal;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep, timeout},
};

pub use self::close_signal::CloseSignal;
use crate::observability::metrics::{Limit, limit_hit};

/// The time that an authenticated connection without a request is protected from eviction.
pub const GRACE: Duration = Duration::from_millis(500);
/// How long a newcomer waits for a permit.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which a waiting newcomer looks for a connection whose grace period is over.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// Entries of closed connections that a queue may contain, in addition to as many as it has open ones.
const QUEUE_SLACK: usize = 16;

/// The connection limit of one listener. Clones share it.
#[derive(Clone, Debug)]
pub struct ConnectionLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    metric: Limit,
    /// The origin of idle times.
    start: Instant,
    connections: Mutex<Connections>,
    released: Notify,
    /// Permits to wait.
    waiting: Semaphore,
    /// Lets newcomers wait in the order of their arrival.
    queue: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Connections {
    next_id: u64,
    by_id: HashMap<u64, Arc<ConnectionEntry>>,
    hosts: HashMap<Host, HostState>,
    by_count: BTreeSet<(usize, Host)>,
}

#[derive(Debug, Default)]
struct HostState {
    connections: usize,
    waiting: usize,
    /// Connections that were unauthenticated at their last check: the earliest begin of their idle time as
    /// of that check, and their ids. Some may be closed or authenticated by now.
    unauthenticated: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct ConnectionEntry {
    host: Host,
    requests: AtomicUsize,
    idle_since: AtomicU64,
    is_authenticated: AtomicBool,
    close_signal: Arc<CloseSignal>,
}

/// The permit of a connection, which is released when it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    limit: Arc<Shared>,
    id: u64,
    connection: Arc<ConnectionEntry>,
}

/// Marks a request in progress. The connection is idle once its last mark is dropped.
#[derive(Debug)]
pub struct Busy {
    limit: Arc<Shared>,
    connection: Arc<ConnectionEntry>,
}

/// A client host: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Host(IpAddr);

impl ConnectionLimit {
    /// Creates a limit of `max` connections and `max_waiting` newcomers that wait. Hits are counted under
    /// `metric`.
    pub fn new(max: usize, max_waiting: usize, metric: Limit) -> Self {
        Self(Arc::new(Shared {
            max,
            metric,
            start: Instant::now(),
            connections: Mutex::default(),
            released: Notify::new(),
            waiting: Semaphore::new(max_waiting),
            queue: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns a permit for a connection from `peer`; `None` if too many newcomers wait, or no permit was
    /// available within 5 s. The connection is to be closed then.
    pub async fn admit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let host = Host::of(peer);
        if let Some(permit) = self.try_admit(peer) {
            return Some(permit);
        }
        let permit = match self.0.waiting.try_acquire() {
            Ok(_waiting) => {
                let _counted = self.0.count_waiting(host);
                timeout(WAIT_TIMEOUT, self.0.wait(host)).await.ok()
            }
            Err(_) => None,
        };
        if permit.is_none() {
            limit_hit(self.0.metric);
        }
        permit
    }

    /// Returns true if no permits are left: a newcomer evicts another connection, or waits.
    pub fn is_full(&self) -> bool {
        self.0.lock().by_id.len() >= self.0.max
    }

    /// Returns a permit for a connection from `peer` without waiting; `None` if no connection can be evicted
    /// now, or other newcomers of its host wait.
    pub fn try_admit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let host = Host::of(peer);
        let mut connections = self.0.lock();
        if connections
            .hosts
            .get(&host)
            .is_some_and(|state| state.waiting > 0)
        {
            return None;
        }
        self.0.acquire(&mut connections, host)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for a permit, after all newcomers that wait already. Newcomers that need not wait overtake
    /// them.
    async fn wait(self: &Arc<Self>, host: Host) -> ConnectionPermit {
        let _first_in_queue = self.queue.lock().await;
        loop {
            if let Some(permit) = self.acquire(&mut self.lock(), host) {
                return permit;
            }
            tokio::select! {
                () = self.released.notified() => {}
                () = sleep(RETRY_INTERVAL) => {}
            }
        }
    }

    fn count_waiting(self: &Arc<Self>, host: Host) -> Waiting {
        self.lock().update(host, |state| state.waiting += 1);
        Waiting(Arc::clone(self), host)
    }

    fn acquire(
        self: &Arc<Self>,
        connections: &mut Connections,
        host: Host,
    ) -> Option<ConnectionPermit> {
        if connections.by_id.len() >= self.max {
            let id = connections.find_evictable(host, self.max, self.now())?;
            if let Some(evicted) = connections.remove(id) {
                evicted.close_signal.send();
                limit_hit(self.metric);
            }
        }
        let connection = Arc::new(ConnectionEntry {
            host,
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            is_authenticated: AtomicBool::new(false),
            close_signal: Arc::default(),
        });
        let id = connections.insert(&connection);
        let limit = Arc::clone(self);
        Some(ConnectionPermit {
            limit,
            id,
            connection,
        })
    }
}

impl Connections {
    fn count_of(&self, host: Host) -> usize {
        self.hosts.get(&host).map_or(0, |state| state.connections)
    }

    fn insert(&mut self, connection: &Arc<ConnectionEntry>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.by_id.insert(id, Arc::clone(connection));
        let idle_since = connection.idle_since.load(Ordering::Acquire);
        self.update(connection.host, |state| {
            state.connections += 1;
            state.unauthenticated.insert((idle_since, id));
        });
        id
    }

    /// Returns the connection that a newcomer of `host` evicts.
    fn find_evictable(&mut self, host: Host, max: usize, now: u64) -> Option<u64> {
        self.find_unauthenticated(host, now)
            .or_else(|| self.find_authenticated(host, max, now))
    }

    /// Searches the hosts in the order of their connections, most first, down to the number of the
    /// newcomer's host.
    fn find_unauthenticated(&mut self, host: Host, now: u64) -> Option<u64> {
        let own_count = self.count_of(host);
        let mut next = self.by_count.last().copied();
        while let Some((count, candidate)) = next.filter(|(count, _)| *count >= own_count) {
            let found = self.longest_idle_unauthenticated(candidate, now);
            if found.is_some() {
                return found;
            }
            let mut fewer = self.by_count.range(..(count, candidate));
            next = fewer.next_back().copied();
        }
        None
    }

    /// An entry of a connection with a request since its last check is put back with its present begin, which
    /// is no earlier.
    fn longest_idle_unauthenticated(&mut self, host: Host, now: u64) -> Option<u64> {
        let queue = &mut self.hosts.get_mut(&host)?.unauthenticated;
        let (mut found, mut busy) = (None, Vec::new());
        while let Some((queued_since, id)) = queue.pop_first() {
            let Some(connection) = self.by_id.get(&id) else {
                continue;
            };
            if connection.is_authenticated.load(Ordering::Relaxed) {
                continue;
            }
            if connection.requests.load(Ordering::Acquire) > 0 {
                busy.push((now, id));
                continue;
            }
            let idle_since = connection.idle_since.load(Ordering::Acquire);
            if idle_since == queued_since {
                found = Some(id);
                break;
            }
            queue.insert((idle_since, id));
        }
        queue.extend(busy);
        found
    }

    fn find_authenticated(&self, host: Host, max: usize, now: u64) -> Option<u64> {
        let own_count = self.count_of(host);
        let candidates = self.by_id.iter().filter_map(|(id, connection)| {
            let count = self.count_of(connection.host);
            let is_busy = connection.requests.load(Ordering::Acquire) > 0;
            let is_protected = is_busy || count < own_count;
            let is_authenticated = connection.is_authenticated.load(Ordering::Relaxed);
            let idle_since = connection.idle_since.load(Ordering::Acquire);
            let order = (Reverse(count), idle_since, *id);
            (is_authenticated && !is_protected).then_some((order, connection.host))
        });
        let ((Reverse(count), idle_since, id), candidate_host) =
            candidates.min_by_key(|(order, _)| *order)?;
        let has_most_permits = candidate_host != host && count > max / 2;
        let idle = Duration::from_millis(now.saturating_sub(idle_since));
        (has_most_permits || idle >= GRACE).then_some(id)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<ConnectionEntry>> {
        let connection = self.by_id.remove(&id)?;
        self.update(connection.host, |state| state.connections -= 1);
        Some(connection)
    }

    fn update(&mut self, host: Host, change: impl FnOnce(&mut HostState)) {
        let state = self.hosts.entry(host).or_default();
        self.by_count.remove(&(state.connections, host));
        change(state);
        // A closed connection stays in the queue until the next cleanup, which spares a search.
        if state.unauthenticated.len() > 2 * state.connections + QUEUE_SLACK {
            let by_id = &self.by_id;
            state
                .unauthenticated
                .retain(|(_, id)| by_id.contains_key(id));
        }
        if state.connections > 0 {
            self.by_count.insert((state.connections, host));
        } else if state.waiting == 0 {
            self.hosts.remove(&host);
        }
    }
}

impl ConnectionPermit {
    /// Returns the signal that is sent when the connection is evicted.
    pub fn close_signal(&self) -> &Arc<CloseSignal> {
        &self.connection.close_signal
    }

    /// Marks a request as in progress: the connection is not evicted until the mark is dropped.
    pub fn busy(&self) -> Busy {
        self.connection.requests.fetch_add(1, Ordering::AcqRel);
        Busy {
            limit: Arc::clone(&self.limit),
            connection: Arc::clone(&self.connection),
        }
    }

    /// Returns true while a request is in progress.
    pub fn is_busy(&self) -> bool {
        self.connection.requests.load(Ordering::Acquire) > 0
    }

    /// Returns the time since the last request ended, or since the connection began; zero while a request is
    /// in progress.
    pub fn idle_time(&self) -> Duration {
        if self.is_busy() {
            return Duration::ZERO;
        }
        let idle_since = self.connection.idle_since.load(Ordering::Acquire);
        Duration::from_millis(self.limit.now().saturating_sub(idle_since))
    }

    /// Returns true once a request of this connection was authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.connection.is_authenticated.load(Ordering::Relaxed)
    }

    /// Marks the connection as authenticated: it is evicted after all others.
    pub fn mark_authenticated(&self) {
        let is_authenticated = &self.connection.is_authenticated;
        is_authenticated.store(true, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        // The permit of an evicted connection belongs to the newcomer already.
        if self.limit.lock().remove(self.id).is_some() {
            self.limit.released.notify_one();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // In this order, so that an idle connection never has an earlier time.
        let idle_since = &self.connection.idle_since;
        idle_since.store(self.limit.now(), Ordering::Release);
        self.connection.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts a newcomer as waiting until it is dropped.
struct Waiting(Arc<Shared>, Host);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Self(limit, host) = self;
        limit.lock().update(*host, |state| state.waiting -= 1);
    }
}

impl Host {
    fn of(peer: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match peer.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                std::net::Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
            }
        })
    }
}

#[cfg(test)]
mod tests;
