//! Responses of unary RPCs, which count as unsent until the client has read them.

use futures::stream;
use http::Response;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tonic::{Status, body::Body};

use super::{concurrency_limit::overloaded, peer::Peer};

/// Reads the response of a unary RPC and counts it as unsent until the client has read it. Returns an
/// error response instead if it exceeds the budget of unsent bytes.
pub(crate) async fn unary(response: Response<Body>, peer: &Peer) -> Response<Body> {
    // An error consists of headers only.
    if response.body().is_end_stream() {
        return response;
    }
    let (head, mut body) = response.into_parts();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return status.into_http(),
        };
        match frame.into_data() {
            Ok(data) if peer.has_room_for(data.len()) => {
                frames.extend(peer.track(data, None).into_iter().map(Frame::data));
            }
            Ok(_) => return Status::from(overloaded()).into_http(),
            Err(trailers) => frames.push(trailers),
        }
    }
    let frames = stream::iter(frames.into_iter().map(Ok::<_, Status>));
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}
