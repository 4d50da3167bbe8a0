//! How often something is logged or recorded: so rarely that a flood of requests is none of lines or
//! rows, with a count of what was left out.

use std::{
    borrow::ToOwned,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::{Equivalent, sync::Cache};

/// How many keys are told apart; of those not seen for long the counts are forgotten.
const MAX_KEYS: usize = 1024;

/// How often something may happen.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Rate {
    pub(in crate::api) most: u32,
    /// The time, which begins with the first.
    pub(in crate::api) within: TimeDelta,
}

/// Admits events by a rate for each key, and by another one for all keys together.
pub(in crate::api) struct LogLimit<K> {
    windows: Cache<K, Arc<Mutex<Window>>>,
    of_key: Rate,
    all: Mutex<Window>,
    of_all: Rate,
}

#[derive(Default)]
struct Window {
    begin: Option<DateTime<Utc>>,
    admitted: u32,
    /// Events since the last one that was admitted.
    suppressed: u64,
}

impl<K: Eq + Hash + Clone> LogLimit<K> {
    pub(in crate::api) fn new(of_key: Rate, of_all: Rate) -> Self {
        Self {
            windows: Cache::new(MAX_KEYS),
            of_key,
            all: Mutex::default(),
            of_all,
        }
    }

    /// Returns how many events of this key were left out before, if this one is admitted.
    pub(in crate::api) fn admit<Q>(&self, key: &Q, now: DateTime<Utc>) -> Option<u64>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::default());
        let window = match self.windows.get_or_insert_with(key, fresh) {
            Ok(window) => window,
            Err(never) => match never {},
        };
        let mut window = lock(&window);
        if window.has_room(self.of_key, now) {
            let mut all = lock(&self.all);
            if all.has_room(self.of_all, now) {
                all.admitted += 1;
                window.admitted += 1;
                return Some(std::mem::take(&mut window.suppressed));
            }
        }
        window.suppressed += 1;
        None
    }
}

impl Window {
    fn has_room(&mut self, rate: Rate, now: DateTime<Utc>) -> bool {
        // A clock that was set back must not silence the log.
        let is_open = |begin: DateTime<Utc>| (now - begin).abs() < rate.within;
        if !self.begin.is_some_and(is_open) {
            (self.begin, self.admitted) = (Some(now), 0);
        }
        self.admitted < rate.most
    }
}

fn lock(window: &Mutex<Window>) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first characters of a text, without those that could break a line or hide one.
pub(in crate::api) fn printable(text: &str, most: usize) -> String {
    let mut chars = text
        .chars()
        .map(|char| if is_safe(char) { char } else { '\u{fffd}' });
    let mut printable: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        printable.push('…');
    }
    printable
}

/// Not a control character, a line or paragraph separator, or a mark that changes the direction.
fn is_safe(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(most: u32) -> Rate {
        Rate {
            most,
            within: TimeDelta::seconds(1),
        }
    }

    fn after(millis: i64) -> DateTime<Utc> {
        let begin: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        begin + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn a_key_has_its_rate_and_a_count_of_the_others() {
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
    fn all_keys_together_have_a_rate_too() {
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
    fn names_are_cut_and_free_of_control_characters() {
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
