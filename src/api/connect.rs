//! Unary RPCs over plain HTTP in JSON, and gRPC-Web, on the gRPC port.
//!
//! The unary form of the Connect protocol (<https://connectrpc.com/docs/protocol>): `POST` to the path of
//! the RPC, with a message in JSON or Protobuf as the body. A request becomes a gRPC request before
//! admission control, and a failed response becomes JSON after it. [`UnaryCall`] converts the messages
//! in between, once the caller is authorized and the size is checked.

mod failure;
mod unary_call;

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, TE},
};
use tonic::{Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service};

use self::failure::failure;
pub(super) use self::unary_call::UnaryCall;
use super::{
    request_context::RequestContext,
    wire::{Protocol, media_type},
};
use crate::error::{Error, Violation};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROTOCOL_VERSION: &str = "connect-protocol-version";
const TIMEOUT: &str = "connect-timeout-ms";
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// Headers that describe the body of the original request, or ask for encodings of gRPC messages.
const DROPPED_HEADERS: [&str; 6] = [
    "connection",
    "content-length",
    "grpc-accept-encoding",
    "grpc-encoding",
    GRPC_TIMEOUT,
    "transfer-encoding",
];
const USAGE: &str = "This port serves gRPC and gRPC-Web, and unary RPCs over HTTP:\n\
    POST /contact.v1.ContactService/METHOD\n\
    content-type: application/json\n\
    authorization: Bearer TOKEN\n";

/// The response to a request that no RPC can serve.
type Rejection = Box<Response<Body>>;

/// Calls the gRPC service with a request that did not arrive as gRPC over HTTP/2. Unless `is_enabled`, JSON
/// over HTTP and gRPC-Web are not served.
pub(super) fn call<S>(
    grpc: &mut S,
    is_enabled: bool,
    protocol: Protocol,
    mut request: Request<Body>,
) -> BoxFuture<'static, Result<Response<Body>, Infallible>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let prepared = match protocol {
        Protocol::Grpc => Err(usage(StatusCode::HTTP_VERSION_NOT_SUPPORTED).into()),
        Protocol::GrpcWeb if is_enabled => {
            return Box::pin(GrpcWebLayer::new().layer(grpc).call(request));
        }
        Protocol::GrpcWeb => Err(usage(StatusCode::UNSUPPORTED_MEDIA_TYPE).into()),
        Protocol::Other if is_enabled => {
            let context = RequestContext::new(request.headers(), None);
            context.sync_scope(|| to_grpc(&mut request))
        }
        Protocol::Other => return Box::pin(grpc.call(request)),
    };
    if let Err(response) = prepared {
        return Box::pin(std::future::ready(Ok(*response)));
    }
    let response = grpc.call(request);
    Box::pin(async move { Ok(from_grpc(response.await?)) })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.map_or("", |value| value.to_str().unwrap_or("?"))
}

/// Makes a request of the Connect protocol a gRPC request, whose body remains to be converted by the
/// [`UnaryCall`] among its extensions. Returns the response to a request that no RPC can serve.
fn to_grpc(request: &mut Request<Body>) -> Result<(), Rejection> {
    let Some(rpc) = unary_call::rpc_at(request.uri().path()) else {
        return Err(usage(StatusCode::NOT_FOUND).into());
    };
    if request.method() != Method::POST {
        let mut response = usage(StatusCode::METHOD_NOT_ALLOWED);
        let allowed = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, allowed);
        return Err(response.into());
    }
    let Some(call) = UnaryCall::new(rpc, media_type(request.headers())) else {
        return Err(usage(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    };
    if call.is_streaming() {
        let name = call.rpc_name();
        let text = format!("{name} is a stream: call it over gRPC");
        return Err(unimplemented(text).into());
    }
    let headers = request.headers_mut();
    if !matches!(text_of(headers, CONTENT_ENCODING.as_str()), "" | "identity") {
        let mut response = unimplemented(format!("{CONTENT_ENCODING}: must be identity"));
        let supported = HeaderValue::from_static("identity");
        response.headers_mut().insert(ACCEPT_ENCODING, supported);
        return Err(response.into());
    }
    if !matches!(text_of(headers, PROTOCOL_VERSION), "" | "1") {
        return Err(unimplemented(format!("{PROTOCOL_VERSION}: must be 1")).into());
    }
    let timeout = grpc_timeout(headers)?;
    for dropped in DROPPED_HEADERS {
        headers.remove(dropped);
    }
    headers.extend(timeout.map(|timeout| (http::HeaderName::from_static(GRPC_TIMEOUT), timeout)));
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request.extensions_mut().insert(call);
    Ok(())
}

/// Converts the timeout of a request: up to 10 digits of milliseconds. `grpc-timeout` has at most 8; a
/// longer time is beyond the limit of the server anyway.
fn grpc_timeout(headers: &HeaderMap) -> Result<Option<HeaderValue>, Rejection> {
    let timeout = text_of(headers, TIMEOUT);
    if timeout.is_empty() {
        return Ok(None);
    }
    let is_valid = timeout.len() <= 10 && timeout.bytes().all(|digit| digit.is_ascii_digit());
    if !is_valid {
        let error = Error::invalid_field(TIMEOUT, Violation::NotATimeout);
        return Err(failure(&Status::from(error)).into());
    }
    let timeout = Some(timeout).filter(|timeout| timeout.len() <= 8);
    Ok(timeout.and_then(|timeout| HeaderValue::try_from(format!("{timeout}m")).ok()))
}

fn unimplemented(message: String) -> Response<Body> {
    let status = Status::from(Error::Unimplemented);
    let details = Bytes::copy_from_slice(status.details());
    failure(&Status::with_details(status.code(), message, details))
}

/// Returns the response to a request that became a gRPC request. The body of a success is converted
/// already.
fn from_grpc(response: Response<Body>) -> Response<Body> {
    let Some(status) = response.extensions().get::<Status>() else {
        return response;
    };
    let mut converted = failure(status);
    let headers = response.headers().iter();
    let of_http = headers.filter(|(name, _)| {
        *name != CONTENT_TYPE && !name.as_str().starts_with("grpc-") && *name != "content-length"
    });
    let of_http = of_http.map(|(name, value)| (name.clone(), value.clone()));
    converted.headers_mut().extend(of_http);
    converted
}

/// Returns a response for people that explains what this port serves.
fn usage(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(USAGE.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN_TEXT);
    response
}
