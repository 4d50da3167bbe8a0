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
    guard::{Limits, overloaded, peer_of},
    request_body,
    response_body::{self, StreamGuard},
};
use crate::{error::Error, meters::Limit};

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
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let peer = peer_of(&head);
        let Some(mut permit) = self.rpcs.limit.acquire(&peer.number().to_string()) else {
            let refused = Status::from(overloaded()).into_http();
            return Box::pin(std::future::ready(Ok(refused)));
        };
        // None of them does anything but wait for its client, or for news.
        permit.wait_for_client();
        let (body, request) = request_body::observed(body);
        let answer = self.inner.call(Request::from_parts(head, body));
        let rpcs = self.rpcs.clone();
        Box::pin(async move {
            let response = tokio::select! {
                Ok(response) = answer => response,
                () = tokio::time::sleep(rpcs.call_timeout) => {
                    return Ok(Status::from(Error::Deadline).into_http());
                }
                () = permit.evicted() => return Ok(Status::from(overloaded()).into_http()),
            };
            let guard = StreamGuard {
                busy: None,
                peer,
                permit,
                caller: None,
                request,
                max_idle: rpcs.stream_idle,
                stopped: rpcs.stopped,
            };
            Ok(response.map(|body| response_body::stream(body, guard)))
        })
    }
}
