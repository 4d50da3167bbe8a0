//! Log lines about requests that were answered with an error.

use std::sync::LazyLock;

use chrono::TimeDelta;
use tonic::Code;

use crate::{
    api::admission::log_limit::{LogLimit, Rate},
    clock::Clock,
};

/// Of one reason.
const RATE: Rate = Rate {
    most: 5,
    within: TimeDelta::seconds(1),
};
/// There are few reasons, of which few occur at a time.
const ALL: Rate = Rate { most: 50, ..RATE };
const TOKEN_INVALID: &str = "TOKEN_INVALID";

/// Of this process, as standard error is.
static LIMIT: LazyLock<LogLimit<String>> = LazyLock::new(|| LogLimit::new(RATE, ALL));

/// Logs an error of `method` with what names no person. `suppressed` counts the errors of this
/// reason since its last line; at DEBUG they have lines of their own.
pub(in crate::api) fn record(method: &str, code: Code, reason: &str, elapsed_ms: u64) {
    // Rejected tokens are logged with their cause already.
    let admitted = (reason != TOKEN_INVALID)
        .then(|| LIMIT.admit(reason, Clock::System.now()))
        .flatten();
    if let Some(suppressed) = admitted {
        tracing::info!(
            method,
            ?code,
            reason,
            elapsed_ms,
            suppressed,
            "call refused"
        );
    } else {
        tracing::debug!(method, ?code, reason, elapsed_ms, "call refused");
    }
}
