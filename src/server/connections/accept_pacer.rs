//! The pace at which connections are accepted while each of them evicts another one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(1);
/// One more connection is accepted per interval for each such time in which connections have waited. Long
/// enough to spread a wave of some hundred connections, such as those that were evicted and all return: at
/// once, they occupy the processors for 60 ms. Short enough that good newcomers are accepted during a flood.
const ACCELERATION: Duration = Duration::from_millis(256);

/// Pauses between connections that are accepted.
#[derive(Debug)]
pub(super) struct AcceptPacer {
    /// The last time that no connection waited to be accepted.
    none_waited: Instant,
    /// Connections accepted since the last pause.
    accepted: u128,
}

impl AcceptPacer {
    pub(super) fn new() -> Self {
        Self {
            none_waited: Instant::now(),
            accepted: 0,
        }
    }

    /// Pauses if enough connections were accepted since the last pause. To be called once per connection.
    pub(super) async fn pause(&mut self) {
        self.accepted += 1;
        let more = self.none_waited.elapsed().as_millis() / ACCELERATION.as_millis();
        if self.accepted > more {
            self.accepted = 0;
            sleep(INTERVAL).await;
        }
    }

    /// Makes the pace slow again.
    pub(super) fn none_waits(&mut self) {
        self.none_waited = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn accept(pacer: &mut AcceptPacer, connections: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..connections {
            pacer.pause().await;
        }
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn wave_is_spread_over_time() {
        let mut pacer = AcceptPacer::new();
        // 256 of them in the first 256 ms, then two in each.
        let wave = accept(&mut pacer, 256 + 400).await;
        assert_eq!(wave, Duration::from_millis(256 + 200));
        pacer.none_waits();
        let next = accept(&mut pacer, 100).await;
        assert_eq!(next, Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn pace_becomes_that_of_a_flood() {
        let mut pacer = AcceptPacer::new();
        let flood = accept(&mut pacer, 50_000).await;
        assert!(flood < Duration::from_secs(6), "{flood:?}");
    }
}
