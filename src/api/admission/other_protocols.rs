//! Requests that do not arrive as gRPC: JSON over HTTP and gRPC-Web. Their responses count as unsent after
//! the conversion, and rejections have a body, so that frames do not show them.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, Either};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    dispatch,
    peer::{Dispatched, Peer},
    response_body,
};
use crate::api::{connect, wire::Protocol};

/// Adds JSON over HTTP and gRPC-Web to a router of gRPC services. Counts the requests that do not arrive as
/// gRPC, and their responses.
#[derive(Clone, Copy, Debug)]
pub struct OtherProtocolsLayer {
    /// False serves gRPC only.
    pub is_enabled: bool,
}

/// The service of [`OtherProtocolsLayer`].
#[derive(Clone, Debug)]
pub struct OtherProtocols<S> {
    grpc: S,
    is_enabled: bool,
}

impl<S> Layer<S> for OtherProtocolsLayer {
    type Service = OtherProtocols<S>;

    fn layer(&self, grpc: S) -> OtherProtocols<S> {
        OtherProtocols {
            grpc,
            is_enabled: self.is_enabled,
        }
    }
}

impl<S> Service<Request<Body>> for OtherProtocols<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.grpc.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        if protocol == Protocol::Grpc && request.version() == Version::HTTP_2 {
            return Either::Left(self.grpc.call(request));
        }
        let counted = CountedRequest::begin(&request);
        let response = connect::call(&mut self.grpc, self.is_enabled, protocol, request);
        let response = async move { Ok(counted.end(response.await?).await) };
        Either::Right(Box::pin(response))
    }
}

/// A request that has no response yet.
struct CountedRequest {
    peer: Peer,
    is_http_2: bool,
    is_stream: bool,
    dispatched: Option<Dispatched>,
}

impl CountedRequest {
    /// Counts a request, before it is converted.
    fn begin(request: &Request<Body>) -> Self {
        let peer = dispatch::peer_of(request.extensions());
        let is_http_2 = request.version() == Version::HTTP_2;
        Self {
            is_http_2,
            is_stream: !dispatch::is_unary(request.uri().path()),
            dispatched: (!is_http_2).then(|| peer.dispatch()),
            peer,
        }
    }

    /// Counts the response, once it is converted.
    async fn end(self, response: Response<Body>) -> Response<Body> {
        drop(self.dispatched);
        let is_rejected =
            response.status() != StatusCode::OK || response.extensions().get::<Status>().is_some();
        // A rejection in HTTP/2 without a body is counted as a frame.
        if is_rejected && !(self.is_http_2 && response.body().is_end_stream()) {
            return response_body::rejection(response, &self.peer).await;
        }
        if Protocol::of(response.headers()) != Protocol::GrpcWeb {
            return response;
        }
        if self.is_stream {
            response_body::converted_stream(response, &self.peer)
        } else {
            response_body::converted(response, &self.peer).await
        }
    }
}
