//! The limits of phone password attempts (rule 16).
//!
//! An attempt is stored as failed before it is checked, so that concurrent attempts see one
//! another; a match removes the failure again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, Result};

/// The maximum number of attempts in one phone call.
const MAX_CALL_ATTEMPTS: i16 = 3;
/// The number of consecutive failures that cause no lock.
const FREE_FAILURES: i16 = 4;
const FIRST_LOCK: TimeDelta = TimeDelta::seconds(60);
const MAX_LOCK: TimeDelta = TimeDelta::hours(1);
/// The number of failures within [`WINDOW`] that lock a password.
const MAX_WINDOW_FAILURES: usize = 10;
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// The number of consecutive failures that revoke a password.
const REVOKING_FAILURES: i16 = 50;
/// The number of failures within [`AGENT_WINDOW`] that block an agent.
const AGENT_FAILURES: usize = 20;
const AGENT_WINDOW: TimeDelta = TimeDelta::hours(1);
/// The minimum time between two notices of locks to a contact.
const NOTICE_INTERVAL: TimeDelta = TimeDelta::hours(24);

/// How long the attempts of a phone call and of an agent are stored.
pub const CALL_ATTEMPT_RETENTION: TimeDelta = TimeDelta::hours(24);
/// How long failures are stored for contacts without a password. Failures on a password are stored
/// until a match, so that deleting these early would make the two distinguishable.
pub const ORPHAN_ATTEMPT_RETENTION: TimeDelta = TimeDelta::days(365);

/// The failed attempts on one contact's phone password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactAttempts {
    /// The number of failures since the last match.
    pub consecutive: i16,
    /// The end of the lock that consecutive failures caused, past or future.
    pub locked_until: Option<DateTime<Utc>>,
    /// The times of the failures in the last 24 hours, oldest first.
    pub recent: Vec<DateTime<Utc>>,
    /// True if the password is revoked: a new one has to be set.
    pub is_revoked: bool,
    /// The time of the last notice of a lock to the contact.
    pub notice_time: Option<DateTime<Utc>>,
}

/// Tells whether an attempt may be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Attempts are checked.
    Unlocked,
    /// Attempts are rejected until this instant.
    LockedUntil(DateTime<Utc>),
    /// Attempts are rejected until a new password is set.
    Revoked,
}

impl ContactAttempts {
    /// Returns the end of the latest lock, past or future.
    pub fn latest_lock(&self) -> Option<DateTime<Utc>> {
        let oldest = self.recent.iter().rev().nth(MAX_WINDOW_FAILURES - 1);
        self.locked_until.max(oldest.map(|oldest| *oldest + WINDOW))
    }

    /// Returns the lock state at `now` of one-time codes, which a revoked password does not affect.
    pub fn code_lock_state_at(&self, now: DateTime<Utc>) -> LockState {
        match self.latest_lock() {
            Some(time) if time > now => LockState::LockedUntil(time),
            Some(_) | None => LockState::Unlocked,
        }
    }

    /// Returns the lock state at `now`.
    pub fn lock_state_at(&self, now: DateTime<Utc>) -> LockState {
        if self.is_revoked {
            return LockState::Revoked;
        }
        self.code_lock_state_at(now)
    }

    /// Records an attempt as failed before it is checked.
    pub fn reserve(&mut self, now: DateTime<Utc>) {
        self.consecutive = self.consecutive.saturating_add(1);
        self.recent.retain(|time| *time > now - WINDOW);
        self.recent.push(now);
        if self.consecutive > FREE_FAILURES {
            self.locked_until = Some(now + lock_after(self.consecutive));
        }
        // A revoked password remains so while one-time codes are checked.
        self.is_revoked |= self.consecutive >= REVOKING_FAILURES;
    }

    /// Returns true if the contact is to be notified of a lock, and records that it is. The last
    /// notice suppresses others for a day, except that of a revocation (`revokes`).
    pub fn claim_lock_notice(&mut self, revokes: bool, now: DateTime<Utc>) -> bool {
        let is_suppressed = self
            .notice_time
            .is_some_and(|time| time > now - NOTICE_INTERVAL);
        let is_claimed = revokes || !is_suppressed;
        if is_claimed {
            self.notice_time = Some(now);
        }
        is_claimed
    }

