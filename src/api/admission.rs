//! Admission: decides for every request whether, when and for how long it is served.
//!
//! [`dispatch`] authorizes a request, reads its message, waits for a permit and calls the service.
//! The other files own one limit each, or a log of what was rejected.

pub(in crate::api) mod concurrency_limit;
pub mod dispatch;
pub(in crate::api) mod limits;
pub(in crate::api) mod log_limit;
pub mod open_rpcs;
pub mod peer;
pub(in crate::api) mod rejection_log;
pub(in crate::api) mod request_body;
pub(in crate::api) mod response_body;
pub(in crate::api) mod security_log;
