//! What the connection of a client costs in responses that it has not taken.
//!
//! HTTP/2 leaves the pace of a response to the client, and its implementation keeps what the client
//! does not take. So every piece of a response is counted until the memory that holds it is free: as
//! the owner of its bytes, wherever they wait (in hyper, in h2, or behind the socket).

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    connection_limit::{Busy, ConnectionPermit},
    observability::metrics::{self, Limit, limit_hit},
};

/// How long a piece may wait before its connection can be closed for others.
const GRACE: Duration = Duration::from_millis(500);
/// A piece of at most this size is never rejected: responses to changes are smaller, and a client
/// has to learn of a change that was made.
const SMALL_BYTES: usize = 16 * 1024;
/// Responses leave in pieces of this size, that of a frame of HTTP/2, so that the progress of a slow
/// client shows.
const PIECE_BYTES: usize = 16 * 1024;
/// Cost of a response besides its bytes: the state of its stream, its task and its headers.
const OVERHEAD_BYTES: usize = 16 * 1024;
/// A connection with as many unsent bytes starts no further large response.
const BACKLOG_BYTES: usize = 1024 * 1024;
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// While the server stops, a client that takes nothing holds it up for no longer.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(2);

/// The bytes of responses that may wait for clients in this process. Clones share them.
#[derive(Clone, Debug)]
pub struct ResponseBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    max_bytes: usize,
    max_bytes_per_connection: usize,
    bytes: AtomicUsize,
    next_connection: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<Connection>>>,
}

/// The connection that a request came over. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    number: u64,
    budget: Arc<Budget>,
    is_aborted: AtomicBool,
    reader: AtomicWaker,
    unsent: Mutex<Unsent>,
    /// Notified when the backlog is small again.
    drained: Notify,
    permit: Option<ConnectionPermit>,
}

/// What waits for the client.
#[derive(Debug, Default)]
struct Unsent {
    bytes: usize,
    next_response: u64,
    responses: HashMap<u64, UnsentResponse>,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
}

#[derive(Debug)]
struct UnsentResponse {
    bytes: usize,
    /// When it began to wait, or the client last took a piece of it.
    since: Instant,
}

/// The bytes of one stream that wait for the client.
#[derive(Debug, Default)]
pub(in crate::api) struct StreamUnsent {
    bytes: AtomicUsize,
    taken: Notify,
}

/// A piece of a response; dropped when the last of its bytes was written or given up.
struct Piece {
    data: Bytes,
    /// The bytes that it counts as: those of its data, and with the first one the overhead.
    counted: usize,
    response: u64,
    connection: Arc<Connection>,
    stream: Option<Arc<StreamUnsent>>,
}

impl ResponseBudget {
    /// Allows that many bytes in the process, and on one connection.
    pub fn new(max_bytes: usize, max_bytes_per_connection: usize) -> Self {
        Self(Arc::new(Budget {
            max_bytes,
            max_bytes_per_connection,
            bytes: AtomicUsize::new(0),
            next_connection: AtomicU64::new(0),
            connections: Mutex::default(),
        }))
    }

    /// Returns the peer of a new connection, which holds `permit` until it is closed.
    pub fn connect(&self, permit: Option<ConnectionPermit>) -> Peer {
        let budget = &self.0;
        let number = budget.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            number,
            budget: Arc::clone(budget),
            is_aborted: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            unsent: Mutex::default(),
            drained: Notify::new(),
            permit,
        });
        lock(&budget.connections).insert(number, Arc::downgrade(&connection));
        Peer(connection)
    }

    /// Closes the connections of clients that take nothing of a response for as long as `patience`,
    /// or for a shorter time once the server stops.
    pub async fn close_stalled(self, patience: Duration, mut stopped: watch::Receiver<()>) {
        let mut patience = patience;
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL.min(patience / 4));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.changed(), if patience > PATIENCE_AT_STOP => patience = PATIENCE_AT_STOP,
            }
            metrics::unsent_response_bytes(self.0.bytes.load(Ordering::Relaxed));
            for (_, connection) in self.0.stalled(patience) {
                tracing::info!("client takes nothing of a response: connection closed");
                limit_hit(Limit::StalledReader);
                Peer(connection).abort();
            }
        }
    }
}

impl Budget {
    /// The connections with a response of which nothing was taken for that long, with their bytes.
    fn stalled(&self, patience: Duration) -> Vec<(usize, Arc<Connection>)> {
        let now = Instant::now();
        let connections: Vec<_> = {
            let known = lock(&self.connections);
            known.values().filter_map(Weak::upgrade).collect()
        };
        let stalled = |connection: Arc<Connection>| {
            let unsent = lock(&connection.unsent);
            let mut since = unsent.responses.values().map(|response| response.since);
            let is_overdue = |since| now.duration_since(since) >= patience;
            let is_stalled = (since.any(is_overdue)
                || unsent.blocked_since.is_some_and(is_overdue))
                && !connection.is_aborted.load(Ordering::Relaxed);
            let bytes = unsent.bytes;
            drop(unsent);
            is_stalled.then_some((bytes, connection))
        };
        connections.into_iter().filter_map(stalled).collect()
    }

    /// Closes the connection that holds most of what clients do not take.
    fn make_room(&self) {
        let stalled = self.stalled(GRACE);
        let worst = stalled.into_iter().max_by_key(|(bytes, _)| *bytes);
        if let Some((bytes, connection)) = worst {
            tracing::info!(
                bytes,
                "unsent responses exceed their limit: connection closed"
            );
            Peer(connection).abort();
        }
    }
}

