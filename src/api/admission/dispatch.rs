//! Dispatch of requests: authorization, the message, a permit, the call of the service and its response,
//! within a deadline.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Extensions, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    task::futures::TaskLocalFuture,
};
use tonic::{Status, body::Body, server::NamedService};
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::{
    authorize::authorize,
    concurrency_limit::{ConcurrencyLimit, overloaded},
    deadline, encoding,
    error_details::response_with_reason,
    limits::Limits,
    outcome::{method_of, record_outcome},
    peer::Peer,
    request_body::{self, RequestProgress},
    response_body, slow_log,
    stream_guard::{StreamGuard, guard_stream},
};
use crate::{
    api::{
        auth::{Authenticator, Caller, Rpc},
        connect::UnaryCall,
        request_context::RequestContext,
    },
    error::{Error, Result},
    observability::{
        metrics::{Limit, RequestInFlight, StreamKind},
        rpc_span::{self, BegunRpc},
    },
};

/// The header of all responses with the trace id of the request, as in errors and log lines.
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const STREAM_RECIPIENTS: &str = "/StreamRecipients";
/// RPCs whose request messages name up to 1,000 customers.
const LONG_MESSAGE_RPCS: [&str; 2] = [STREAM_RECIPIENTS, "/ReportDeliveries"];
const WATCH_CHANGES: &str = "/WatchChanges";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const TESTING_SERVICE: &str = "/contact.testing.v1.TestingService/";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
/// RPCs whose responses can have hundreds of kilobytes.
const LARGE_RESPONSE_RPCS: [&str; 3] = ["/ListContacts", "/ListAuditEvents", "/ExportCustomer"];
/// Concurrent RPCs with large responses; processors and connections are left for others.
const MAX_LARGE_RESPONSES: usize = 4;
/// Maximum size of a health check, which contains the name of a service.
const MAX_OPEN_MESSAGE_BYTES: usize = 1024;
/// Timers are no more precise than this.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);

/// The admission control of a process. Clones share its limits.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authenticator: Authenticator,
    requests: ConcurrencyLimit,
    streams: ConcurrencyLimit,
    watches: ConcurrencyLimit,
    pending_messages: ConcurrencyLimit,
    open_rpcs: ConcurrencyLimit,
    large_responses: Semaphore,
    message_bytes: MessageBytes,
    request_timeout: Duration,
    slow_request: Option<Duration>,
    stream_idle_timeout: Duration,
    stopped: watch::Receiver<()>,
}

/// The maximum sizes of request messages, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct MessageBytes {
    /// Of most RPCs.
    pub usual: usize,
    /// Of the RPCs whose messages name up to 1,000 customers.
    pub long: usize,
}

/// A service whose requests pass admission control.
#[derive(Clone, Debug)]
pub struct AdmissionService<S> {
    usual: S,
    long_messages: S,
    admission: Admission,
    requires_token: bool,
}

impl Admission {
    /// Creates admission control with `limits`. Endless streams end when `stopped` changes.
    pub fn new(
        authenticator: Authenticator,
        limits: &Limits,
        message_bytes: MessageBytes,
        stopped: watch::Receiver<()>,
    ) -> Self {
        let limit = ConcurrencyLimit::new;
        Self(Arc::new(Shared {
            authenticator,
            requests: limit(
                (limits.requests, Limit::Requests),
                (limits.requests_per_client, Limit::ClientRequests),
            ),
            streams: limit(
                (limits.streams, Limit::Streams),
                (limits.streams_per_client, Limit::ClientStreams),
            ),
            watches: limit(
                (limits.watches, Limit::Watches),
                (limits.watches_per_client, Limit::ClientWatches),
            ),
            pending_messages: limit(
                (limits.pending_messages, Limit::PendingMessages),
                (
                    limits.pending_messages_per_client,
                    Limit::ClientPendingMessages,
                ),
            ),
            open_rpcs: limit(
                (limits.open_rpcs, Limit::OpenRpcs),
                (limits.open_rpcs_per_connection, Limit::ConnectionOpenRpcs),
            ),
            large_responses: Semaphore::new(MAX_LARGE_RESPONSES),
            message_bytes,
            request_timeout: limits.request_timeout,
            slow_request: limits.slow_request,
            stream_idle_timeout: limits.stream_idle_timeout,
            stopped,
        }))
    }

    /// Returns the contact service, whose requests need a token. `long_messages` serves the RPCs with
    /// longer messages, and `usual` all others.
    pub fn authorized<S>(&self, usual: S, long_messages: S) -> AdmissionService<S> {
        AdmissionService {
            usual,
            long_messages,
            admission: self.clone(),
            requires_token: true,
        }
    }

    /// Returns a service that needs no token: health or reflection. Its streams are limited per connection.
    pub fn open<S: Clone>(&self, service: S) -> AdmissionService<S> {
        AdmissionService {
            usual: service.clone(),
            long_messages: service,
            admission: self.clone(),
            requires_token: false,
        }
    }
}

