//! Log lines of requests that failed.

use std::sync::LazyLock;

use chrono::TimeDelta;
use tonic::Code;

use super::log_limit::{LogLimit, Rate};
use crate::clock::Clock;

/// The rate of the lines with one reason.
const RATE: Rate = Rate {
    max: 5,
    period: TimeDelta::seconds(1),
};
/// The rate of all lines. There are few reasons, of which few occur at a time.
const TOTAL_RATE: Rate = Rate { max: 50, ..RATE };
const TOKEN_INVALID: &str = "TOKEN_INVALID";

/// Shared by the process, as its log is.
static LIMIT: LazyLock<LogLimit<String>> = LazyLock::new(|| LogLimit::new(RATE, TOTAL_RATE));

/// Logs an error of `method`, without personal data. `suppressed` counts the errors with this reason since
/// its last line; at DEBUG each of them has a line.
pub(super) fn record(method: &str, code: Code, reason: &str, elapsed_ms: u64) {
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
            "request failed"
        );
    } else {
        tracing::debug!(method, ?code, reason, elapsed_ms, "request failed");
    }
}
