//! HTTP/1.1 listeners: the confirmation page `/confirm` for customers, and metrics and probes for
//! operators.
//!
//! The token of a confirmation link is in its fragment, so it reaches the server only in the bodies of
//! requests of the page's own script, which are not logged. Mail scanners open links, run scripts and
//! submit forms, so only a press of the button confirms the address (rule 9).

mod brand;
mod link;
mod listener;
mod monitoring;
mod page;
mod router;

pub use self::{
    listener::{ListenerLimits, serve},
    monitoring::monitoring_router,
    router::router,
};