impl Peer {
    /// Ends the connection, with all its requests, when it is read next.
    pub fn abort(&self) {
        self.0.is_aborted.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    /// Returns whether the connection shall end; if not, its reader is woken when it shall.
    pub fn poll_aborted(&self, context: &mut Context<'_>) -> bool {
        self.0.reader.register(context.waker());
        self.0.is_aborted.load(Ordering::Acquire)
    }

    /// Notes whether the socket of the connection takes anything.
    pub fn set_write_blocked(&self, is_blocked: bool) {
        lock(&self.0.unsent).blocked_since = is_blocked.then(Instant::now);
    }

    /// Resolves when the connection has to make room for another; `None` if it never has to.
    pub fn evicted(&self) -> Option<WaitForCancellationFutureOwned> {
        self.0.permit.as_ref().map(ConnectionPermit::evicted)
    }

    /// Marks an authenticated request as in progress: until the mark is dropped, the connection keeps
    /// its place, and it goes after all that were never authenticated.
    pub(in crate::api) fn begin_request(&self) -> Option<Busy> {
        let permit = self.0.permit.as_ref()?;
        permit.mark_authenticated();
        Some(permit.busy())
    }

    /// A number of the connection, unique in this process.
    pub(in crate::api) fn number(&self) -> u64 {
        self.0.number
    }

    /// Closes the connection that holds most where the process would hold too much with these bytes,
    /// and returns how many it would hold.
    pub(in crate::api) fn make_room_for(&self, bytes: usize) -> usize {
        let budget = &self.0.budget;
        let in_process = budget.bytes.load(Ordering::Relaxed) + bytes;
        if in_process > budget.max_bytes {
            limit_hit(Limit::UnsentResponses);
            budget.make_room();
        }
        in_process
    }

    /// Returns whether a unary response may wait for this client, once room was made for it.
    pub(in crate::api) fn has_room_for(&self, bytes: usize) -> bool {
        let budget = &self.0.budget;
        let in_process = self.make_room_for(bytes);
        if bytes <= SMALL_BYTES {
            return true;
        }
        let on_connection = lock(&self.0.unsent).bytes + bytes;
        if on_connection > budget.max_bytes_per_connection {
            limit_hit(Limit::ConnectionUnsentResponses);
            return false;
        }
        in_process <= budget.max_bytes
    }

    /// Returns true if the client has taken most of its earlier responses.
    pub(super) fn is_drained(&self) -> bool {
        lock(&self.0.unsent).bytes < BACKLOG_BYTES
    }

    /// Waits until the client has taken most of its earlier responses.
    pub(super) async fn drained(&self) {
        loop {
            // Registered before the look, so that no notification is missed.
            let notified = self.0.drained.notified();
            if self.is_drained() {
                return;
            }
            notified.await;
        }
    }

    /// Returns true once a request of this connection was authenticated.
    pub fn is_authenticated(&self) -> bool {
        let permit = self.0.permit.as_ref();
        permit.is_none_or(ConnectionPermit::is_authenticated)
    }

    /// Returns the bytes in pieces, which count as unsent until nothing holds them any more.
    pub(in crate::api) fn track(
        &self,
        mut data: Bytes,
        stream: Option<&Arc<StreamUnsent>>,
    ) -> VecDeque<Bytes> {
        let bytes = data.len() + OVERHEAD_BYTES;
        let mut unsent = lock(&self.0.unsent);
        let response = unsent.next_response;
        unsent.next_response += 1;
        unsent.bytes += bytes;
        let since = Instant::now();
        let waiting = UnsentResponse { bytes, since };
        unsent.responses.insert(response, waiting);
        drop(unsent);
        self.0.budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(stream) = stream {
            stream.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let mut tracked = VecDeque::with_capacity(data.len().div_ceil(PIECE_BYTES));
        let mut overhead = OVERHEAD_BYTES;
        loop {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            tracked.push_back(Bytes::from_owner(Piece {
                counted: piece.len() + std::mem::take(&mut overhead),
                data: piece,
                response,
                connection: Arc::clone(&self.0),
                stream: stream.cloned(),
            }));
            if data.is_empty() {
                return tracked;
            }
        }
    }
}

impl StreamUnsent {
    pub(in crate::api) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// Waits until fewer bytes than these are unsent.
    pub(in crate::api) async fn below(&self, bytes: usize) {
        while self.bytes.load(Ordering::Acquire) >= bytes {
            self.taken.notified().await;
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = self.counted;
        let mut unsent = lock(&self.connection.unsent);
        let had_backlog = unsent.bytes >= BACKLOG_BYTES;
        unsent.bytes -= bytes;
        let is_drained = had_backlog && unsent.bytes < BACKLOG_BYTES;
        if let Some(response) = unsent.responses.get_mut(&self.response) {
            response.bytes -= bytes;
            response.since = Instant::now();
            if response.bytes == 0 {
                unsent.responses.remove(&self.response);
            }
        }
        drop(unsent);
        if is_drained {
            self.connection.drained.notify_waiters();
        }
        self.connection
            .budget
            .bytes
            .fetch_sub(bytes, Ordering::Relaxed);
        if let Some(stream) = &self.stream {
            stream.bytes.fetch_sub(bytes, Ordering::Release);
            // Stored if nobody waits at the moment.
            stream.taken.notify_one();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.budget.connections).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
