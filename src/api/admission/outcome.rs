//! The outcome of a request in the log, the metrics and the trace.

use std::time::Duration;

use http::Response;
use tonic::{Code, Status, body::Body};

use super::error_log;
use crate::{
    api::{auth::Rpc, status},
    observability::{metrics, rpc_span},
};

/// The method name of requests for unknown RPCs.
const OTHER_METHOD: &str = "_OTHER";

/// Returns the method name for traces and metrics, such as `contact.v1.ContactService/GetContact`.
/// Unknown paths share one name, so that clients cannot create names.
pub(super) fn method_of(rpc: Option<&'static Rpc>) -> &'static str {
    rpc.map_or(OTHER_METHOD, |rpc| &rpc.method)
}

/// Records the current request: one log line, its metrics, and the end of its span. Method, code and
/// reason are no personal data, and nothing else is recorded.
pub(super) fn record_outcome(method: &'static str, response: &Response<Body>, elapsed: Duration) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let code = match response.extensions().get::<Status>() {
        None => {
            tracing::debug!(method, code = "Ok", elapsed_ms, "request completed");
            Code::Ok
        }
        Some(status) => {
            let reason = status::reason_of(status);
            error_log::record(method, status.code(), &reason, elapsed_ms);
            metrics::request_failed(&reason);
            status.code()
        }
    };
    metrics::request_completed(method, status::code_name(code), elapsed);
    rpc_span::end(status::code_name(code), is_fault(code));
}

/// Returns true for codes that OpenTelemetry's conventions count as errors of a server.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
