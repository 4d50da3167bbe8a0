//! Decides which connection makes room for a newcomer when a listener is full.
//!
//! Owns the places of one listener. A connection registers with [`ConnectionLimit::admit`] and
//! holds its [`ConnectionPermit`] until it is closed. While there are places, no connection is ever
//! asked to go. When there are none, the newcomer takes the place of another:
//!
//! 1. A connection with a request in progress ([`ConnectionPermit::busy`]) keeps its place.
//! 2. A host with fewer connections than the newcomer's host keeps its places.
//! 3. Of the others, unauthenticated connections go first, at once: those of the host with most
//!    connections, and of these the one that has been idle, or unfinished, longest.
//! 4. An authenticated connection goes only when none of those is left, and it has been idle for
//!    [`GRACE`], unless its host is another than the newcomer's and has more than half of the places.
//!    Until then newcomers wait.
//!
//! A host is an IPv4 address or an IPv6 network of 64 bits. All clients of a proxy are one host: for
//! them rules 1, 3 and 4 remain. Each connection that is closed or rejected counts as a hit of the limit.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
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
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::observability::metrics::{Limit, limit_hit};

/// How long an authenticated connection keeps its place without a request, whatever the pressure.
pub const GRACE: Duration = Duration::from_millis(500);
/// How long a newcomer waits for a place.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a waiting newcomer looks for a connection whose grace is over.
const WAIT_INTERVAL: Duration = Duration::from_millis(20);
/// Entries of closed connections that a queue may hold besides as many as it has open ones.
const QUEUE_SLACK: usize = 16;

/// The places of one listener. Clones share them.
#[derive(Clone, Debug)]
pub struct ConnectionLimit(Arc<Places>);

#[derive(Debug)]
struct Places {
    max: usize,
    limit: Limit,
    /// Idle times are counted from here.
    start: Instant,
    taken: Mutex<Taken>,
    freed: Notify,
    /// Newcomers that may wait at once.
    waiting: Semaphore,
    /// Newcomers wait in the order in which they came.
    queue: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    slots: HashMap<u64, Arc<Slot>>,
    hosts: HashMap<Host, HostState>,
    by_connections: BTreeSet<(usize, Host)>,
}

#[derive(Debug, Default)]
struct HostState {
    connections: usize,
    waiting: usize,
    /// Ids of connections that were unauthenticated when last looked at, each with the time since
    /// which it had been idle then; the longest idle first. Some may be closed or authenticated.
    unauthenticated: VecDeque<(u64, u64)>,
}

#[derive(Debug)]
struct Slot {
    host: Host,
    requests: AtomicUsize,
    idle_since: AtomicU64,
    is_authenticated: AtomicBool,
    evicted: CancellationToken,
}

/// A connection's place. Dropping it frees the place.
#[derive(Debug)]
pub struct ConnectionPermit {
    places: Arc<Places>,
    id: u64,
    slot: Arc<Slot>,
}

/// A request in progress. The connection is idle again when its last one is dropped.
#[derive(Debug)]
pub struct Busy {
    places: Arc<Places>,
    slot: Arc<Slot>,
}

/// What counts as one client host: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Host(IpAddr);

impl ConnectionLimit {
    /// Creates a limit of `max` connections, for which as many newcomers as `max_waiting` may wait.
    pub fn new(max: usize, max_waiting: usize, limit: Limit) -> Self {
        Self(Arc::new(Places {
            max,
            limit,
            start: Instant::now(),
            taken: Mutex::default(),
            freed: Notify::new(),
            waiting: Semaphore::new(max_waiting),
            queue: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns a place for a connection from `peer`. `None`: there is none, and too many wait for
    /// one already, or none was freed in 5 s; the connection is to be closed.
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
            limit_hit(self.0.limit);
        }
        permit
    }

    /// Returns a place for a connection from `peer`. `None`: none can be freed now, or others of
    /// its host wait for one.
    pub fn try_admit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let host = Host::of(peer);
        let mut taken = self.0.lock();
        if taken
            .hosts
            .get(&host)
            .is_some_and(|state| state.waiting > 0)
        {
            return None;
        }
        self.0.take(&mut taken, host)
    }
}

impl Places {
    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits behind all newcomers that came before. Those that need not wait overtake them.
    async fn wait(self: &Arc<Self>, host: Host) -> ConnectionPermit {
        let _turn = self.queue.lock().await;
        loop {
            if let Some(permit) = self.take(&mut self.lock(), host) {
                return permit;
            }
            tokio::select! {
                () = self.freed.notified() => {}
                () = sleep(WAIT_INTERVAL) => {}
            }
        }
    }

    fn count_waiting(self: &Arc<Self>, host: Host) -> Waiting {
        self.lock().update(host, |state| state.waiting += 1);
        Waiting(Arc::clone(self), host)
    }

