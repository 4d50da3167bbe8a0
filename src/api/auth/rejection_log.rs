//! Log lines about rejected tokens: few enough that a flood of bad tokens is none of lines.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::token;
use crate::error::TokenFault;

/// At most one line of a cause in this time.
const INTERVAL: TimeDelta = TimeDelta::seconds(1);
const MAX_KID_CHARS: usize = 64;
const MAX_ISSUER_CHARS: usize = 128;

/// Writes at most one line per cause and second.
#[derive(Default)]
pub(super) struct RejectionLog([Mutex<Window>; TokenFault::ALL.len()]);

/// The second that began with a cause's last line.
#[derive(Default)]
struct Window {
    begin: Option<DateTime<Utc>>,
    /// Rejections since then, without a line.
    suppressed: u64,
}

impl RejectionLog {
    /// Logs a rejection with the names of key and issuer that the token claims; neither is
    /// verified. `suppressed` counts the rejections of this cause since its last line.
    pub(super) fn record(
        &self,
        cause: TokenFault,
        claim: Option<&str>,
        token: Option<&str>,
        now: DateTime<Utc>,
    ) {
        let Some(suppressed) = self.open(cause, now) else {
            return;
        };
        let (kid, issuer) = token.map(token::names_in).unwrap_or_default();
        let kid = kid.map(|kid| printable(&kid, MAX_KID_CHARS));
        let issuer = issuer.map(|issuer| printable(&issuer, MAX_ISSUER_CHARS));
        let cause = cause.as_str();
        tracing::info!(cause, claim, kid, issuer, suppressed, "token rejected");
    }

    /// How many lines were left out, if one may be written now.
    fn open(&self, cause: TokenFault, now: DateTime<Utc>) -> Option<u64> {
        let window = self.0.get(cause as usize)?;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not silence the log.
        let is_open = |begin: DateTime<Utc>| (now - begin).abs() < INTERVAL;
        if window.begin.is_some_and(is_open) {
            window.suppressed += 1;
            return None;
        }
        window.begin = Some(now);
        Some(std::mem::take(&mut window.suppressed))
    }
}

/// The first characters of a text, without those that could break a line or hide one.
fn printable(text: &str, most: usize) -> String {
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

    #[test]
    fn a_cause_has_one_line_a_second_that_counts_the_others() {
        let log = RejectionLog::default();
        let begin: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let after = |millis| begin + TimeDelta::milliseconds(millis);
        assert_eq!(log.open(TokenFault::Issuer, begin), Some(0));
        assert_eq!(log.open(TokenFault::Issuer, after(1)), None);
        assert_eq!(log.open(TokenFault::Issuer, after(999)), None);
        assert_eq!(log.open(TokenFault::TooLarge, after(999)), Some(0));
        assert_eq!(log.open(TokenFault::Issuer, after(1_000)), Some(2));
        assert_eq!(log.open(TokenFault::Issuer, after(5_000)), Some(0));
        assert_eq!(log.open(TokenFault::Issuer, after(-60_000)), Some(0));
    }

    #[test]
    fn every_cause_has_a_window_of_its_own() {
        let log = RejectionLog::default();
        let now = DateTime::UNIX_EPOCH;
        for cause in TokenFault::ALL {
            assert_eq!(log.open(cause, now), Some(0), "{cause:?}");
        }
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
