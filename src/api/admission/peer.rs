//! The bytes of responses that clients have not read, per connection and in total.
//!
//! A client controls the pace of a response, and the server buffers what the client does not read.
//! So every piece of a response is counted until its memory is freed: the piece owns its bytes, wherever
//! they are buffered (in hyper, in h2, or at the socket).

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    connection_limit::{Busy, CloseSignal, ConnectionPermit},
    observability::metrics::{self, Limit, limit_hit},
};

/// The time that a piece may wait before its connection can be closed for others.
const GRACE: Duration = Duration::from_millis(500);
/// Responses of up to this size are never rejected: those of changes are smaller, and a client has to
/// learn that its change was made.
const SMALL_BYTES: usize = 16 * 1024;
/// The size of the pieces of a response, that of an HTTP/2 frame, so that the progress of a slow client
/// is visible.
const PIECE_BYTES: usize = 16 * 1024;
/// The memory of a response besides its bytes: stream state, task and headers.
const OVERHEAD_BYTES: usize = 16 * 1024;
/// The memory of a rejection besides its bytes. Clients without a token cause them, so it is no estimate on
/// the safe side: rejections must not use up the budget of the process.
const REJECTION_OVERHEAD_BYTES: usize = 4 * 1024;
/// A connection with this many unsent bytes starts no further large response.
const BACKLOG_BYTES: usize = 1024 * 1024;
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// The stall timeout while the server stops, and the time that a connection may then be idle.
const STALL_TIMEOUT_AT_STOP: Duration = Duration::from_secs(2);

/// The budget of unsent bytes of responses in this process. Clones share it.
#[derive(Clone, Debug)]
pub struct ResponseBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    max_bytes: usize,
    max_bytes_per_connection: usize,
    bytes: AtomicUsize,
    /// Notified when `bytes` falls to `max_bytes`.
    room: Notify,
    next_connection: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<PeerConnection>>>,
}

/// The connection of a request. Clones refer to the same one.
#[derive(Clone, Debug)]
pub struct Peer(Arc<PeerConnection>);

#[derive(Debug)]
struct PeerConnection {
    number: u64,
    /// The number as text, which need not be formatted for each request.
    key: String,
    budget: Arc<Budget>,
    close_signal: Arc<CloseSignal>,
    /// Requests that HTTP/1.1 has dispatched and that have no response yet.
    dispatched: AtomicUsize,
    /// Rejections with a body, which have the frames of other responses.
    rejections: AtomicUsize,
    unsent: Mutex<Unsent>,
    /// Notified when the backlog falls below [`BACKLOG_BYTES`].
    drained: Notify,
    permit: Option<ConnectionPermit>,
}

/// The responses of a connection that the client has not read.
#[derive(Debug, Default)]
struct Unsent {
    bytes: usize,
    responses: Slab<UnsentResponse>,
    /// The time since which the socket has accepted no bytes.
    blocked_since: Option<Instant>,
}

#[derive(Debug)]
struct UnsentResponse {
    bytes: usize,
    /// The time of the last progress, or of the begin.
    last_progress: Instant,
}

/// The unsent bytes of one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamUnsent {
    bytes: AtomicUsize,
    progress: Notify,
}

/// A piece of a response, dropped when the last of its bytes was written or discarded.
struct Piece {
    data: Bytes,
    /// The bytes that it counts as: its data and, for the first piece, the overhead.
    counted: usize,
    response: usize,
    connection: Arc<PeerConnection>,
    stream: Option<Arc<StreamUnsent>>,
}

impl ResponseBudget {
    /// Creates a budget of `max_bytes` in the process.
    pub fn new(max_bytes: usize, max_bytes_per_connection: usize) -> Self {
        Self(Arc::new(Budget {
            max_bytes,
            max_bytes_per_connection,
            bytes: AtomicUsize::new(0),
            room: Notify::new(),
            next_connection: AtomicU64::new(0),
            connections: Mutex::default(),
        }))
    }

    /// Returns the peer of a new connection, which keeps `permit` until it is closed.
    pub fn connect(&self, permit: Option<ConnectionPermit>) -> Peer {
        let budget = &self.0;
        let number = budget.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(PeerConnection {
            number,
            key: number.to_string(),
            budget: Arc::clone(budget),
            close_signal: permit
                .as_ref()
                .map_or_else(Arc::default, |permit| Arc::clone(permit.close_signal())),
            dispatched: AtomicUsize::new(0),
            rejections: AtomicUsize::new(0),
            unsent: Mutex::default(),
            drained: Notify::new(),
            permit,
        });
        lock(&budget.connections).insert(number, Arc::downgrade(&connection));
        Peer(connection)
    }

