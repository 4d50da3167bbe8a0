//! Metrics, logs and traces.

pub mod logging;
pub mod metrics;
pub mod request;
pub mod rpc_span;
pub mod statement;
