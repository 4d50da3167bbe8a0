//! The span of a call: part of its caller's trace (W3C Trace Context), and what log lines
//! tell the trace by.

use std::sync::OnceLock;

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, Status, TraceContextExt, TraceId, TraceState},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Set once spans go anywhere but into log lines.
static EXPORTED: OnceLock<()> = OnceLock::new();

/// Spans are exported from now on.
pub(crate) fn are_exported() {
    let _ = EXPORTED.set(());
}

/// The span of a call of `method`, such as `contact.v1.ContactService/GetContact`.
pub fn begin(method: &str, headers: &HeaderMap) -> Span {
    let caller = caller_of(headers);
    // Of the highest level: what is logged does not decide what is traced.
    if EXPORTED.get().is_none() {
        let trace_id = caller.map_or_else(
            || RandomIdGenerator::default().new_trace_id(),
            |caller| caller.trace_id(),
        );
        return tracing::error_span!("call", %trace_id);
    }
    let span = tracing::error_span!(
        "call",
        otel.name = method,
        otel.kind = "server",
        trace_id = Empty
    );
    if let Some(caller) = caller {
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    span.set_attribute("rpc.system.name", "grpc");
    span.set_attribute("rpc.method", method.to_owned());
    let trace_id: TraceId = span.context().span().span_context().trace_id();
    span.record("trace_id", tracing::field::display(trace_id));
    span
}

/// The call was answered with the status `code`, which `is_fault` says is this service's doing.
pub fn end(span: &Span, code: &'static str, is_fault: bool) {
    if EXPORTED.get().is_none() {
        return;
    }
    span.set_attribute("rpc.response.status_code", code);
    if is_fault {
        span.set_attribute("error.type", code);
        span.set_status(Status::error(code));
    }
}

/// The span that called, of which nothing is taken over but its ids: what else callers
/// send could be anything.
fn caller_of(headers: &HeaderMap) -> Option<SpanContext> {
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    let caller = context.span().span_context().clone();
    caller.is_valid().then(|| {
        let (trace_id, span_id) = (caller.trace_id(), caller.span_id());
        let flags = caller.trace_flags();
        SpanContext::new(trace_id, span_id, flags, true, TraceState::default())
    })
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        headers.insert("tracestate", "secret=max@example.com".parse().unwrap());
        headers
    }

    #[test]
    fn the_ids_of_the_caller_are_taken_over_and_nothing_else() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let caller = caller_of(&headers(text)).unwrap();
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(caller.trace_id().to_string(), trace_id);
        assert_eq!(caller.span_id().to_string(), "b7ad6b7169203331");
        assert!(caller.is_sampled() && caller.is_remote());
        assert_eq!(caller.trace_state().header(), "");
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for text in [
            "",
            "max@example.com",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(caller_of(&headers(text)).is_none(), "{text}");
        }
        assert!(caller_of(&HeaderMap::new()).is_none());
    }
}
