//! The span of an RPC: part of the client's trace (W3C Trace Context), with the trace id of its log
//! lines.

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, Status, TraceContextExt, TraceState},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SdkTracer},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::request::RequestTrace;

/// Set if spans are exported.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Enables the export of spans.
pub(super) fn enable_export(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

/// Returns the tracer of exported spans.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// An RPC that began.
#[derive(Debug)]
pub struct BegunRpc {
    /// Its span.
    pub span: Span,
    /// The trace id of its log lines.
    pub trace_id: String,
    /// The record of its tasks.
    pub trace: Arc<RequestTrace>,
}

/// Begins the span of an RPC of `method`, such as `contact.v1.ContactService/GetContact`.
pub fn begin(method: &str, headers: &HeaderMap) -> BegunRpc {
    let caller = client_span(headers);
    // At the highest level, so that the filter of log lines does not affect traces.
    if tracer().is_none() {
        let trace_id = caller.map_or_else(
            || RandomIdGenerator::default().new_trace_id(),
            |caller| caller.trace_id(),
        );
        let trace_id = trace_id.to_string();
        return BegunRpc {
            span: tracing::error_span!("rpc", %trace_id),
            trace_id,
            trace: RequestTrace::new(None),
        };
    }
    let span = tracing::error_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        trace_id = Empty
    );
    if let Some(caller) = caller {
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    span.set_attribute("rpc.system.name", "grpc");
    span.set_attribute("rpc.method", method.to_owned());
    let context = span.context();
    let trace_id = context.span().span_context().trace_id().to_string();
    span.record("trace_id", tracing::field::display(&trace_id));
    BegunRpc {
        span,
        trace_id,
        trace: RequestTrace::new(Some(context)),
    }
}

/// Ends the current span with the status `code`; `is_fault` is true for an error of this service.
pub fn end(code: &'static str, is_fault: bool) {
    if tracer().is_none() {
        return;
    }
    let span = Span::current();
    span.set_attribute("rpc.response.status_code", code);
    if is_fault {
        span.set_attribute("error.type", code);
        span.set_status(Status::error(code));
    }
}

/// Returns the client's span with its ids only, as other values could hold anything.
fn client_span(headers: &HeaderMap) -> Option<SpanContext> {
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
    fn only_ids_of_the_client_span_are_used() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let caller = client_span(&headers(text)).unwrap();
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(caller.trace_id().to_string(), trace_id);
        assert_eq!(caller.span_id().to_string(), "b7ad6b7169203331");
        assert!(caller.is_sampled() && caller.is_remote());
        assert_eq!(caller.trace_state().header(), "");
    }

    #[test]
    fn invalid_trace_context_is_ignored() {
        for text in [
            "",
            "max@example.com",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(client_span(&headers(text)).is_none(), "{text}");
        }
        assert!(client_span(&HeaderMap::new()).is_none());
    }
}
