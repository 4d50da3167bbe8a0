//! Serving HTTP/1.1 with limits on connections and on their time. Each listener has limits and
//! places of its own, so that a flood on one of them does not concern the others.

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

const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The token of a link and its braces are shorter by far.
const MAX_BODY_BYTES: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of one listener may cost.
#[derive(Clone, Debug)]
pub struct ListenerLimits {
    /// Open connections. Beyond them one makes room for each newcomer.
    pub connections: usize,
    /// Newcomers that wait while no connection can make room.
    pub waiting: usize,
    /// Time for the head of a request, also of the next one on the same connection.
    pub head_timeout: Duration,
    /// Time for the body of a request, and as much again for its handling.
    pub request_timeout: Duration,
    /// Age at which a connection is closed after its request in progress.
    pub connection_lifetime: Duration,
    /// The name under which connections that had to go are counted.
    pub counted_as: Limit,
}

impl ListenerLimits {
    /// Returns the limits of the confirmation page, for a process that may hold `max_connections`
    /// in total.
    pub fn page(max_connections: u64) -> Self {
        Self::of(Limit::PageConnections, share(max_connections / 4, 512))
    }

    /// Returns the limits of probes and metrics, for a process that may hold `max_connections` in
    /// total.
    pub fn monitoring(max_connections: u64) -> Self {
        Self::of(Limit::ProbeConnections, share(max_connections / 8, 512))
    }

    fn of(counted_as: Limit, connections: usize) -> Self {
        Self {
            connections,
            waiting: connections / 2,
            head_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            // A page is loaded and its button pressed within a second each; the next request may
            // have a connection of its own.
            connection_lifetime: Duration::from_secs(20),
            counted_as,
        }
    }

    /// Returns how many file descriptors the listener's connections may take.
    pub fn descriptors(&self) -> usize {
        self.connections + self.waiting
    }
}

/// The connections of a listener that may take `descriptors`, with those that wait.
fn share(descriptors: u64, max: usize) -> usize {
    let share = usize::try_from(descriptors).unwrap_or(usize::MAX) / 3 * 2;
    share.clamp(2, max)
}

/// Serves `router` until `stop` ends, then completes the requests in progress. The router is to be
/// one of [`read_bodies`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ListenerLimits,
    stop: impl Future<Output = ()>,
) {
    let places = ConnectionLimit::new(limits.connections, limits.waiting, limits.counted_as);
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
            // No file descriptor is left, for example: it passes.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (places, limits) = (places.clone(), limits.clone());
        let (router, mut stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            let permit = tokio::select! {
                permit = places.admit(peer.ip()) => permit,
                _ = stopped.changed() => None,
            };
            if let Some(permit) = permit {
                serve_connection(stream, permit, router, &limits, stopped).await;
            }
        });
    }
    // New connections are refused at once, and go to another instance.
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
        extensions.insert(Inbound {
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
    // How a connection ends concerns its client alone.
    tokio::select! {
        _ = &mut connection => return,
        () = permit.evicted() => {
            if !permit.is_busy() {
                return;
            }
        }
        _ = stopped.changed() => {}
        () = tokio::time::sleep(limits.connection_lifetime) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER_TIMEOUT, connection).await;
}

/// What a request knows of its connection.
#[derive(Clone)]
struct Inbound {
    permit: Arc<ConnectionPermit>,
    request_timeout: Duration,
}

/// Adds to `router` that a request is handled when its body is there as a whole, and answered in
/// time. Until then its connection may make room for another.
pub(super) fn read_bodies<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(read_body))
}

async fn read_body(request: Request, next: Next) -> Response {
    let Some(inbound) = request.extensions().get::<Inbound>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (parts, body) = request.into_parts();
    let body = match timeout(inbound.request_timeout, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Body::from(body),
        Ok(Err(error)) => {
            let is_too_large = error
                .source()
                .is_some_and(<dyn Error>::is::<LengthLimitError>);
            let (too_large, broken) = (StatusCode::PAYLOAD_TOO_LARGE, StatusCode::BAD_REQUEST);
            return if is_too_large { too_large } else { broken }.into_response();
        }
        Err(_) => {
            limit_hit(Limit::SlowBodies);
            return StatusCode::REQUEST_TIMEOUT.into_response();
        }
    };
    let _busy = inbound.permit.busy();
    let handled = next.run(Request::from_parts(parts, body));
    timeout(inbound.request_timeout, handled)
        .await
        .unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
