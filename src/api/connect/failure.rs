//! Failures as the Connect protocol writes them: an HTTP status, and the gRPC status as JSON.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

use crate::api::contract::DESCRIPTORS;

const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// Returns the response to a failed request.
pub(super) fn failure(status: &Status) -> Response<Body> {
    let (http_status, code) = names(status.code());
    let details = tonic_types::Status::decode(status.details()).unwrap_or_default();
    let details: Vec<Value> = details.details.iter().map(detail).collect();
    let body = json!({"code": code, "message": status.message(), "details": details});
    let mut response = respond(http_status, &body);
    let headers = response.headers_mut();
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let retry = status.get_details_retry_info();
    if let Some(delay) = retry.and_then(|retry| retry.retry_delay) {
        // Whole seconds, and never before the delay is over.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::new(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Returns one detail of a status: its encoding for programs, and its JSON for people.
fn detail(detail: &prost_types::Any) -> Value {
    let name = detail.type_url.strip_prefix(TYPE_URL_PREFIX);
    let name = name.unwrap_or(&detail.type_url);
    let mut json = json!({"type": name, "value": STANDARD_NO_PAD.encode(&detail.value)});
    let debug = DESCRIPTORS.get_message_by_name(name).and_then(|message| {
        let message = DynamicMessage::decode(message, detail.value.as_slice()).ok()?;
        serde_json::to_value(&message).ok()
    });
    if let (Some(debug), Some(json)) = (debug, json.as_object_mut()) {
        json.insert("debug".to_owned(), debug);
    }
    json
}

/// Returns the HTTP status and the name of a code, by the table of the protocol.
fn names(code: Code) -> (StatusCode, &'static str) {
    // 499 has no constant: the client closed the request.
    let client_closed = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    match code {
        Code::Ok => (StatusCode::OK, "ok"),
        Code::Cancelled => (client_closed, "canceled"),
        Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "unknown"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        Code::FailedPrecondition => (StatusCode::BAD_REQUEST, "failed_precondition"),
        Code::Aborted => (StatusCode::CONFLICT, "aborted"),
        Code::OutOfRange => (StatusCode::BAD_REQUEST, "out_of_range"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, "data_loss"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
    }
}