    /// Closes connections without progress of a response for `timeout`, or a shorter time once the server
    /// stops. Then it closes idle connections, too: hyper waits until each client has answered a ping. Runs
    /// forever.
    pub async fn close_stalled(self, mut timeout: Duration, mut stopped: watch::Receiver<()>) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL.min(timeout / 4));
        let mut stopping_since = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.changed(), if stopping_since.is_none() => {
                    timeout = timeout.min(STALL_TIMEOUT_AT_STOP);
                    stopping_since = Some(Instant::now());
                }
            }
            let bytes = self.0.bytes.load(Ordering::Relaxed);
            metrics::unsent_response_bytes(bytes);
            if bytes > self.0.max_bytes {
                limit_hit(Limit::UnsentResponses);
                self.0.make_room(0);
            }
            for (_, connection) in self.0.stalled(timeout) {
                tracing::info!("connection closed: client stopped reading a response");
                limit_hit(Limit::StalledReader);
                Peer(connection).abort();
            }
            if stopping_since.is_some_and(|since| since.elapsed() >= STALL_TIMEOUT_AT_STOP) {
                self.0.abort_idle();
            }
        }
    }
}

impl Budget {
    /// Returns the connections with a response without progress for `timeout`, with their unsent bytes.
    fn stalled(&self, timeout: Duration) -> Vec<(usize, Arc<PeerConnection>)> {
        let now = Instant::now();
        let stalled = |connection: Arc<PeerConnection>| {
            let unsent = lock(&connection.unsent);
            let responses = unsent.responses.iter();
            let mut last_progress = responses.map(|(_, response)| response.last_progress);
            let is_overdue = |since| now.duration_since(since) >= timeout;
            let is_stalled = (last_progress.any(is_overdue)
                || unsent.blocked_since.is_some_and(is_overdue))
                && !connection.close_signal.is_sent();
            let bytes = unsent.bytes;
            drop(unsent);
            is_stalled.then_some((bytes, connection))
        };
        self.open_connections()
            .into_iter()
            .filter_map(stalled)
            .collect()
    }

    fn open_connections(&self) -> Vec<Arc<PeerConnection>> {
        let known = lock(&self.connections);
        known.values().filter_map(Weak::upgrade).collect()
    }

    /// Closes the connections that have been idle for [`STALL_TIMEOUT_AT_STOP`].
    fn abort_idle(&self) {
        for connection in self.open_connections() {
            let permit = connection.permit.as_ref();
            let is_idle = permit.is_some_and(|permit| permit.idle_time() >= STALL_TIMEOUT_AT_STOP);
            if is_idle && lock(&connection.unsent).bytes == 0 {
                Peer(connection).abort();
            }
        }
    }

    /// Closes stalled connections until `bytes` more fit the budget: those that were never authenticated
    /// first, and of these the ones with the most unsent bytes.
    fn make_room(&self, bytes: usize) {
        let wanted = self.bytes.load(Ordering::Relaxed) + bytes;
        let mut excess = wanted.saturating_sub(self.max_bytes);
        let mut stalled = self.stalled(GRACE);
        stalled.sort_by_cached_key(|(bytes, connection)| {
            (
                Peer(Arc::clone(connection)).is_authenticated(),
                Reverse(*bytes),
            )
        });
        for (bytes, connection) in stalled {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            tracing::info!(
                bytes,
                "connection closed: limit of unsent responses reached"
            );
            Peer(connection).abort();
        }
    }
}

impl Peer {
    /// Ends the connection with all its requests at its next read.
    pub fn abort(&self) {
        self.0.close_signal.send();
    }

    /// Returns true if the connection was evicted or aborted; otherwise its task is woken then.
    pub fn poll_closed(&self, context: &mut Context<'_>) -> bool {
        self.0.close_signal.poll(context).is_ready()
    }

    /// Records whether the socket of the connection accepts bytes.
    pub fn set_write_blocked(&self, is_blocked: bool) {
        lock(&self.0.unsent).blocked_since = is_blocked.then(Instant::now);
    }

    /// Marks an authenticated request as in progress: the connection is not evicted until the mark is
    /// dropped, and afterwards only if no unauthenticated one is left.
    pub(crate) fn begin_request(&self) -> Option<Busy> {
        let permit = self.0.permit.as_ref()?;
        permit.mark_authenticated();
        Some(permit.busy())
    }

    /// Marks a request of HTTP/1.1 as dispatched until the mark is dropped. What is read of its connection
    /// without such a mark is the head of a request.
    pub(crate) fn dispatch(&self) -> Dispatched {
        self.0.dispatched.fetch_add(1, Ordering::AcqRel);
        Dispatched(Arc::clone(&self.0))
    }

    /// Returns true while a request of HTTP/1.1 is dispatched.
    pub(crate) fn has_dispatched(&self) -> bool {
        self.0.dispatched.load(Ordering::Acquire) > 0
    }

