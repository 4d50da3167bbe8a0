//! Responses of unary RPCs, and of other protocols than gRPC, which count as unsent until the client has
//! read them.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Collected, Full};
use tonic::{Status, body::Body};

use super::{concurrency_limit::overloaded, peer::Peer};

/// Reads the response of a unary RPC and counts it as unsent until the client has read it. Returns an
/// error response instead if it exceeds the budget of unsent bytes.
pub(crate) async fn unary(response: Response<Body>, peer: &Peer) -> Response<Body> {
    counted(response, peer, |bytes| peer.has_room_for(bytes)).await
}

/// Counts the response of a unary RPC again, whose conversion to gRPC-Web has copied its bytes.
pub(crate) async fn converted(response: Response<Body>, peer: &Peer) -> Response<Body> {
    counted(response, peer, |_| true).await
}

/// Counts the frames of a stream again once they are converted to gRPC-Web. Until then they count as those
/// of gRPC.
pub(crate) fn converted_stream(response: Response<Body>, peer: &Peer) -> Response<Body> {
    let peer = peer.clone();
    response.map(|body| {
        let track = move |data| peer.track_whole(data);
        Body::new(body.map_frame(move |frame| frame.map_data(&track)))
    })
}

/// Counts a rejection in another protocol than gRPC.
pub(crate) async fn rejection(response: Response<Body>, peer: &Peer) -> Response<Body> {
    let (head, body) = response.into_parts();
    // Texts of this process, which cannot fail.
    let body = body.collect().await.map(Collected::to_bytes);
    let body = peer.reject(body.unwrap_or_default());
    Response::from_parts(head, Body::new(Full::new(body)))
}

/// `fits` decides about each part of a response by its size.
async fn counted(
    response: Response<Body>,
    peer: &Peer,
    fits: impl Fn(usize) -> bool,
) -> Response<Body> {
    // An error consists of headers only.
    if response.body().is_end_stream() {
        return response;
    }
    let (head, mut body) = response.into_parts();
    let mut counted = Counted::default();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return status.into_http(),
        };
        match frame.into_data() {
            Ok(data) if fits(data.len()) => {
                counted.append(peer.track(data, None));
            }
            Ok(_) => return Status::from(overloaded()).into_http(),
            Err(trailers) => counted.trailers = trailers.into_trailers().ok(),
        }
    }
    Response::from_parts(head, Body::new(counted))
}

/// A whole body, each piece of which counts as unsent until it is dropped.
#[derive(Default)]
struct Counted {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Counted {
    fn append(&mut self, mut pieces: VecDeque<Bytes>) {
        if self.pieces.is_empty() {
            self.pieces = pieces;
        } else {
            self.pieces.append(&mut pieces);
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = self.pieces.pop_front().map(Frame::data);
        let frame = frame.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }

    /// Becomes the content length, by which clients of HTTP/1.0 notice that the end is missing.
    fn size_hint(&self) -> SizeHint {
        if self.trailers.is_some() {
            return SizeHint::default();
        }
        let bytes = self.pieces.iter().map(Bytes::len).sum::<usize>();
        u64::try_from(bytes).map_or_else(|_| SizeHint::default(), SizeHint::with_exact)
    }
}
