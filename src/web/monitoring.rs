//! Metrics and probes for operators.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE},
    routing::get,
};

use crate::observability::metrics::Metrics;

/// The text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the routes `/metrics`, `/livez`, and `/readyz`, which responds with 503 while `is_ready` is
/// not set.
pub fn monitoring_router(metrics: Metrics, is_ready: Arc<AtomicBool>) -> Router {
    let metrics = move || async move {
        let content_type = HeaderValue::from_static(PROMETHEUS_TEXT);
        (
            HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            metrics.render(),
        )
    };
    let ready = move || async move {
        if is_ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(ready));
    super::listener::read_bodies(routes)
}
