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

use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body, server::NamedService};
use tonic_types::StatusExt;
use tower::Service;

use crate::{
    api::auth::{Authenticator, Caller, scope_of},
    error::{Error, Result},
};

const STREAM_RECIPIENTS: &str = "/StreamRecipients";
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);
/// tonic starts a timer for the caller's deadline a little before the guard does,
/// and answers CANCELLED when it ends first: so the guard's ends earlier. Under
/// load the little becomes tens of milliseconds.
const LONGEST_HEAD_START: Duration = Duration::from_millis(50);
/// Below it timers do not tell times apart.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight in this process; more are shed.
    pub calls_in_flight: usize,
    /// The longest a call may take until it answers; streams: until they begin.
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_in_flight: 1024,
            call_timeout: Duration::from_secs(5),
        }
    }
}

/// The contract's service behind its guard.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    unary: S,
    streams: S,
    authenticator: Authenticator,
    places: Arc<Semaphore>,
    call_timeout: Duration,
}

impl<S> Guard<S> {
    /// Puts the guard before the service, given twice: `streams` takes the longer
    /// messages of `StreamRecipients`, `unary` everything else.
    pub fn new(unary: S, streams: S, authenticator: Authenticator, limits: Limits) -> Self {
        Self {
            unary,
            streams,
            authenticator,
            places: Arc::new(Semaphore::new(limits.calls_in_flight)),
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
        let call = guarded(
            ready,
            self.authenticator.clone(),
            Arc::clone(&self.places),
            request,
        );
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                () = std::future::ready(()), if timeout < TIMER_STEP => {
                    Status::from(Error::Deadline).into_http()
                }
                response = call => response,
                () = sleep => Status::from(Error::Deadline).into_http(),
            };
            let response = answer_with_reason(response);
            log_call(&path, &response, started.elapsed());
            Ok(response)
        })
    }
}

async fn guarded<S>(
    mut inner: S,
    authenticator: Authenticator,
    places: Arc<Semaphore>,
    request: Request<Body>,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (mut head, body) = request.into_parts();
    let admitted = admitted(&authenticator, head.uri.path(), &head.headers).await;
    let caller = match admitted {
        Ok(caller) => caller,
        Err(error) => return Status::from(error).into_http(),
    };
    // After the token: who has none takes no place, however long its key is looked for.
    let Ok(_place) = places.try_acquire() else {
        let retry_after = OVERLOADED_RETRY;
        return Status::from(Error::Overloaded { retry_after }).into_http();
    };
    head.extensions.insert(caller);
    match inner.call(Request::from_parts(head, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// An RPC without an entry in the scope table is not there.
async fn admitted(
    authenticator: &Authenticator,
    path: &str,
    headers: &HeaderMap,
) -> Result<Caller> {
    let scope = scope_of(path).ok_or(Error::Unimplemented)?;
    let caller = authenticator.authenticate(headers).await?;
    caller.require(scope)?;
    Ok(caller)
}

/// Errors that tonic makes itself (bytes that are no message, a message that is
/// too long) bear no reason, and blame the server for what the client sent.
pub(super) fn with_reason(status: Status) -> Status {
    if status.get_details_error_info().is_some() {
        return status;
    }
    let reasons = [
        (
            Code::Internal,
            Error::invalid_field("request", "is not a message of this RPC"),
        ),
        (
            Code::OutOfRange,
            Error::invalid_field("request", "is longer than this RPC allows"),
        ),
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

/// One line a call. Method, code and reason name no person; nothing else of the
/// call is logged.
fn log_call(path: &str, response: &Response<Body>, elapsed: Duration) {
    let method = if scope_of(path).is_some() {
        path
    } else {
        "unknown"
    };
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match response.extensions().get::<Status>() {
        None => tracing::debug!(method, code = "Ok", elapsed_ms, "call"),
        Some(status) => {
            let info = status.get_details_error_info();
            let reason = info.map(|info| info.reason).unwrap_or_default();
            tracing::info!(method, code = ?status.code(), reason, elapsed_ms, "call refused");
        }
    }
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
