//! Responses on their way to the client: counted until it has taken them, and streams in a task of
//! their own.
//!
//! hyper polls the body of a response only while the client takes it. A future in it that waits for
//! a connection of the database would be granted one and never use it. So no stream is ever polled by
//! a body: its task reads one frame ahead, checks the caller's token again, and ends the stream when
//! the token ends, the client sends nothing, or the server stops.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tonic::{Code, Status, body::Body};

use super::{
    concurrency_limit::Permit,
    peer::{Peer, StreamUnsent},
    request_body::RequestProgress,
};
use crate::api::{
    admission::dispatch::overloaded,
    auth::{Authenticator, Caller},
    status,
};
use crate::{
    connection_limit::Busy,
    error::{Error, Result},
    observability::metrics::{self, Limit, limit_hit},
};

/// How far a stream may be ahead of its client: enough that a fast one never waits.
const STREAM_AHEAD_BYTES: usize = 256 * 1024;
/// How often a stream's token and progress are checked between messages.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// While the server stops, a stream without requests for so long is ended.
const QUIET_AT_STOP: Duration = Duration::from_secs(2);

/// Reads the response of a unary RPC, which counts as unsent from now on until the client has taken
/// it. One for which there is no room is replaced by an error.
pub(in crate::api) async fn unary(response: Response<Body>, peer: &Peer) -> Response<Body> {
    // An error, which consists of headers alone and stays so.
    if response.body().is_end_stream() {
        return response;
    }
    let (head, mut body) = response.into_parts();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return status.into_http(),
        };
        match frame.into_data() {
            Ok(data) if peer.has_room_for(data.len()) => {
                frames.extend(peer.track(data, None).into_iter().map(Frame::data));
            }
            Ok(_) => return Status::from(overloaded()).into_http(),
            Err(trailers) => frames.push(trailers),
        }
    }
    let frames = stream::iter(frames.into_iter().map(Ok::<_, Status>));
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}

/// The status at the end of a response whose headers are sent.
fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut headers) {
        tracing::error!(%status, "status cannot be encoded");
    }
    Frame::trailers(headers)
}

/// What a stream lives by.
pub(in crate::api) struct StreamGuard {
    pub(in crate::api) peer: Peer,
    pub(in crate::api) permit: Permit,
    /// Keeps the connection while the stream is open.
    pub(in crate::api) busy: Option<Busy>,
    /// Checked again for every message and between them; `None` for RPCs that need no token.
    pub(in crate::api) caller: Option<(Authenticator, Caller)>,
    pub(in crate::api) request: RequestProgress,
    /// It goes on until it is stopped, rather than until its requests are answered.
    pub(in crate::api) is_endless: bool,
    /// The longest time without a request, while one could still come.
    pub(in crate::api) max_idle: Duration,
    /// Changes, or breaks off, when the server stops.
    pub(in crate::api) stopped: watch::Receiver<()>,
}

/// The same response, produced by a task that ends with it.
pub(in crate::api) fn stream(body: Body, guard: StreamGuard) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let (sender, mut frames) = mpsc::channel(1);
    tokio::spawn(produce(body, guard, sender));
    let frames = stream::poll_fn(move |context| frames.poll_recv(context));
    Body::new(StreamBody::new(frames))
}

type Sender = mpsc::Sender<std::result::Result<Frame<Bytes>, Status>>;

async fn produce(body: Body, mut guard: StreamGuard, frames: Sender) {
    let unsent = Arc::new(StreamUnsent::default());
    let _busy = guard.busy.take();
    let (peer, caller) = (guard.peer.clone(), guard.caller.clone());
    let end = tokio::select! {
        () = frames.closed() => return,
        end = forward(body, &peer, caller, &unsent, &frames) => end.err(),
        end = guard.supervise(&unsent) => Some(end),
    };
    // The permit is given back before the client takes the end.
    drop(guard);
    let Some(status) = end else { return };
    if status.code() != Code::Ok {
        metrics::call_failed(&status::reason_of(&status));
    }
    let _ = frames.send(Ok(trailers(&status))).await;
}

/// Passes the frames on, one ahead of the client, up to the end that they have themselves.
async fn forward(
    mut body: Body,
    peer: &Peer,
    caller: Option<(Authenticator, Caller)>,
    unsent: &Arc<StreamUnsent>,
    frames: &Sender,
) -> std::result::Result<(), Status> {
    loop {
        unsent.below(STREAM_AHEAD_BYTES).await;
        // The client went away.
        let Ok(mut slot) = frames.reserve().await else {
            return Ok(());
        };
        let Some(frame) = body.frame().await.transpose()? else {
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => {
                recheck(caller.as_ref())?;
                // Streams that made room for others may still hold what their clients do not take.
                peer.make_room_for(data.len());
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
    /// Returns the status with which the stream has to end before it does so itself.
    async fn supervise(&mut self, unsent: &StreamUnsent) -> Status {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL.min(self.max_idle / 4));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = self.stopped.changed(), if !is_stopping => {
                    is_stopping = true;
                    // The last news may leave, such as that the server is not ready.
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

    /// Returns whether the stream may go on.
    fn check(&mut self, is_stopping: bool, unsent: &StreamUnsent) -> Result<bool> {
        recheck(self.caller.as_ref())?;
        let quiet = self.request.quiet_for().filter(|_| unsent.is_empty());
        if is_stopping && self.is_endless {
            return Ok(false);
        }
        if is_stopping && quiet.is_some_and(|quiet| quiet >= QUIET_AT_STOP.min(self.max_idle)) {
            return Err(overloaded());
        }
        if quiet.is_some_and(|quiet| quiet >= self.max_idle) {
            limit_hit(Limit::IdleStream);
            return Err(Error::StreamIdle);
        }
        if quiet.is_some() || !unsent.is_empty() {
            self.permit.wait_for_client();
        } else {
            self.permit.resume();
        }
        Ok(true)
    }
}
