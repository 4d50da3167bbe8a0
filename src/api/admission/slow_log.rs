//! Log lines of slow requests.

use std::{sync::LazyLock, time::Duration};

use chrono::TimeDelta;

use super::log_limit::{LogLimit, Rate};
use crate::{clock::Clock, observability::request::RequestTimes};

/// The rate of the lines of one RPC.
const RATE: Rate = Rate {
    max: 5,
    period: TimeDelta::seconds(1),
};
/// The rate of all lines. A slow database slows down all RPCs.
const TOTAL_RATE: Rate = Rate { max: 20, ..RATE };

/// Shared by the process, as its log is.
static LIMIT: LazyLock<LogLimit<String>> = LazyLock::new(|| LogLimit::new(RATE, TOTAL_RATE));

/// Logs a slow request of `method`, without personal data. `suppressed` counts the slow requests of the
/// method since its last line. The trace id is that of the current span.
pub(super) fn record(method: &str, elapsed: Duration, times: RequestTimes) {
    if let Some(suppressed) = LIMIT.admit(method, Clock::System.now()) {
        tracing::warn!(
            method,
            elapsed_ms = millis(elapsed),
            database_ms = millis(times.database),
            waiting_ms = millis(times.waiting),
            suppressed,
            "request was slow"
        );
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
