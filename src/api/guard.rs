//! What every call of the contract passes before it is decoded: is the RPC known,
//! is there room, who calls, with which scope, and for how long.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status, body::Body, server::NamedService};
use tonic_types::StatusExt;
use tower::Service;
use tracing::{Instrument, Span};

use crate::{
    api::{
        answers::{self, HangUp},
        auth::{Authenticator, Caller, alternative_scope_of, scope_of},
        fair_share::{FairShare, Share},
    },
    call_trace,
    error::{Error, Result},
    meters::{self, CallInFlight},
};

const STREAM_RECIPIENTS: &str = "/StreamRecipients";
const WATCH_CHANGES: &str = "/WatchChanges";
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
const TOKEN_INVALID: &str = "TOKEN_INVALID";
/// Below it timers do not tell times apart.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight in this process; more are shed.
    pub calls_in_flight: usize,
    /// Of these, those of one client (the `sub` of its tokens).
    pub calls_of_a_client: usize,
    /// Streams open in this process, counted for themselves and to their end: each may hold
    /// answers that its client does not read.
    pub streams: usize,
    /// Of these, those of one client.
    pub streams_of_a_client: usize,
    /// Watches of changes open in this process: each holds a page at most.
    pub watches: usize,
    /// Of these, those of one client.
    pub watches_of_a_client: usize,
    /// How long a client may take nothing of a stream's answer, before it is hung up on.
    pub stream_patience: Duration,
    /// The longest a call may take until it answers; streams: until they begin.
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_in_flight: 1024,
            calls_of_a_client: 512,
            streams: 128,
            streams_of_a_client: 32,
            watches: 512,
            watches_of_a_client: 256,
            stream_patience: Duration::from_mins(1),
            call_timeout: Duration::from_secs(5),
        }
    }
}

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
    calls: Room,
    streams: Room,
    watches: Room,
    stream_patience: Duration,
}

/// How many there may be at once, and how many of one client.
#[derive(Clone, Debug)]
struct Room {
    places: Arc<Semaphore>,
    shares: FairShare,
}

/// A place in a room, until it is dropped.
type Taken = (OwnedSemaphorePermit, Share);

impl Room {
    fn new(most: usize, of_a_client: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            shares: FairShare::new(of_a_client),
        }
    }

    fn take(&self, client: &str) -> Option<Taken> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some((place, self.shares.take(client)?))
    }
}

impl<S> Guard<S> {
    /// Puts the guard before the service, given twice: `streams` takes the longer
    /// messages of `StreamRecipients`, `unary` everything else.
    pub fn new(unary: S, streams: S, authenticator: Authenticator, limits: Limits) -> Self {
        Self {
            unary,
            streams,
            admission: Admission {
                authenticator,
                calls: Room::new(limits.calls_in_flight, limits.calls_of_a_client),
                streams: Room::new(limits.streams, limits.streams_of_a_client),
                watches: Room::new(limits.watches, limits.watches_of_a_client),
                stream_patience: limits.stream_patience,
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
        let span = call_trace::begin(method_of(&path), request.headers());
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

async fn guarded<S>(mut inner: S, admission: Admission, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (mut head, body) = request.into_parts();
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
    // After the token: who has none takes no place, however long its key is looked for.
    let path = head.uri.path();
    let (room, is_stream) = if path.ends_with(STREAM_RECIPIENTS) {
        (&admission.streams, true)
    } else if path.ends_with(WATCH_CHANGES) {
        (&admission.watches, true)
    } else {
        (&admission.calls, false)
    };
    let Some(taken) = room.take(&caller.actor().0) else {
        let retry_after = OVERLOADED_RETRY;
        return Status::from(Error::Overloaded { retry_after }).into_http();
    };
    head.extensions.insert(caller);
    let hang_up = head.extensions.get::<HangUp>().cloned();
    match inner.call(Request::from_parts(head, body)).await {
        Ok(response) if is_stream => {
            response.map(|body| answers::held(body, taken, admission.stream_patience, hang_up))
        }
        Ok(response) => response,
        Err(never) => match never {},
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
    let scope = scope_of(path).ok_or(Error::Unimplemented)?;
    check_metadata(headers)?;
    let caller = authenticator.authenticate(headers).await?;
    match alternative_scope_of(path) {
        Some(alternative) if caller.require(alternative).is_ok() => {}
        Some(_) | None => caller.require(scope)?,
    }
    Ok(caller)
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
pub(super) fn with_reason(status: Status) -> Status {
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
            let info = status.get_details_error_info();
            let reason = info.map(|info| info.reason).unwrap_or_default();
            if reason == TOKEN_INVALID {
                // Logged with its cause already, and not once a call.
                tracing::debug!(method, code = ?status.code(), reason, elapsed_ms, "call refused");
            } else {
                tracing::info!(method, code = ?status.code(), reason, elapsed_ms, "call refused");
            }
            meters::call_failed(&reason);
            status.code()
        }
    };
    meters::call_ended(method, code_name(code), elapsed);
    call_trace::end(span, code_name(code), is_fault(code));
}

/// The names of gRPC's specification.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
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
