//! Dropped log lines, which the logger counts.

use std::sync::OnceLock;

use metrics::{counter, describe_counter};

const LOG_LINES_DROPPED: &str = "contact_log_lines_dropped_total";

/// The count of the logger, which is set when logging starts.
static COUNT: OnceLock<Box<dyn Fn() -> usize + Send + Sync>> = OnceLock::new();

/// Registers `count`, which returns the number of dropped log lines.
pub fn count_dropped_log_lines(count: impl Fn() -> usize + Send + Sync + 'static) {
    let _ = COUNT.set(Box::new(count));
}

pub(super) fn register() {
    describe_counter!(
        LOG_LINES_DROPPED,
        "Log lines that were dropped because standard error was not read"
    );
    update();
}

pub(super) fn update() {
    let dropped = COUNT.get().map_or(0, |count| count());
    counter!(LOG_LINES_DROPPED).absolute(u64::try_from(dropped).unwrap_or(u64::MAX));
}
