//! The context that the errors of a request contain besides their cause: the language of their texts, and
//! the trace.
//!
//! Errors become statuses in many places, none of which has the request at hand, so its context goes with
//! the task. A task that is spawned for the request inherits it by [`inherit`].

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use tokio::task::futures::TaskLocalFuture;

use crate::localization::Language;

tokio::task_local! {
    static CONTEXT: RequestContext;
}

/// The context of a request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The language that the metadata `accept-language` prefers.
    pub(super) language: Language,
    /// The trace id of the request's log lines; `None` for requests without a span.
    pub(super) trace_id: Option<String>,
}

impl RequestContext {
    /// Creates the context of a request. The language is English by default.
    pub(super) fn new(headers: &HeaderMap, trace_id: Option<String>) -> Self {
        let accepted = headers.get(ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        Self {
            language: Language::preferred(accepted, Language::English),
            trace_id,
        }
    }

    /// Returns the context of the current request; English without a trace outside of requests.
    pub(super) fn current() -> Self {
        let current = CONTEXT.try_with(Self::clone);
        current.unwrap_or(Self {
            language: Language::English,
            trace_id: None,
        })
    }

    /// Runs a function in this context.
    pub(super) fn sync_scope<T>(self, run: impl FnOnce() -> T) -> T {
        CONTEXT.sync_scope(self, run)
    }

    /// Runs a future in this context.
    pub(super) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        CONTEXT.scope(self, future)
    }
}

/// Returns a future that runs in the context of the current request, for a task of its own.
pub(super) fn inherit<F: Future>(future: F) -> TaskLocalFuture<RequestContext, F> {
    RequestContext::current().scope(future)
}
