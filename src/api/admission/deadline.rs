//! The deadline of a request: the client's `grpc-timeout`, limited by the server's own timeout.

use std::time::Duration;

use http::HeaderMap;

/// tonic starts its timer for the client's deadline slightly earlier, and answers CANCELLED if that timer
/// expires first. So this one is shorter; under load "slightly" means tens of milliseconds.
const MAX_HEAD_START: Duration = Duration::from_millis(50);

/// Returns how long a request may take until its response begins, at most `max`.
pub(super) fn timeout(headers: &HeaderMap, max: Duration) -> Duration {
    grpc_timeout(headers).map_or(max, |timeout| {
        let head_start = MAX_HEAD_START.min(timeout / 5);
        max.min(timeout.saturating_sub(head_start))
    })
}

/// Parses the client's timeout: up to eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