    fn take(self: &Arc<Self>, taken: &mut Taken, host: Host) -> Option<ConnectionPermit> {
        if taken.slots.len() >= self.max {
            let id = taken.find_evictable(host, self.max, self.now())?;
            if let Some(slot) = taken.remove(id) {
                slot.evicted.cancel();
                limit_hit(self.limit);
            }
        }
        let slot = Arc::new(Slot {
            host,
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            is_authenticated: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let id = taken.insert(&slot);
        let places = Arc::clone(self);
        Some(ConnectionPermit { places, id, slot })
    }
}

impl Taken {
    fn connections(&self, host: Host) -> usize {
        self.hosts.get(&host).map_or(0, |state| state.connections)
    }

    fn insert(&mut self, slot: &Arc<Slot>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.slots.insert(id, Arc::clone(slot));
        let idle_since = slot.idle_since.load(Ordering::Acquire);
        self.update(slot.host, |state| {
            state.connections += 1;
            state.unauthenticated.push_back((id, idle_since));
        });
        id
    }

    /// Returns the connection whose place a newcomer of `host` takes.
    fn find_evictable(&mut self, host: Host, max: usize, now: u64) -> Option<u64> {
        self.find_unauthenticated(host)
            .or_else(|| self.find_authenticated(host, max, now))
    }

    /// Asks the hosts with most connections first, down to as many as the newcomer's host has.
    fn find_unauthenticated(&mut self, host: Host) -> Option<u64> {
        let own = self.connections(host);
        let mut next = self.by_connections.last().copied();
        while let Some((connections, candidate)) = next.filter(|(count, _)| *count >= own) {
            let found = self.longest_idle_unauthenticated(candidate);
            if found.is_some() {
                return found;
            }
            let mut fewer = self.by_connections.range(..(connections, candidate));
            next = fewer.next_back().copied();
        }
        None
    }

    /// Each entry is looked at once or twice: one with a request since it was queued goes to the end.
    fn longest_idle_unauthenticated(&mut self, host: Host) -> Option<u64> {
        let queue = &mut self.hosts.get_mut(&host)?.unauthenticated;
        for _ in 0..2 * queue.len() {
            let (id, queued_since) = queue.pop_front()?;
            let Some(slot) = self.slots.get(&id) else {
                continue;
            };
            let idle_since = slot.idle_since.load(Ordering::Acquire);
            if slot.is_authenticated.load(Ordering::Relaxed) {
                continue;
            }
            let is_busy = slot.requests.load(Ordering::Acquire) > 0;
            if !is_busy && idle_since == queued_since {
                return Some(id);
            }
            queue.push_back((id, idle_since));
        }
        None
    }

    fn find_authenticated(&self, host: Host, max: usize, now: u64) -> Option<u64> {
        let own = self.connections(host);
        let candidates = self.slots.iter().filter_map(|(id, slot)| {
            let connections = self.connections(slot.host);
            let is_protected = slot.requests.load(Ordering::Acquire) > 0 || connections < own;
            let is_authenticated = slot.is_authenticated.load(Ordering::Relaxed);
            let idle_since = slot.idle_since.load(Ordering::Acquire);
            let order = (Reverse(connections), idle_since, *id);
            (is_authenticated && !is_protected).then_some((order, slot.host))
        });
        let ((Reverse(connections), idle_since, id), its_host) =
            candidates.min_by_key(|(order, _)| *order)?;
        let has_most_places = its_host != host && connections > max / 2;
        let idle = Duration::from_millis(now.saturating_sub(idle_since));
        (has_most_places || idle >= GRACE).then_some(id)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Slot>> {
        let slot = self.slots.remove(&id)?;
        self.update(slot.host, |state| state.connections -= 1);
        Some(slot)
    }

    fn update(&mut self, host: Host, change: impl FnOnce(&mut HostState)) {
        let state = self.hosts.entry(host).or_default();
        self.by_connections.remove(&(state.connections, host));
        change(state);
        // Closed connections are not looked for in the queue; they are dropped now and then.
        if state.unauthenticated.len() > 2 * state.connections + QUEUE_SLACK {
            let slots = &self.slots;
            state
                .unauthenticated
                .retain(|(id, _)| slots.contains_key(id));
        }
        if state.connections > 0 {
            self.by_connections.insert((state.connections, host));
        } else if state.waiting == 0 {
            self.hosts.remove(&host);
        }
    }
}

impl ConnectionPermit {
    /// Resolves when this connection has to be closed, as a newcomer has taken its place. The
    /// future may outlive the permit.
    pub fn evicted(&self) -> WaitForCancellationFutureOwned {
        self.slot.evicted.clone().cancelled_owned()
    }

    /// Marks a request as in progress: the connection keeps its place until the mark is dropped.
    pub fn busy(&self) -> Busy {
        self.slot.requests.fetch_add(1, Ordering::AcqRel);
        Busy {
            places: Arc::clone(&self.places),
            slot: Arc::clone(&self.slot),
        }
    }

    /// Whether a request is in progress.
    pub fn is_busy(&self) -> bool {
        self.slot.requests.load(Ordering::Acquire) > 0
    }

    /// Returns true once a request of this connection was authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.slot.is_authenticated.load(Ordering::Relaxed)
    }

    /// Marks that a request of this connection was authenticated: it goes after all others.
    pub fn mark_authenticated(&self) {
        self.slot.is_authenticated.store(true, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        // An evicted connection's place is another's already.
        if self.places.lock().remove(self.id).is_some() {
            self.places.freed.notify_one();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // In this order, so that an idle connection never shows an earlier time.
        let idle_since = &self.slot.idle_since;
        idle_since.store(self.places.now(), Ordering::Release);
        self.slot.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A newcomer that waits for a place.
struct Waiting(Arc<Places>, Host);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Self(places, host) = self;
        places.lock().update(*host, |state| state.waiting -= 1);
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
