//! The encodings (compressions) of messages that the server supports.

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tonic::{Status, body::Body};

use crate::error::Error;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The supported encodings. Compression reveals no secret by the length of a response: no response
/// combines a secret with text that another party chose.
const ENCODINGS: &str = "identity,gzip";

/// Returns true if the messages of the request have a supported encoding.
pub(super) fn is_supported(headers: &HeaderMap) -> bool {
    let encoding = headers.get(ENCODING);
    encoding.is_none_or(|encoding| ENCODINGS.split(',').any(|supported| encoding == supported))
}

/// Returns the response to an unsupported encoding. It lists the supported ones, as gRPC's specification
/// of compression requires.
pub(super) fn unsupported() -> Response<Body> {
    let mut response: Response<Body> = Status::from(Error::Unimplemented).into_http();
    let encodings = HeaderValue::from_static(ENCODINGS);
    response.headers_mut().insert(ACCEPT_ENCODING, encodings);
    response
}
