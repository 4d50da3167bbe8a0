//! Randomness, handed in: nothing else in this crate makes any.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, Result};

/// How far ids may run ahead of a clock that stands still or was set back, in ticks: 10 s.
const MOST_AHEAD: u64 = 10_000 << FRACTION_BITS;
/// A millisecond has so many ticks, as a power of two: what a `UUIDv7` has room for.
const FRACTION_BITS: u32 = 12;

/// Where random bytes come from: the system's secure generator. Clones share the ticks.
#[derive(Clone, Debug)]
pub struct Random {
    generator: SystemRandom,
    /// The tick of the last id.
    last_tick: Arc<AtomicU64>,
}

impl Random {
    /// The system's secure generator.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that makes a generator"
    )]
    pub fn system() -> Self {
        Self {
            generator: SystemRandom::new(),
            last_tick: Arc::default(),
        }
    }

    /// Fresh random bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has none.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.generator
            .fill(&mut bytes)
            .map_err(|_| Error::internal("the system gives no random bytes"))?;
        Ok(bytes)
    }

    /// A fresh `UUIDv7` of the time `now`, behind all that were made before: parts of the
    /// millisecond stand in its first twelve random bits (RFC 9562, 6.2, method 3).
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no random bytes.
    pub fn uuid_v7(&self, now: DateTime<Utc>) -> Result<Uuid> {
        let tick = self.next_tick(now);
        let [.., high, low] = tick.to_be_bytes();
        let mut random: [u8; 10] = self.bytes()?;
        let [first, second, ..] = &mut random;
        (*first, *second) = (high, low);
        let millis = tick >> FRACTION_BITS;
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    fn next_tick(&self, now: DateTime<Utc>) -> u64 {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let nanos = u64::from(now.timestamp_subsec_nanos() % 1_000_000);
        let tick = (millis << FRACTION_BITS) + (nanos << FRACTION_BITS) / 1_000_000;
        let next = |last: u64| {
            if last.saturating_sub(tick) > MOST_AHEAD {
                tick
            } else {
                tick.max(last + 1)
            }
        };
        let mut last = self.last_tick.load(Ordering::Relaxed);
        loop {
            let made = next(last);
            let order = Ordering::Relaxed;
            match self
                .last_tick
                .compare_exchange_weak(last, made, order, order)
            {
                Ok(_) => return made,
                Err(other) => last = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ids_follow_one_another_also_while_the_clock_stands_still() {
        let random = Random::system();
        let now: DateTime<Utc> = "2026-03-01T09:00:00.5Z".parse().unwrap();
        let ids: Vec<_> = (0..10_000).map(|_| random.uuid_v7(now).unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].get_version_num(), 7);
        let (seconds, nanos) = ids[0].get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), now.timestamp());
        assert_eq!(nanos, 500_000_000);
        // Parts of a millisecond count.
        let later = random.uuid_v7(now + TimeDelta::milliseconds(4)).unwrap();
        let same_millisecond = now + TimeDelta::microseconds(4_001);
        assert!(random.uuid_v7(same_millisecond).unwrap() > later);
        assert!(later > ids[9_999]);
    }

    #[test]
    fn a_clock_that_was_set_back_far_is_followed() {
        let random = Random::system();
        let now: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().unwrap();
        let before = random.uuid_v7(now).unwrap();
        let slightly = random.uuid_v7(now - TimeDelta::seconds(1)).unwrap();
        assert!(slightly > before);
        let far = random.uuid_v7(now - TimeDelta::hours(1)).unwrap();
        assert!(far < before);
    }
}