impl MessageBytes {
    fn of(self, path: &str) -> usize {
        if has_long_messages(path) {
            self.long
        } else {
            self.usual
        }
    }
}

/// Returns true for RPCs of the contact service whose response is one message.
pub(super) fn is_unary(path: &str) -> bool {
    Rpc::at(path).is_some() && !path.ends_with(WATCH_CHANGES) && !path.ends_with(STREAM_RECIPIENTS)
}

fn has_large_response(path: &str) -> bool {
    LARGE_RESPONSE_RPCS.iter().any(|rpc| path.ends_with(rpc))
}

fn has_long_messages(path: &str) -> bool {
    LONG_MESSAGE_RPCS.iter().any(|rpc| path.ends_with(rpc))
}

impl<S: NamedService> NamedService for AdmissionService<S> {
    const NAME: &'static str = S::NAME;
}

/// A service that tonic generates.
pub(crate) trait GrpcService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

impl<S: GrpcService> Service<Request<Body>> for AdmissionService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = TaskLocalFuture<
        RequestContext,
        BoxFuture<'static, std::result::Result<Response<Body>, Infallible>>,
    >;

    /// Always ready: each request has its own clone of the service, which [`call`] waits for.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut service = if has_long_messages(request.uri().path()) {
            self.long_messages.clone()
        } else {
            self.usual.clone()
        };
        let admission = self.admission.clone();
        // Futures of requests are boxed before they are wrapped, and pinned where they are created, and the
        // request is passed by reference: each move copies kilobytes.
        if !self.requires_token {
            let context = RequestContext::new(request.headers(), None);
            let response =
                Box::pin(
                    async move { Ok(dispatch_open(&mut service, &admission, &mut request).await) },
                );
            return context.scope(response);
        }
        let started = Instant::now();
        let rpc = Rpc::at(request.uri().path());
        let method = method_of(rpc);
        let timeout = deadline::timeout(request.headers(), admission.0.request_timeout);
        let sleep = tokio::time::sleep(timeout);
        let BegunRpc {
            span,
            trace_id,
            trace,
        } = rpc_span::begin(method, request.headers());
        let trace_header = HeaderValue::from_str(&trace_id);
        let context = RequestContext::new(request.headers(), Some(trace_id));
        let slow_after = admission.0.slow_request;
        let request_trace = Arc::clone(&trace);
        let response = Box::pin(async move {
            let _in_flight = RequestInFlight::begin();
            let response = {
                let dispatched = pin!(dispatch(&mut service, &admission, rpc, &mut request));
                tokio::select! {
                    biased;
                    () = std::future::ready(()), if timeout < TIMER_RESOLUTION => {
                        Status::from(Error::Deadline).into_http()
                    }
                    response = dispatched => response,
                    () = sleep => Status::from(Error::Deadline).into_http(),
                }
            };
            let mut response = response_with_reason(response);
            let elapsed = started.elapsed();
            record_outcome(method, &response, elapsed);
            if slow_after.is_some_and(|slow_after| elapsed >= slow_after) {
                slow_log::record(method, elapsed, request_trace.times());
            }
            if let Ok(trace_id) = trace_header {
                response.headers_mut().insert(TRACE_ID, trace_id);
            }
            Ok(response)
        });
        context.scope(Box::pin(trace.scope(response.instrument(span))))
    }
}

/// Serves a request of a service that needs no token.
async fn dispatch_open<S: GrpcService>(
    service: &mut S,
    admission: &Admission,
    request: &mut Request<Body>,
) -> Response<Body> {
    let served = pin!(async {
        let path = request.uri().path();
        if path == HEALTH_CHECK || path.starts_with(TESTING_SERVICE) {
            admission.serve_message(service, None, request).await
        } else {
            let progress = request_body::observe(request.body_mut());
            let response = admission.serve_stream(service, None, request, progress);
            response.await
        }
    });
    let served = tokio::time::timeout(admission.0.request_timeout, served).await;
    let served = served.unwrap_or(Err(Error::Deadline));
    served.unwrap_or_else(|error| Status::from(error).into_http())
}

/// Serves a request of the contact service.
async fn dispatch<S: GrpcService>(
    service: &mut S,
    admission: &Admission,
    rpc: Option<&'static Rpc>,
    request: &mut Request<Body>,
) -> Response<Body> {
    // Before the token: the encodings are the same for all callers, and clients can fall back.
    if !encoding::is_supported(request.headers()) {
        return encoding::unsupported();
    }
    let authenticator = &admission.0.authenticator;
    let caller = match authorize(authenticator, rpc, request.headers()).await {
        Ok(caller) => Some(caller),
        Err(error) => return Status::from(error).into_http(),
    };
    let served = if request.uri().path().ends_with(STREAM_RECIPIENTS) {
        let progress = request_body::observe(request.body_mut());
        let response = admission.serve_stream(service, caller, request, progress);
        response.await
    } else {
        admission.serve_message(service, caller, request).await
    };
    served.unwrap_or_else(|error| Status::from(error).into_http())
}

