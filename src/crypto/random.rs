//! The source of randomness, which is passed to all code that needs it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, Result};

/// How far the time of ids may be ahead of a clock that was stopped or set back, in ticks: 10 s.
const MAX_TICKS_AHEAD: u64 = 10_000 << FRACTION_BITS;
/// The number of ticks of a millisecond, as a power of two, limited by the bits of a `UUIDv7`.
const FRACTION_BITS: u32 = 12;

/// The system's secure random number generator. Clones share the last tick.
#[derive(Clone, Debug)]
pub struct Random {
    generator: SystemRandom,
    /// The tick of the last id.
    last_tick: Arc<AtomicU64>,
}

impl Random {
    /// Creates the generator.
    #[allow(
        clippy::disallowed_methods,
        reason = "the only place that creates a generator"
    )]
    pub fn system() -> Self {
        Self {
            generator: SystemRandom::new(),
            last_tick: Arc::default(),
        }
    }

    /// Returns random bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system provides none.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.generator
            .fill(&mut bytes)
            .map_err(|_| Error::internal("the system provides no random bytes"))?;
        Ok(bytes)
    }

    /// Puts the items into a random order (Fisher–Yates).
    ///
    /// # Errors
    /// [`Error::Internal`] if the system provides no random bytes.
    pub fn shuffle<T>(&self, items: &mut [T]) -> Result<()> {
        for last in (1..items.len()).rev() {
            let choices = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            let chosen = u64::from_be_bytes(self.bytes()?) % choices;
            items.swap(usize::try_from(chosen).unwrap_or(last), last);
        }
        Ok(())
    }

    /// Returns a `UUIDv7` for the time `now` that sorts after all previous ones. Fractions of the
    /// millisecond are in its first twelve random bits (RFC 9562, 6.2, method 3).
    ///
    /// # Errors
    /// [`Error::Internal`] if the system provides no random bytes.
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
            if last.saturating_sub(tick) > MAX_TICKS_AHEAD {
                tick
            } else {
                tick.max(last + 1)
            }
        };
        let mut last = self.last_tick.load(Ordering::Relaxed);
        loop {
            let next_tick = next(last);
            let order = Ordering::Relaxed;
            match self
                .last_tick
                .compare_exchange_weak(last, next_tick, order, order)
            {
                Ok(_) => return next_tick,
                Err(current) => last = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ids_are_monotonic_while_the_clock_is_stopped() {
        let random = Random::system();
        let now: DateTime<Utc> = "2026-03-01T09:00:00.5Z".parse().unwrap();
        let ids: Vec<_> = (0..10_000).map(|_| random.uuid_v7(now).unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].get_version_num(), 7);
        let (seconds, nanos) = ids[0].get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), now.timestamp());
        assert_eq!(nanos, 500_000_000);
        // Fractions of a millisecond are included.
        let later = random.uuid_v7(now + TimeDelta::milliseconds(4)).unwrap();
        let same_millisecond = now + TimeDelta::microseconds(4_001);
        assert!(random.uuid_v7(same_millisecond).unwrap() > later);
        assert!(later > ids[9_999]);
    }

    #[test]
    fn shuffle_keeps_the_items_and_moves_each_to_every_place() {
        let random = Random::system();
        let mut seen = [[0; 3]; 3];
        for _ in 0..300 {
            let mut items = [0, 1, 2];
            random.shuffle(&mut items).unwrap();
            for (place, item) in items.into_iter().enumerate() {
                seen[place][item] += 1;
            }
        }
        // A place that is never taken has a probability of (2/3)^300.
        assert!(seen.iter().flatten().all(|times| *times > 0), "{seen:?}");
        assert!(seen.iter().all(|times| times.iter().sum::<i32>() == 300));
    }

    #[test]
    fn ids_follow_a_clock_that_was_set_back_far() {
        let random = Random::system();
        let now: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().unwrap();
        let before = random.uuid_v7(now).unwrap();
        let slightly = random.uuid_v7(now - TimeDelta::seconds(1)).unwrap();
        assert!(slightly > before);
        let far = random.uuid_v7(now - TimeDelta::hours(1)).unwrap();
        assert!(far < before);
    }
}
