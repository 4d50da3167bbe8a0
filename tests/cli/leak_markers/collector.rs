//! A trace collector that stores spans as received.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{body::Body, server::NamedService, transport::Server};
use tower::Service;

/// Receives spans by OTLP.
#[derive(Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Vec<u8>>>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<Request<Body>> for Collector {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let spans = Arc::clone(&self.0);
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            spans.lock().unwrap().extend_from_slice(&body);
            let trailers =
                HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), 0.into())]);
            // An empty message.
            let message = Full::new(Bytes::from_static(&[0; 5]));
            let body = message.with_trailers(ready(Some(Ok(trailers))));
            let response = Response::builder().header("content-type", "application/grpc");
            Ok(response.body(Body::new(body)).unwrap())
        })
    }
}

impl Collector {
    /// Starts the collector, and returns its URL as well.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(collector.clone());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    /// Returns everything received.
    pub(super) fn received(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}
