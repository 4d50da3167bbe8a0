//! Responses of unary RPCs, and of other protocols than gRPC, which count as unsent until the client has
//! read them.

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, header::CONTENT_LENGTH};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Collected, Full, StreamBody};
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
    let (mut head, mut body) = response.into_parts();
    let mut frames: Vec<Frame<Bytes>> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return status.into_http(),
        };
        match frame.into_data() {
            Ok(data) if fits(data.len()) => {
                frames.extend(peer.track(data, None).into_iter().map(Frame::data));
            }
            Ok(_) => return Status::from(overloaded()).into_http(),
            Err(trailers) => frames.push(trailers),
        }
    }
    if frames.iter().all(Frame::is_data) {
        // Clients of HTTP/1.0 would not notice that the end is missing.
        let bytes: usize = frames
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    let frames = stream::iter(frames.into_iter().map(Ok::<_, Status>));
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}
