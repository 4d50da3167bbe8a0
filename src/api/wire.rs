//! Forms of gRPC on the wire that several layers recognize.

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

/// The prefix of a gRPC message: a flag and a length.
pub(super) const PREFIX_BYTES: usize = 5;

/// The protocol of a message, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    GrpcWeb,
    Other,
}

impl Protocol {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE);
        let content_type = content_type.map_or(&[][..], HeaderValue::as_bytes);
        if content_type.starts_with(b"application/grpc-web") {
            Self::GrpcWeb
        } else if content_type.starts_with(b"application/grpc") {
            Self::Grpc
        } else {
            Self::Other
        }
    }
}

/// Returns the content type without its parameters; `?` if it is no text.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.map_or("", |value| value.to_str().unwrap_or("?"));
    let media_type = content_type.split(';').next();
    media_type.unwrap_or_default().trim()
}
