//! The pace at which connections are accepted while each of them evicts another one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(1);
/// One more connection is accepted per interval for each such time in which connections waited. Long enough to
/// spread a wave of some hundred connections, such as those that were evicted and all return: at once,
/// they occupy the processors for 60 ms. Short enough that good newcomers are soon accepted in a flood.
const ACCELERATION: Duration = Duration::from_millis(128);
/// Longer times do not count: the pace is slow again some seconds after a flood.
const MAX_WAITED: Duration = Duration::from_secs(4);

/// Pauses between connections that are accepted.
#[derive(Debug)]
pub(super) struct AcceptPacer {
    /// How much longer connections have waited to be accepted than none did.
    waited: Duration,
    last_accept: Instant,
    /// Connections accepted since the last pause.
    accepted: u128,
}

impl AcceptPacer {
    pub(super) fn new() -> Self {
        Self {
            waited: Duration::ZERO,
            last_accept: Instant::now(),
            accepted: 0,
        }
    }

    /// Records an accepted connection, and whether it had waited before.
    pub(super) fn record(&mut self, had_waited: bool) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.last_accept);
        self.last_accept = now;
        self.accepted += 1;
        self.waited = if had_waited {
            MAX_WAITED.min(self.waited + elapsed)
        } else {
            self.waited.saturating_sub(elapsed)
        };
    }

    /// Pauses if enough connections were accepted since the last pause.
    pub(super) async fn pause(&mut self) {
        if self.accepted > self.waited.as_millis() / ACCELERATION.as_millis() {
            self.accepted = 0;
            sleep(INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the time in which waiting connections are accepted.
    async fn accept(pacer: &mut AcceptPacer, connections: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..connections {
            pacer.record(true);
            pacer.pause().await;
        }
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn wave_is_spread_over_time() {
        let mut pacer = AcceptPacer::new();
        // One per millisecond in the first 128 ms, then two.
        let wave = accept(&mut pacer, 128 + 200).await;
        assert_eq!(wave, Duration::from_millis(128 + 100));
        sleep(wave).await;
        pacer.record(false);
        assert_eq!(accept(&mut pacer, 100).await, Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn pace_becomes_that_of_a_flood() {
        let mut pacer = AcceptPacer::new();
        accept(&mut pacer, 100_000).await;
        let flood = accept(&mut pacer, 32_000).await;
        assert_eq!(flood, Duration::from_secs(1));
        sleep(MAX_WAITED).await;
        pacer.record(false);
        assert_eq!(accept(&mut pacer, 100).await, Duration::from_millis(100));
    }
}