impl Admission {
    /// Serves an RPC whose request is one message. The message is read before a permit is acquired. Without
    /// a caller the RPC is limited only while its message is in transit.
    async fn serve_message<S: GrpcService>(
        &self,
        service: &mut S,
        caller: Option<Caller>,
        request: &mut Request<Body>,
    ) -> Result<Response<Body>> {
        let shared = &*self.0;
        let peer = peer_of(request.extensions());
        let client = client_of(caller.as_ref(), &peer);
        let (pending, max_bytes) = match caller {
            Some(_) => (
                &shared.pending_messages,
                shared.message_bytes.of(request.uri().path()),
            ),
            None => (&shared.open_rpcs, MAX_OPEN_MESSAGE_BYTES),
        };
        let http_call = request.extensions().get::<UnaryCall>().cloned();
        let max_bytes = http_call
            .as_ref()
            .map_or(max_bytes, |call| call.max_body_bytes(max_bytes));
        let body = std::mem::take(request.body_mut());
        let mut message = request_body::read_message(body, max_bytes, pending, client).await?;
        if let Some(call) = &http_call {
            message = call.request_message(&message)?;
        }
        *request.body_mut() = Body::new(Full::new(message));
        let path = request.uri().path();
        if path.ends_with(WATCH_CHANGES) {
            let progress = RequestProgress::ended();
            // Boxed, so that other requests do not reserve its space.
            return Box::pin(self.serve_stream(service, caller, request, progress)).await;
        }
        let _large_response = if has_large_response(path) {
            Some(self.large_response(&peer).await?)
        } else {
            None
        };
        let permit = caller.is_some().then(|| shared.requests.acquire(client));
        let _admitted = (
            permit.transpose()?,
            caller.as_ref().and_then(|_| peer.begin_request()),
        );
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let mut response = call(service, request).await;
        if let Some(call) = http_call {
            response = call.response(response).await;
        }
        Ok(response_body::unary(response, &peer).await)
    }

    /// Serves an RPC whose response is a stream. It keeps its permit until the stream ends.
    async fn serve_stream<S: GrpcService>(
        &self,
        service: &mut S,
        caller: Option<Caller>,
        request: &mut Request<Body>,
        progress: RequestProgress,
    ) -> Result<Response<Body>> {
        let shared = &*self.0;
        let path = request.uri().path();
        let is_endless = path.ends_with(WATCH_CHANGES) || path == HEALTH_WATCH;
        let (limit, kind) = match caller {
            None => (&shared.open_rpcs, StreamKind::Unauthenticated),
            Some(_) if is_endless => (&shared.watches, StreamKind::Changes),
            Some(_) => (&shared.streams, StreamKind::Recipients),
        };
        let peer = peer_of(request.extensions());
        let mut permit = limit.acquire(client_of(caller.as_ref(), &peer))?;
        let mut busy = None;
        if let Some(caller) = &caller {
            request.extensions_mut().insert(caller.clone());
            busy = peer.begin_request();
        } else {
            // Such a stream does nothing but wait for its client, or for a change of health.
            permit.wait_for_client();
        }
        let response = tokio::select! {
            response = call(service, request) => response,
            () = permit.evicted() => return Err(overloaded()),
        };
        let guard = StreamGuard {
            busy,
            peer,
            permit,
            caller: caller.map(|caller| (shared.authenticator.clone(), caller)),
            request: progress,
            is_endless,
            kind,
            max_idle: shared.stream_idle_timeout,
            stopped: shared.stopped.clone(),
        };
        Ok(response.map(|body| guard_stream(body, guard)))
    }

    /// Acquires one of the few permits of RPCs with large responses. Waits until the client has read its
    /// earlier responses, as it could not take another one.
    async fn large_response(&self, peer: &Peer) -> Result<SemaphorePermit<'_>> {
        loop {
            peer.drained().await;
            let permit = self.0.large_responses.acquire().await;
            let permit =
                permit.map_err(|_| Error::internal("the limit of large responses is closed"))?;
            if peer.is_drained() {
                return Ok(permit);
            }
        }
    }
}

/// Calls the service with the request, of which an empty one is left.
async fn call<S: GrpcService>(service: &mut S, request: &mut Request<Body>) -> Response<Body> {
    let Ok(service) = service.ready().await;
    let Ok(response) = service.call(std::mem::take(request)).await;
    response
}

/// Returns the key of the limits per client: the subject of the token, or else the connection.
fn client_of<'a>(caller: Option<&'a Caller>, peer: &'a Peer) -> &'a str {
    caller.map_or(peer.key(), |caller| &caller.actor().0)
}

/// Returns the connection of a request, which the listener adds to its extensions.
pub(super) fn peer_of(extensions: &Extensions) -> Peer {
    let peer = extensions.get::<Peer>().cloned();
    peer.unwrap_or_else(|| Limits::default().response_budget().connect(None))
}