    /// Returns the number of rejections that were counted by [`Peer::reject`].
    pub(crate) fn rejections(&self) -> usize {
        self.0.rejections.load(Ordering::Relaxed)
    }

    /// Counts a rejection, whose body counts as unsent until the client has read it.
    pub(crate) fn reject(&self, body: Bytes) -> Bytes {
        self.0.rejections.fetch_add(1, Ordering::Relaxed);
        self.piece(body, REJECTION_OVERHEAD_BYTES)
    }

    /// Returns the bytes as one piece, which counts as unsent until it is dropped.
    pub(crate) fn track_whole(&self, data: Bytes) -> Bytes {
        self.piece(data, OVERHEAD_BYTES)
    }

    fn piece(&self, data: Bytes, overhead: usize) -> Bytes {
        let counted = data.len() + overhead;
        let response = self.0.begin_response(counted, None);
        Bytes::from_owner(Piece {
            data,
            counted,
            response,
            connection: Arc::clone(&self.0),
            stream: None,
        })
    }

    /// Returns the key of the connection in limits, unique in this process.
    pub(crate) fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns true if a unary response of this size fits the budget, after room was made for it.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let budget = &self.0.budget;
        let in_process = budget.bytes.load(Ordering::Relaxed) + bytes;
        if in_process > budget.max_bytes {
            limit_hit(Limit::UnsentResponses);
            budget.make_room(bytes);
        }
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

    /// Waits until the process holds no more unsent bytes than it may. [`ResponseBudget::close_stalled`]
    /// closes the connections of clients that keep it from that.
    pub(super) async fn room(&self) {
        let budget = &self.0.budget;
        loop {
            // Created before the check, so that no notification is missed.
            let notified = budget.room.notified();
            if budget.bytes.load(Ordering::Acquire) <= budget.max_bytes {
                return;
            }
            notified.await;
        }
    }

    /// Returns true if the client has read most of its earlier responses.
    pub(super) fn is_drained(&self) -> bool {
        lock(&self.0.unsent).bytes < BACKLOG_BYTES
    }

    /// Waits until the client has read most of its earlier responses.
    pub(super) async fn drained(&self) {
        loop {
            // Created before the check, so that no notification is missed.
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

    /// Splits the bytes into pieces that count as unsent until they are dropped.
    pub(crate) fn track(
        &self,
        mut data: Bytes,
        stream: Option<&Arc<StreamUnsent>>,
    ) -> VecDeque<Bytes> {
        let mut pieces = VecDeque::with_capacity(data.len().div_ceil(PIECE_BYTES));
        let response = self.0.begin_response(data.len() + OVERHEAD_BYTES, stream);
        let mut overhead = OVERHEAD_BYTES;
        loop {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            pieces.push_back(Bytes::from_owner(Piece {
                counted: piece.len() + std::mem::take(&mut overhead),
                data: piece,
                response,
                connection: Arc::clone(&self.0),
                stream: stream.cloned(),
            }));
            if data.is_empty() {
                return pieces;
            }
        }
    }
}

impl PeerConnection {
    fn begin_response(&self, bytes: usize, stream: Option<&Arc<StreamUnsent>>) -> usize {
        let mut unsent = lock(&self.unsent);
        unsent.bytes += bytes;
        let response = unsent.responses.insert(UnsentResponse {
            bytes,
            last_progress: Instant::now(),
        });
        drop(unsent);
        self.budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(stream) = stream {
            stream.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        response
    }
}

/// Marks a request as dispatched, see [`Peer::dispatch`].
#[derive(Debug)]
pub(crate) struct Dispatched(Arc<PeerConnection>);

impl Drop for Dispatched {
    fn drop(&mut self) {
        self.0.dispatched.fetch_sub(1, Ordering::AcqRel);
    }
}

impl StreamUnsent {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// Waits until fewer than `bytes` are unsent.
    pub(crate) async fn below(&self, bytes: usize) {
        while self.bytes.load(Ordering::Acquire) >= bytes {
            self.progress.notified().await;
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
        if let Some(response) = unsent.responses.get_mut(self.response) {
            response.bytes -= bytes;
            if response.bytes == 0 {
                unsent.responses.remove(self.response);
            } else {
                response.last_progress = Instant::now();
            }
        }
        drop(unsent);
        if is_drained {
            self.connection.drained.notify_waiters();
        }
        let budget = &self.connection.budget;
        let before = budget.bytes.fetch_sub(bytes, Ordering::Release);
        if before > budget.max_bytes && before - bytes <= budget.max_bytes {
            budget.room.notify_waiters();
        }
        if let Some(stream) = &self.stream {
            stream.bytes.fetch_sub(bytes, Ordering::Release);
            // Stored if no task waits at the moment.
            stream.progress.notify_one();
        }
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        lock(&self.budget.connections).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
