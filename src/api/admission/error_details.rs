//! Error details of the statuses that tonic creates itself.

use http::Response;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

use crate::error::{Error, Violation};

/// Adds a reason to a status without one. tonic creates these for bytes that are no message and for
/// messages that are too long, also once decompressed, some with codes that blame the server.
pub(crate) fn with_reason(status: Status) -> Status {
    if status.get_details_error_info().is_some() {
        return status;
    }
    let too_long = || Error::invalid_field("request", Violation::RequestTooLarge);
    let reasons = [
        (
            Code::Internal,
            Error::invalid_field("request", Violation::NotAMessage),
        ),
        (Code::OutOfRange, too_long()),
        (Code::ResourceExhausted, too_long()),
        (Code::Unimplemented, Error::Unimplemented),
    ];
    let code = status.code();
    let with_reason = reasons.into_iter().find(|(original, _)| *original == code);
    with_reason.map_or(status, |(_, error)| error.into())
}

/// Adds a reason to the response of a failed request without one.
pub(super) fn response_with_reason(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>() {
        Some(status) if status.get_details_error_info().is_none() => {
            with_reason(status.clone()).into_http()
        }
        Some(_) | None => response,
    }
}
