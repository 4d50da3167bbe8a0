//! What every request passes before it is decoded: is the RPC known, who calls, with which scope, is
//! its message there, is there a permit, and for how long. What becomes of its response is told in
//! `response_body`.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION, request::Parts,
};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tonic::{Code, Status, body::Body, server::NamedService};
use tonic_types::StatusExt;
use tower::Service;
use tracing::{Instrument, Span};

use crate::{
    api::{
        admission::{
            concurrency_limit::ConcurrencyLimit,
            peer::Peer,
            rejection_log,
            request_body::{self, RequestProgress},
            response_body::{self, StreamGuard},
        },
        auth::{Authenticator, Caller, scope_of},
        status,
    },
    error::{Error, Result},
    observability::{
        metrics::{self, CallInFlight, Limit},
        rpc_span,
    },
};

pub use crate::api::admission::limits::Limits;

const STREAM_RECIPIENTS: &str = "/StreamRecipients";
const WATCH_CHANGES: &str = "/WatchChanges";
/// RPCs whose responses can have hundreds of kilobytes.
const LARGE_RESPONSE_RPCS: [&str; 3] = ["/ListContacts", "/ListAuditEvents", "/ExportCustomer"];
/// As many of these run at once; others have the rest of the processors and connections.
const LARGE_RESPONSES: usize = 4;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The encodings of messages that the server is built with. Compression gives away no secret by the
/// length of an answer: no answer mixes one with text that another party chose.
const ENCODINGS: &str = "identity,gzip";
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);
/// tonic starts a timer for the caller's deadline a little before the guard does,
/// and answers CANCELLED when it ends first: so the guard's ends earlier. Under
/// load the little becomes tens of milliseconds.
const LONGEST_HEAD_START: Duration = Duration::from_millis(50);
/// Of metadata besides the token, which has a limit of its own. HTTP/2 lets more through, so that a
/// token that is too large can be answered; a request in flight keeps no more than this.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The overhead that HTTP/2 adds to the name and value of each field (RFC 9113, 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;
/// Under what calls of RPCs are measured that are none of the contract's.
const OTHER_METHOD: &str = "_OTHER";
/// Below it timers do not tell times apart.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// The contract's service behind its guard.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    unary: S,
    streams: S,
    admission: Admission,
    call_timeout: Duration,
}

/// Who and what is let in.
#[derive(Clone, Debug)]
struct Admission {
    authenticator: Authenticator,
    calls: ConcurrencyLimit,
    streams: ConcurrencyLimit,
    watches: ConcurrencyLimit,
    pending_messages: ConcurrencyLimit,
    large_responses: Arc<Semaphore>,
    max_message_bytes: usize,
    stream_idle: Duration,
    stopped: watch::Receiver<()>,
}

impl<S> Guard<S> {
    /// Puts the guard before the service, given twice: `streams` takes the longer messages of
    /// `StreamRecipients`, `unary` everything else, of up to `max_message_bytes`. Endless streams end
    /// when `stopped` changes.
    pub fn new(
        (unary, max_message_bytes): (S, usize),
        streams: S,
        authenticator: Authenticator,
        limits: Limits,
        stopped: watch::Receiver<()>,
    ) -> Self {
        let limit = ConcurrencyLimit::new;
        Self {
            unary,
            streams,
            admission: Admission {
                authenticator,
                calls: limit(
                    (limits.calls_in_flight, Limit::Calls),
                    (limits.calls_of_a_client, Limit::ClientCalls),
                ),
                streams: limit(
                    (limits.streams, Limit::Streams),
                    (limits.streams_of_a_client, Limit::ClientStreams),
                ),
                watches: limit(
                    (limits.watches, Limit::Watches),
                    (limits.watches_of_a_client, Limit::ClientWatches),
                ),
                pending_messages: limit(
                    (limits.pending_messages, Limit::PendingMessages),
                    (
                        limits.pending_messages_of_a_client,
                        Limit::ClientPendingMessages,
                    ),
                ),
                large_responses: Arc::new(Semaphore::new(LARGE_RESPONSES)),
                max_message_bytes,
                stream_idle: limits.stream_idle,
                stopped,
            },
            call_timeout: limits.call_timeout,
        }
    }
}

