//! Rate limits of log lines and audit events, so that a flood of requests does not flood the log or the
//! database. Suppressed events are counted.

use std::{
    borrow::ToOwned,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::{Equivalent, sync::Cache};

/// Maximum number of keys with counts of their own; counts of keys that are used rarely are dropped.
const MAX_KEYS: usize = 1024;

/// A maximum number of events within a period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) max: u32,
    /// Begins with the first event.
    pub(crate) period: TimeDelta,
}

/// Limits events by a rate per key and a rate of all keys together.
pub(crate) struct LogLimit<K> {
    windows: Cache<K, Arc<Mutex<Window>>>,
    rate: Rate,
    total: Mutex<Window>,
    total_rate: Rate,
}

#[derive(Default)]
struct Window {
    begin: Option<DateTime<Utc>>,
    admitted: u32,
    /// Events since the last one that was admitted.
    suppressed: u64,
}

impl<K: Eq + Hash + Clone> LogLimit<K> {
    pub(crate) fn new(rate: Rate, total_rate: Rate) -> Self {
        Self {
            windows: Cache::new(MAX_KEYS),
            rate,
            total: Mutex::default(),
            total_rate,
        }
    }

    /// Returns the number of events of this key that were suppressed before, if this one is admitted.
    pub(crate) fn admit<Q>(&self, key: &Q, now: DateTime<Utc>) -> Option<u64>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let new_window = || Ok::<_, std::convert::Infallible>(Arc::default());
        let window = match self.windows.get_or_insert_with(key, new_window) {
            Ok(window) => window,
            Err(never) => match never {},
        };
        let mut window = lock(&window);
        if window.admits(self.rate, now) {
            let mut total = lock(&self.total);
            if total.admits(self.total_rate, now) {
                total.admitted += 1;
                window.admitted += 1;
                return Some(std::mem::take(&mut window.suppressed));
            }
        }
        window.suppressed += 1;
        None
    }
}

impl Window {
    fn admits(&mut self, rate: Rate, now: DateTime<Utc>) -> bool {
        // A clock that was set back must not silence the log.
        let is_open = |begin: DateTime<Utc>| (now - begin).abs() < rate.period;
        if !self.begin.is_some_and(is_open) {
            (self.begin, self.admitted) = (Some(now), 0);
        }
        self.admitted < rate.max
    }
}

fn lock(window: &Mutex<Window>) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the first `max` characters of a text for the log, with unsafe ones replaced.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut chars = text
        .chars()
        .map(|char| if is_safe(char) { char } else { '\u{fffd}' });
    let mut printable: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        printable.push('…');
    }
    printable
}

/// Returns true unless the character could break or hide a log line: control characters, line and
/// paragraph separators, and marks that change the direction of text.
fn is_safe(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(max: u32) -> Rate {
        Rate {
            max,
            period: TimeDelta::seconds(1),
        }
    }

    fn after(millis: i64) -> DateTime<Utc> {
        let begin: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        begin + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn events_of_a_key_are_limited_and_counted() {
        let limit = LogLimit::<String>::new(rate(1), rate(9));
        assert_eq!(limit.admit("a", after(0)), Some(0));
        assert_eq!(limit.admit("a", after(1)), None);
        assert_eq!(limit.admit("a", after(999)), None);
        assert_eq!(limit.admit("b", after(999)), Some(0));
        assert_eq!(limit.admit("a", after(1_000)), Some(2));
        assert_eq!(limit.admit("a", after(5_000)), Some(0));
        assert_eq!(limit.admit("a", after(-60_000)), Some(0));
    }

    #[test]
    fn events_of_all_keys_are_limited() {
        let limit = LogLimit::<String>::new(rate(2), rate(3));
        let admitted = |millis| {
            let keys = ["a", "a", "a", "b", "c"];
            keys.map(|key| limit.admit(key, after(millis)))
        };
        assert_eq!(admitted(0), [Some(0), Some(0), None, Some(0), None]);
        assert_eq!(admitted(500), [None; 5]);
        assert_eq!(admitted(1_000), [Some(4), Some(0), None, Some(1), None]);
    }

    #[test]
    fn printable_text_is_short_and_has_no_control_characters() {
        assert_eq!(printable("key-1", 5), "key-1");
        assert_eq!(printable("key-12", 5), "key-1…");
        let forged = "a\nb\r\u{1b}[2J\u{85}\u{202e}c\u{2028}\0";
        assert_eq!(
            printable(forged, 64),
            "a\u{fffd}b\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(printable(&"ä".repeat(12_000), 64).chars().count(), 65);
    }
}
