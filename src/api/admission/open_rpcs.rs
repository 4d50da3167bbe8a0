//! Health and reflection, which need no token: what they may cost is bounded per connection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::sync::watch;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::{
    concurrency_limit::ConcurrencyLimit,
    request_body,
    response_body::{self, StreamGuard},
};
use crate::api::admission::dispatch::{Limits, overloaded, peer_of, served};
use crate::{
    error::{Error, Result},
    observability::metrics::Limit,
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Names of services are shorter by far.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The bounds of all services that need no token. Clones share them.
#[derive(Clone, Debug)]
pub struct OpenRpcs {
    limit: ConcurrencyLimit,
    call_timeout: Duration,
    stream_idle: Duration,
    stopped: watch::Receiver<()>,
}

/// A service that needs no token.
#[derive(Clone, Debug)]
pub struct OpenService<S> {
    inner: S,
    rpcs: OpenRpcs,
}

impl OpenRpcs {
    /// Takes its bounds from `limits`; streams end when `stopped` changes.
    pub fn new(limits: Limits, stopped: watch::Receiver<()>) -> Self {
        Self {
            limit: ConcurrencyLimit::new(
                (limits.open_rpcs, Limit::OpenRpcs),
                (limits.open_rpcs_of_a_connection, Limit::ConnectionOpenRpcs),
            ),
            call_timeout: limits.call_timeout,
            stream_idle: limits.stream_idle,
            stopped,
        }
    }

    /// Bounds a service.
    pub fn bound<S>(&self, inner: S) -> OpenService<S> {
        OpenService {
            inner,
            rpcs: self.clone(),
        }
    }
}

impl<S: NamedService> NamedService for OpenService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for OpenService<S>
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
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone takes the place of the one that was polled ready.
        let successor = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, successor);
        let rpcs = self.rpcs.clone();
        Box::pin(async move {
            let timeout = rpcs.call_timeout;
            let answer = async {
                if request.uri().path() == CHECK {
                    rpcs.serve_message(inner, request).await
                } else {
                    rpcs.serve_stream(inner, request).await
                }
            };
            let answer = tokio::time::timeout(timeout, answer).await;
            let answer = answer.unwrap_or(Err(Error::Deadline));
            Ok(answer.unwrap_or_else(|error| Status::from(error).into_http()))
        })
    }
}

impl OpenRpcs {
    /// Serves an RPC that ends by itself: it costs something only as long as it waits for its client.
    async fn serve_message<S>(self, inner: S, request: Request<Body>) -> Result<Response<Body>>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let (head, body) = request.into_parts();
        let peer = peer_of(&head);
        let client = peer.number().to_string();
        let message = request_body::read_message(body, MAX_MESSAGE_BYTES, &self.limit, &client);
        let request = Request::from_parts(head, message.await?);
        let response = served(inner, request).await;
        Ok(response_body::unary(response, &peer).await)
    }

    async fn serve_stream<S>(self, inner: S, request: Request<Body>) -> Result<Response<Body>>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let (head, body) = request.into_parts();
        let is_endless = head.uri.path() == WATCH;
        let peer = peer_of(&head);
        let permit = self.limit.acquire(&peer.number().to_string());
        let mut permit = permit.ok_or_else(overloaded)?;
        // All that it does is to wait for its client, or for news.
        permit.wait_for_client();
        let (body, request) = request_body::observed(body);
        let response = tokio::select! {
            response = served(inner, Request::from_parts(head, body)) => response,
            () = permit.evicted() => return Err(overloaded()),
        };
        let guard = StreamGuard {
            busy: None,
            peer,
            permit,
            caller: None,
            request,
            is_endless,
            max_idle: self.stream_idle,
            stopped: self.stopped,
        };
        Ok(response.map(|body| response_body::stream(body, guard)))
    }
}
