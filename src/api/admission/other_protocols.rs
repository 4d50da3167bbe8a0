//! The cost of requests that do not arrive as gRPC: their responses count as unsent after the conversion,
//! and rejections have a body, so that frames do not show them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{dispatch, response_body};
use crate::api::wire::Protocol;

/// Counts the requests that do not arrive as gRPC, and their responses. It is outside of the layer that
/// converts them.
#[derive(Clone, Copy, Debug)]
pub struct OtherProtocolsLayer;

/// The service of [`OtherProtocolsLayer`].
#[derive(Clone, Debug)]
pub struct OtherProtocols<S>(S);

impl<S> Layer<S> for OtherProtocolsLayer {
    type Service = OtherProtocols<S>;

    fn layer(&self, service: S) -> OtherProtocols<S> {
        OtherProtocols(service)
    }
}

impl<S> Service<Request<Body>> for OtherProtocols<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Either<S::Future, Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_http_2 = request.version() == Version::HTTP_2;
        if is_http_2 && Protocol::of(request.headers()) == Protocol::Grpc {
            return Either::Left(self.0.call(request));
        }
        let peer = dispatch::peer_of(request.extensions());
        let is_stream = !dispatch::is_unary(request.uri().path());
        let dispatched = (!is_http_2).then(|| peer.dispatch());
        let response = self.0.call(request);
        Either::Right(Box::pin(async move {
            let response = response.await?;
            drop(dispatched);
            let is_rejected = response.status() != StatusCode::OK
                || response.extensions().get::<Status>().is_some();
            // A rejection in HTTP/2 without a body is counted as a frame.
            if is_rejected && !(is_http_2 && response.body().is_end_stream()) {
                return Ok(response_body::rejection(response, &peer).await);
            }
            if Protocol::of(response.headers()) != Protocol::GrpcWeb {
                return Ok(response);
            }
            Ok(if is_stream {
                response_body::converted_stream(response, &peer)
            } else {
                response_body::converted(response, &peer).await
            })
        }))
    }
}