impl<S: NamedService> NamedService for Guard<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<std::result::Result<(), Infallible>> {
        match self.streams.poll_ready(context) {
            Poll::Ready(Ok(())) => self.unary.poll_ready(context),
            waiting @ (Poll::Ready(Err(_)) | Poll::Pending) => waiting,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let inner = if path.ends_with(STREAM_RECIPIENTS) {
            &mut self.streams
        } else {
            &mut self.unary
        };
        // The clone takes the place of the one that was polled ready.
        let successor = inner.clone();
        let ready = std::mem::replace(inner, successor);
        let timeout = grpc_timeout(request.headers()).map_or(self.call_timeout, |asked| {
            let head_start = LONGEST_HEAD_START.min(asked / 5);
            self.call_timeout.min(asked.saturating_sub(head_start))
        });
        let sleep = tokio::time::sleep(timeout);
        let span = rpc_span::begin(method_of(&path), request.headers());
        let call = guarded(ready, self.admission.clone(), request);
        let of_call = span.clone();
        let answer = async move {
            let _in_flight = CallInFlight::begin();
            let response = tokio::select! {
                biased;
                () = std::future::ready(()), if timeout < TIMER_STEP => {
                    Status::from(Error::Deadline).into_http()
                }
                response = call => response,
                () = sleep => Status::from(Error::Deadline).into_http(),
            };
            let response = answer_with_reason(response);
            account(method_of(&path), &of_call, &response, started.elapsed());
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

async fn guarded<S>(inner: S, admission: Admission, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (head, body) = request.into_parts();
    // Before the token: which encodings there are depends on no caller, and clients of every RPC
    // can fall back.
    if !has_known_encoding(&head.headers) {
        return unknown_encoding();
    }
    let authenticator = &admission.authenticator;
    let admitted = admitted(authenticator, head.uri.path(), &head.headers).await;
    let caller = match admitted {
        Ok(caller) => caller,
        Err(error) => return Status::from(error).into_http(),
    };
    let served = if head.uri.path().ends_with(STREAM_RECIPIENTS) {
        let (body, progress) = request_body::observed(body);
        serve_stream(inner, &admission, caller, head, body, progress).await
    } else {
        serve_message(inner, &admission, caller, head, body).await
    };
    served.unwrap_or_else(|error| Status::from(error).into_http())
}

/// Serves an RPC whose request is one message, which has to be there before it takes a permit.
async fn serve_message<S>(
    inner: S,
    admission: &Admission,
    caller: Caller,
    mut head: Parts,
    body: Body,
) -> Result<Response<Body>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let client = caller.actor().0.clone();
    let (pending, max_bytes) = (&admission.pending_messages, admission.max_message_bytes);
    let body = request_body::read_message(body, max_bytes, pending, &client).await?;
    if head.uri.path().ends_with(WATCH_CHANGES) {
        let progress = RequestProgress::ended();
        return serve_stream(inner, admission, caller, head, body, progress).await;
    }
    let peer = peer_of(&head);
    let _turn = admission.large_response(head.uri.path(), &peer).await?;
    let _permit = admission.calls.acquire(&client).ok_or_else(overloaded)?;
    head.extensions.insert(caller);
    let _busy = peer.begin_request();
    let response = served(inner, Request::from_parts(head, body)).await;
    Ok(response_body::unary(response, &peer).await)
}

impl Admission {
    /// Waits for one of the few turns of RPCs with large responses. A client that leaves earlier
    /// responses unread gets none: reading on from the database would serve nobody.
    async fn large_response(&self, path: &str, peer: &Peer) -> Result<Option<SemaphorePermit<'_>>> {
        if !LARGE_RESPONSE_RPCS.iter().any(|rpc| path.ends_with(rpc)) {
            return Ok(None);
        }
        loop {
            peer.drained().await;
            let turn = self.large_responses.acquire().await;
            let turn =
                turn.map_err(|_| Error::internal("the turns of large responses are closed"))?;
            if peer.is_drained() {
                return Ok(Some(turn));
            }
        }
    }
}

async fn serve_stream<S>(
    inner: S,
    admission: &Admission,
    caller: Caller,
    mut head: Parts,
    body: Body,
    request: RequestProgress,
) -> Result<Response<Body>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let is_endless = head.uri.path().ends_with(WATCH_CHANGES);
    let limit = if is_endless {
        &admission.watches
    } else {
        &admission.streams
    };
    let permit = limit.acquire(&caller.actor().0).ok_or_else(overloaded)?;
    head.extensions.insert(caller.clone());
    let peer = peer_of(&head);
    let guard = StreamGuard {
        busy: peer.begin_request(),
        peer,
        permit,
        caller: Some((admission.authenticator.clone(), caller)),
        request,
        is_endless,
        max_idle: admission.stream_idle,
        stopped: admission.stopped.clone(),
    };
    let response = served(inner, Request::from_parts(head, body)).await;
    Ok(response.map(|body| response_body::stream(body, guard)))
}

