//! Admission control: authorization, deadlines and limits of every request.
//!
//! [`dispatch`] authorizes a request, reads its message, acquires a permit and calls the service. Each of
//! the other files owns one limit, or a log of rejected requests.

mod authorize;
mod concurrency_limit;
mod deadline;
mod dispatch;
mod encoding;
pub(crate) mod error_details;
mod error_log;
mod limits;
pub(crate) mod log_limit;
mod other_protocols;
mod outcome;
mod peer;
mod request_body;
mod response_body;
pub(crate) mod security_log;
mod slow_log;
mod stream_guard;

pub use self::{
    dispatch::{Admission, AdmissionService, MessageBytes},
    limits::Limits,
    other_protocols::OtherProtocolsLayer,
    peer::{Peer, ResponseBudget},
};