    /// Records that the attempt of `reserve_time` matched, which resets the consecutive failures.
    /// Other failures of the last 24 hours remain counted, and a password that was revoked before the
    /// attempt remains so.
    pub fn succeed(&mut self, reserve_time: DateTime<Utc>, was_revoked: bool) {
        self.recent = without_one(&self.recent, reserve_time);
        self.consecutive = 0;
        self.locked_until = None;
        self.is_revoked = was_revoked;
    }

    /// Lifts the lock. A revoked password remains revoked.
    pub fn unlock(&mut self) {
        *self = Self {
            is_revoked: self.is_revoked,
            ..Self::default()
        };
    }
}

/// Returns the duration of the lock: 60 s after the fifth failure, doubled by each further one up to
/// an hour (rule 16).
fn lock_after(consecutive: i16) -> TimeDelta {
    let doublings = u32::try_from(consecutive - FREE_FAILURES - 1).unwrap_or_default();
    let factor = 2i32.checked_pow(doublings).unwrap_or(i32::MAX);
    FIRST_LOCK
        .checked_mul(factor)
        .map_or(MAX_LOCK, |lock| lock.min(MAX_LOCK))
}

/// The times of an agent's failed attempts in the last hour, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAttempts(pub Vec<DateTime<Utc>>);