pub(in crate::api) async fn served<S>(mut inner: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    match inner.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The connection, as the server's listener made it known.
pub(in crate::api) fn peer_of(head: &Parts) -> Peer {
    let peer = head.extensions.get::<Peer>().cloned();
    peer.unwrap_or_else(|| Limits::default().response_budget().connect(None))
}

pub(in crate::api) const fn overloaded() -> Error {
    Error::Overloaded {
        retry_after: OVERLOADED_RETRY,
    }
}

fn has_known_encoding(headers: &HeaderMap) -> bool {
    let given = headers.get(ENCODING);
    given.is_none_or(|given| ENCODINGS.split(',').any(|known| given == known))
}

/// Names the encodings to fall back to, as gRPC's specification of compression demands.
fn unknown_encoding() -> Response<Body> {
    let mut response: Response<Body> = Status::from(Error::Unimplemented).into_http();
    let encodings = HeaderValue::from_static(ENCODINGS);
    response.headers_mut().insert(ACCEPT_ENCODING, encodings);
    response
}

/// An RPC without an entry in the scope table is not there.
async fn admitted(
    authenticator: &Authenticator,
    path: &str,
    headers: &HeaderMap,
) -> Result<Caller> {
    scope_of(path).ok_or(Error::Unimplemented)?;
    check_metadata(headers)?;
    authenticator.authorize(path, headers).await
}

/// Checks the size of the metadata besides the token, before anything is waited for.
fn check_metadata(headers: &HeaderMap) -> Result<()> {
    let others = headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
    let bytes: usize = others
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES)
        .sum();
    if bytes > MAX_METADATA_BYTES {
        let why = "must be at most 16 KiB besides the token";
        return Err(Error::invalid_field("metadata", why));
    }
    Ok(())
}

/// Errors that tonic makes itself (bytes that are no message, a message that is too long, also
/// once it is decompressed) bear no reason, and blame the server for what the client sent.
pub(in crate::api) fn with_reason(status: Status) -> Status {
    if status.get_details_error_info().is_some() {
        return status;
    }
    let too_long = || Error::invalid_field("request", "is longer than this RPC allows");
    let reasons = [
        (
            Code::Internal,
            Error::invalid_field("request", "is not a message of this RPC"),
        ),
        (Code::OutOfRange, too_long()),
        (Code::ResourceExhausted, too_long()),
        (Code::Unimplemented, Error::Unimplemented),
    ];
    let code = status.code();
    let with_reason = reasons.into_iter().find(|(made, _)| *made == code);
    with_reason.map_or(status, |(_, error)| error.into())
}

fn answer_with_reason(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>() {
        Some(status) if status.get_details_error_info().is_none() => {
            with_reason(status.clone()).into_http()
        }
        Some(_) | None => response,
    }
}

/// As traces and metrics name it; what callers make up is not taken over.
fn method_of(path: &str) -> &str {
    match (scope_of(path), path.strip_prefix('/')) {
        (Some(_), Some(method)) => method,
        (None, _) | (_, None) => OTHER_METHOD,
    }
}

/// One line a call, its time, and the end of its span. Method, code and reason name no
/// person; nothing else of the call is told.
fn account(method: &str, span: &Span, response: &Response<Body>, elapsed: Duration) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let code = match response.extensions().get::<Status>() {
        None => {
            tracing::debug!(method, code = "Ok", elapsed_ms, "call");
            Code::Ok
        }
        Some(status) => {
            let reason = status::reason_of(status);
            rejection_log::record(method, status.code(), &reason, elapsed_ms);
            metrics::call_failed(&reason);
            status.code()
        }
    };
    metrics::call_ended(method, status::code_name(code), elapsed);
    rpc_span::end(span, status::code_name(code), is_fault(code));
}

/// Those that OpenTelemetry's conventions count as errors of a server.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The caller's deadline: up to eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
