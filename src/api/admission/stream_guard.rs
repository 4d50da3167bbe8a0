//! Streamed responses, each produced by its own task and guarded until it ends.
//!
//! hyper polls the body of a response only while the client reads it. If the body waited for a database
//! connection, it could be granted one and never use it. So the body only receives frames from a task,
//! which reads one frame ahead, checks the caller's token again, and ends the stream when the token
//! expires, the client sends no requests, or the server stops.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tonic::{Code, Status, body::Body};

use super::{
    concurrency_limit::{Permit, overloaded},
    peer::{Peer, StreamUnsent},
    request_body::RequestProgress,
};
use crate::{
    api::{
        auth::{Authenticator, Caller},
        request_context, status,
    },
    connection_limit::Busy,
    error::{Error, Result},
    observability::metrics::{self, Limit, OpenStream, StreamKind, limit_hit},
};

/// Bytes that a stream may be ahead of its client: enough that a fast client never waits.
const MAX_AHEAD_BYTES: usize = 256 * 1024;
/// Interval between checks of a stream's token and progress.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time without a request after which a stream is ended while the server stops.
const IDLE_TIMEOUT_AT_STOP: Duration = Duration::from_secs(2);

/// Returns the trailers with the status of a response whose headers were sent.
fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut headers) {
        tracing::error!(%status, "encoding of a status failed");
    }
    Frame::trailers(headers)
}

/// The conditions under which a stream stays open.
pub(super) struct StreamGuard {
    pub(crate) peer: Peer,
    pub(crate) permit: Permit,
    /// Protects the connection from eviction while the stream is open.
    pub(crate) busy: Option<Busy>,
    /// Checked again with every message and between messages; `None` for RPCs that need no token.
    pub(crate) caller: Option<(Authenticator, Caller)>,
    pub(crate) request: RequestProgress,
    /// True for streams that end only when the server stops, not when their requests are answered.
    pub(crate) is_endless: bool,
    pub(crate) kind: StreamKind,
    /// Maximum time without a request, while the client may still send one.
    pub(crate) max_idle: Duration,
    /// Changes, or is closed, when the server stops.
    pub(crate) stopped: watch::Receiver<()>,
}

/// Returns a body with the frames of `body`, which a task produces until `guard` ends the stream.
pub(super) fn guard_stream(body: Body, guard: StreamGuard) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let (sender, mut frames) = mpsc::channel(1);
    tokio::spawn(request_context::inherit(produce(body, guard, sender)));
    let frames = stream::poll_fn(move |context| frames.poll_recv(context));
    Body::new(StreamBody::new(frames))
}

type Sender = mpsc::Sender<std::result::Result<Frame<Bytes>, Status>>;

async fn produce(body: Body, mut guard: StreamGuard, frames: Sender) {
    let unsent = Arc::new(StreamUnsent::default());
    let _busy = guard.busy.take();
    let _open = OpenStream::begin(guard.kind);
    let (peer, caller) = (guard.peer.clone(), guard.caller.clone());
    let end = tokio::select! {
        () = frames.closed() => return,
        end = forward(body, &peer, caller, &unsent, &frames) => end.err(),
        end = guard.supervise(&unsent) => Some(end),
    };
    // The permit is released before the client reads the end of the stream.
    drop(guard);
    let Some(status) = end else { return };
    if status.code() != Code::Ok {
        metrics::request_failed(&status::reason_of(&status));
    }
    let _ = frames.send(Ok(trailers(&status))).await;
}

/// Forwards the frames of `body` to its end, one ahead of the client.
async fn forward(
    mut body: Body,
    peer: &Peer,
    caller: Option<(Authenticator, Caller)>,
    unsent: &Arc<StreamUnsent>,
    frames: &Sender,
) -> std::result::Result<(), Status> {
    loop {
        unsent.below(MAX_AHEAD_BYTES).await;
        // Evicted streams may still hold bytes that their clients do not read.
        peer.room().await;
        // The client has disconnected.
        let Ok(mut slot) = frames.reserve().await else {
            return Ok(());
        };
        let Some(frame) = body.frame().await.transpose()? else {
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => {
                recheck(caller.as_ref())?;
                for piece in peer.track(data, Some(unsent)) {
                    slot.send(Ok(Frame::data(piece)));
                    let Ok(next) = frames.reserve().await else {
                        return Ok(());
                    };
                    slot = next;
                }
            }
            Err(trailers) => slot.send(Ok(trailers)),
        }
    }
}

fn recheck(caller: Option<&(Authenticator, Caller)>) -> Result<()> {
    caller.map_or(Ok(()), |(authenticator, caller)| {
        authenticator.recheck(caller)
    })
}

impl StreamGuard {
    /// Returns the status with which to end the stream before the end of its body.
    async fn supervise(&mut self, unsent: &StreamUnsent) -> Status {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL.min(self.max_idle / 4));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = self.stopped.changed(), if !is_stopping => {
                    is_stopping = true;
                    // Lets a last message leave, such as that the server is not ready.
                    ticks.reset();
                    continue;
                }
                () = self.permit.evicted() => return overloaded().into(),
            }
            match self.check(is_stopping, unsent) {
                Ok(true) => {}
                Ok(false) => return Status::ok(""),
                Err(error) => return error.into(),
            }
        }
    }

    /// Returns true if the stream may stay open, false if it has to end without an error.
    fn check(&mut self, is_stopping: bool, unsent: &StreamUnsent) -> Result<bool> {
        recheck(self.caller.as_ref())?;
        let idle = self.request.idle_time().filter(|_| unsent.is_empty());
        if is_stopping && self.is_endless {
            return Ok(false);
        }
        let max_idle_at_stop = IDLE_TIMEOUT_AT_STOP.min(self.max_idle);
        if is_stopping && idle.is_some_and(|idle| idle >= max_idle_at_stop) {
            return Err(overloaded());
        }
        if idle.is_some_and(|idle| idle >= self.max_idle) {
            limit_hit(Limit::IdleStream);
            return Err(Error::StreamIdle);
        }
        if idle.is_some() || !unsent.is_empty() {
            self.permit.wait_for_client();
        } else {
            self.permit.resume();
        }
        Ok(true)
    }
}
