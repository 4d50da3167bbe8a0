//! HTTP/1.1 listeners with limits of connections and time. Each listener has its own limits, so that a
//! flood on one does not affect the others.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http_body_util::LengthLimitError;
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    connection_limit::{ConnectionLimit, ConnectionPermit},
    observability::metrics::{Limit, limit_hit},
};

const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Maximum size of a request body. The JSON with the token of a link is far smaller.
const MAX_BODY_BYTES: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of one listener.
#[derive(Clone, Debug)]
pub struct ListenerLimits {
    /// Maximum number of open connections. Beyond it, a newcomer evicts another connection.
    pub connections: usize,
    /// Maximum number of newcomers that wait while no connection can be evicted.
    pub waiting: usize,
    /// Time to receive the head of a request, also of the next one on the same connection.
    pub head_timeout: Duration,
    /// Time to receive the body of a request, and the same again to handle it.
    pub request_timeout: Duration,
    /// Age at which a connection is closed once its request in progress is complete.
    pub connection_lifetime: Duration,
    /// The label under which evicted connections are counted.
    pub metric: Limit,
}

impl ListenerLimits {
    /// Returns the limits of the confirmation page in a process with up to `max_connections`.
    pub fn page(max_connections: u64) -> Self {
        Self::new(Limit::PageConnections, share(max_connections / 4, 512))
    }

    /// Returns the limits of probes and metrics in a process with up to `max_connections`.
    pub fn monitoring(max_connections: u64) -> Self {
        Self::new(Limit::ProbeConnections, share(max_connections / 8, 512))
    }

    fn new(metric: Limit, connections: usize) -> Self {
        Self {
            connections,
            waiting: connections / 2,
            head_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            // Loading the page and pressing its button take a second each; a later request may open
            // another connection.
            connection_lifetime: Duration::from_secs(20),
            metric,
        }
    }

    /// Returns the maximum number of file descriptors of the listener.
    pub fn descriptors(&self) -> usize {
        self.connections + self.waiting
    }
}

/// Returns the number of connections of a listener that may use `descriptors`, including newcomers that
/// wait.
fn share(descriptors: u64, max: usize) -> usize {
    let share = usize::try_from(descriptors).unwrap_or(usize::MAX) / 3 * 2;
    share.clamp(2, max)
}

/// Serves `router` until `stop` resolves, then completes the requests in progress. The router must be
/// one of [`read_bodies`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ListenerLimits,
    stop: impl Future<Output = ()>,
) {
    let limit = ConnectionLimit::new(limits.connections, limits.waiting, limits.metric);
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            // Usually temporary, for example if no file descriptors are left.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (limit, limits) = (limit.clone(), limits.clone());
        let (router, mut stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            let permit = tokio::select! {
                permit = limit.admit(peer.ip()) => permit,
                _ = stopped.changed() => None,
            };
            if let Some(permit) = permit {
                serve_connection(stream, permit, router, &limits, stopped).await;
            }
        });
    }
    // New connections are rejected at once, so that clients use another instance.
    drop(listener);
    drop(stopping);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(
    stream: TcpStream,
    permit: ConnectionPermit,
    router: Router,
    limits: &ListenerLimits,
    mut stopped: watch::Receiver<()>,
) {
    let permit = Arc::new(permit);
    let router = TowerToHyperService::new(router);
    let (shared_permit, request_timeout) = (Arc::clone(&permit), limits.request_timeout);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let permit = Arc::clone(&shared_permit);
        let extensions = request.extensions_mut();
        extensions.insert(RequestContext {
            permit,
            request_timeout,
        });
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Errors of a connection are the client's.
    tokio::select! {
        _ = &mut connection => return,
        () = permit.close_signal().sent() => {
            if !permit.is_busy() {
                return;
            }
        }
        _ = stopped.changed() => {}
        () = tokio::time::sleep(limits.connection_lifetime) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_RESPONSE_TIMEOUT, connection).await;
}

/// The connection of a request, as one of its extensions.
#[derive(Clone)]
struct RequestContext {
    permit: Arc<ConnectionPermit>,
    request_timeout: Duration,
}

/// Makes `router` read the whole body of a request, in time, before it handles the request. Until then the
/// connection may be evicted.
pub(super) fn read_bodies<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(read_body))
}

async fn read_body(request: Request, next: Next) -> Response {
    let Some(context) = request.extensions().get::<RequestContext>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (parts, body) = request.into_parts();
    let body = match timeout(context.request_timeout, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Body::from(body),
        Ok(Err(error)) => {
            let is_too_large = error
                .source()
                .is_some_and(<dyn Error>::is::<LengthLimitError>);
            let status = if is_too_large {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            return status.into_response();
        }
        Err(_) => {
            limit_hit(Limit::SlowBodies);
            return StatusCode::REQUEST_TIMEOUT.into_response();
        }
    };
    let _busy = context.permit.busy();
    let handled = next.run(Request::from_parts(parts, body));
    timeout(context.request_timeout, handled)
        .await
        .unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