impl AgentAttempts {
    /// Checks that the agent may make an attempt at `now`.
    ///
    /// # Errors
    /// [`Error::AgentBlocked`] with the time until the next attempt is possible.
    pub fn check_at(&self, now: DateTime<Utc>) -> Result<()> {
        let oldest = self.0.iter().rev().nth(AGENT_FAILURES - 1);
        let blocked_until = oldest.map(|oldest| *oldest + AGENT_WINDOW);
        match blocked_until {
            Some(time) if time > now => Err(Error::AgentBlocked {
                retry_after: (time - now).to_std().unwrap_or(Duration::ZERO),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Records an attempt as failed before it is checked.
    pub fn reserve(&mut self, now: DateTime<Utc>) {
        self.0.retain(|time| *time > now - AGENT_WINDOW);
        self.0.push(now);
    }

    /// Removes the attempt of `reserve_time`, which matched.
    pub fn succeed(&mut self, reserve_time: DateTime<Utc>) {
        self.0 = without_one(&self.0, reserve_time);
    }
}

/// Checks that one more attempt is possible after `attempts` in the same phone call.
///
/// # Errors
/// [`Error::PhoneCallAttemptLimit`].
pub fn check_call(attempts: i16) -> Result<()> {
    if attempts < MAX_CALL_ATTEMPTS {
        Ok(())
    } else {
        Err(Error::PhoneCallAttemptLimit {
            limit: MAX_CALL_ATTEMPTS,
        })
    }
}

fn without_one(times: &[DateTime<Utc>], removed: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let position = times.iter().position(|time| *time == removed);
    let remaining = times.iter().enumerate();
    remaining
        .filter(|(index, _)| Some(*index) != position)
        .map(|(_, time)| *time)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-03-01T09:00:00Z".parse().unwrap()
    }

    fn locked_for(attempts: &ContactAttempts, now: DateTime<Utc>) -> TimeDelta {
        match attempts.lock_state_at(now) {
            LockState::LockedUntil(time) => time - now,
            other @ (LockState::Unlocked | LockState::Revoked) => panic!("{other:?}"),
        }
    }

    #[test]
    fn lock_doubles_with_each_failure_after_the_fourth() {
        let mut attempts = ContactAttempts::default();
        let mut now = start();
        for _ in 0..4 {
            attempts.reserve(now);
            assert_eq!(attempts.lock_state_at(now), LockState::Unlocked);
        }
        for seconds in [60, 120, 240, 480, 960] {
            attempts.reserve(now);
            assert_eq!(locked_for(&attempts, now), TimeDelta::seconds(seconds));
            now += TimeDelta::seconds(seconds);
            assert_eq!(attempts.lock_state_at(now), LockState::Unlocked);
        }
        assert_eq!(lock_after(10), TimeDelta::seconds(1920));
        assert_eq!(lock_after(11), TimeDelta::hours(1));
        assert_eq!(lock_after(50), TimeDelta::hours(1));
    }

    #[test]
    fn at_most_ten_failed_attempts_within_24_hours() {
        let mut attempts = ContactAttempts::default();
        let mut now = start();
        let mut checked = Vec::new();
        // An attempt every 30 s for three days.
        while now < start() + TimeDelta::hours(72) {
            if attempts.lock_state_at(now) == LockState::Unlocked {
                attempts.reserve(now);
                checked.push(now);
            }
            now += TimeDelta::seconds(30);
        }
        for time in &checked {
            let within = checked
                .iter()
                .filter(|other| *time - WINDOW < **other && **other <= *time);
            assert!(within.count() <= 10);
        }
        assert_eq!(checked.len(), 30);
    }

    #[test]
    fn match_keeps_the_failures_of_the_last_day() {
        let mut attempts = ContactAttempts::default();
        for minute in 0..4 {
            attempts.reserve(start() + TimeDelta::minutes(minute));
        }
        let right = start() + TimeDelta::minutes(5);
        attempts.reserve(right);
        attempts.succeed(right, false);
        assert_eq!(attempts.consecutive, 0);
        assert_eq!(attempts.lock_state_at(right), LockState::Unlocked);
        assert_eq!(attempts.recent.len(), 4);
    }

    #[test]
    fn fifty_consecutive_failures_revoke_the_password() {
        let mut attempts = ContactAttempts::default();
        let mut now = start();
        for _ in 0..49 {
            attempts.reserve(now);
            now += TimeDelta::hours(24);
            assert_eq!(attempts.lock_state_at(now), LockState::Unlocked);
        }
        attempts.reserve(now);
        now += TimeDelta::days(30);
        assert_eq!(attempts.lock_state_at(now), LockState::Revoked);
        attempts.unlock();
        assert_eq!(attempts.lock_state_at(now), LockState::Revoked);
    }

    #[test]
    fn matching_code_leaves_a_password_revoked() {
        let mut attempts = ContactAttempts::default();
        for day in 0..50 {
            attempts.reserve(start() + TimeDelta::days(day));
        }
        let later = start() + TimeDelta::days(60);
        assert_eq!(attempts.lock_state_at(later), LockState::Revoked);
        assert_eq!(attempts.code_lock_state_at(later), LockState::Unlocked);
        attempts.reserve(later);
        attempts.succeed(later, true);
        attempts.reserve(later);
        assert_eq!(attempts.lock_state_at(later), LockState::Revoked);
        assert_eq!(attempts.consecutive, 1);
    }

    #[test]
    fn match_of_the_fiftieth_attempt_revokes_nothing() {
        let mut attempts = ContactAttempts::default();
        for day in 0..50 {
            attempts.reserve(start() + TimeDelta::days(day));
        }
        let last = start() + TimeDelta::days(49);
        attempts.succeed(last, false);
        assert_eq!(attempts.lock_state_at(last), LockState::Unlocked);
    }

    #[test]
    fn unlocking_lifts_all_locks() {
        let mut attempts = ContactAttempts::default();
        for _ in 0..12 {
            attempts.reserve(start());
        }
        assert_eq!(locked_for(&attempts, start()), WINDOW);
        attempts.unlock();
        assert_eq!(attempts.lock_state_at(start()), LockState::Unlocked);
    }

    #[test]
    fn lock_notice_is_sent_once_a_day_and_on_revocation() {
        let mut attempts = ContactAttempts::default();
        let almost = start() + NOTICE_INTERVAL - TimeDelta::microseconds(1);
        assert!(attempts.claim_lock_notice(false, start()));
        assert!(!attempts.claim_lock_notice(false, almost));
        assert!(attempts.claim_lock_notice(true, almost));
        assert!(!attempts.claim_lock_notice(false, start() + NOTICE_INTERVAL));
        assert!(attempts.claim_lock_notice(false, almost + NOTICE_INTERVAL));
    }

    #[test]
    fn twenty_failures_an_hour_block_an_agent() {
        let mut attempts = AgentAttempts::default();
        for second in 0..20 {
            let now = start() + TimeDelta::seconds(second);
            assert_eq!(attempts.check_at(now), Ok(()));
            attempts.reserve(now);
        }
        let now = start() + TimeDelta::seconds(30);
        let retry_after = Duration::from_secs(3570);
        assert_eq!(
            attempts.check_at(now),
            Err(Error::AgentBlocked { retry_after })
        );
        let later = start() + AGENT_WINDOW;
        assert_eq!(attempts.check_at(later), Ok(()));
        attempts.succeed(start() + TimeDelta::seconds(3));
        assert_eq!(attempts.check_at(now), Ok(()));
    }

    #[test]
    fn phone_call_has_three_attempts() {
        for attempts in 0..3 {
            assert_eq!(check_call(attempts), Ok(()));
        }
        assert_eq!(
            check_call(3),
            Err(Error::PhoneCallAttemptLimit { limit: 3 })
        );
    }
}
