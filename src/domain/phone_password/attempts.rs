//! How tries of phone passwords are limited (rule 16).
//!
//! A try is written down as failed before it is checked, so that tries made at the
//! same moment see one another; a match takes that back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, Result};

/// Tries a call.
const TRIES_A_CALL: i16 = 3;
/// Consecutive failures that cost nothing.
const FREE_FAILURES: i16 = 4;
const FIRST_LOCK: TimeDelta = TimeDelta::seconds(60);
const LONGEST_LOCK: TimeDelta = TimeDelta::hours(1);
/// Failed tries that are checked within [`WINDOW`].
const FAILURES_A_WINDOW: usize = 10;
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// Consecutive failures that make the password void.
const VOIDING_FAILURES: i16 = 50;
/// Failures within [`AGENT_WINDOW`] that block an agent.
const AGENT_FAILURES: usize = 20;
const AGENT_WINDOW: TimeDelta = TimeDelta::hours(1);
/// The contact is told of a lock no more often than this.
const NOTICE_PAUSE: TimeDelta = TimeDelta::hours(24);

/// How long the tries of a call and of an agent are remembered.
pub const CALL_MEMORY: TimeDelta = TimeDelta::hours(24);
/// How long failures are remembered where no password is set: as those on one are kept
/// until a match, forgetting them soon would tell the two apart.
pub const NOTHING_MEMORY: TimeDelta = TimeDelta::days(365);

/// The tries on one contact's phone password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactTries {
    /// Failures since the last match.
    pub consecutive: i16,
    /// Until when no try is checked.
    pub locked_until: Option<DateTime<Utc>>,
    /// When the failed tries of the last 24 hours were, the oldest first.
    pub recent: Vec<DateTime<Utc>>,
    /// Whether the password is void.
    pub is_void: bool,
    /// When the contact was last told of a lock.
    pub notice_time: Option<DateTime<Utc>>,
}

/// Whether a try may be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Not before this instant.
    LockedUntil(DateTime<Utc>),
    /// Not before the password is set anew.
    Void,
}

impl ContactTries {
    /// Until when no try is checked, be it past or to come.
    pub fn latest_lock(&self) -> Option<DateTime<Utc>> {
        let oldest = self.recent.iter().rev().nth(FAILURES_A_WINDOW - 1);
        self.locked_until.max(oldest.map(|oldest| *oldest + WINDOW))
    }

    /// Whether a try may be checked at `now`.
    pub fn gate_at(&self, now: DateTime<Utc>) -> Gate {
        if self.is_void {
            return Gate::Void;
        }
        match self.latest_lock() {
            Some(time) if time > now => Gate::LockedUntil(time),
            Some(_) | None => Gate::Open,
        }
    }

    /// Writes a try down as failed, before it is checked.
    pub fn reserve(&mut self, now: DateTime<Utc>) {
        self.consecutive = self.consecutive.saturating_add(1);
        self.recent.retain(|time| *time > now - WINDOW);
        self.recent.push(now);
        if self.consecutive > FREE_FAILURES {
            self.locked_until = Some(now + lock_after(self.consecutive));
        }
        self.is_void = self.consecutive >= VOIDING_FAILURES;
    }

    /// Whether the contact is to be told of the lock that a failed try began, or that it
    /// `voids` the password. Whoever asks tells it then.
    pub fn take_notice(&mut self, voids: bool, now: DateTime<Utc>) -> bool {
        let was_told = self
            .notice_time
            .is_some_and(|told| told > now - NOTICE_PAUSE);
        let tells = voids || !was_told;
        if tells {
            self.notice_time = Some(now);
        }
        tells
    }

    /// The try of `reserved_at` was right: the count begins anew. Failed tries within
    /// 24 hours stay counted.
    pub fn succeed(&mut self, reserved_at: DateTime<Utc>) {
        self.recent = without_one(&self.recent, reserved_at);
        self.consecutive = 0;
        self.locked_until = None;
        self.is_void = false;
    }

    /// A supervisor lifts the lock. A void password stays void.
    pub fn unlock(&mut self) {
        *self = Self {
            is_void: self.is_void,
            ..Self::default()
        };
    }
}

/// Rule 16: 60 s after the fifth failure, twice as long after each further one.
fn lock_after(consecutive: i16) -> TimeDelta {
    let doublings = u32::try_from(consecutive - FREE_FAILURES - 1).unwrap_or_default();
    let factor = 2i32.checked_pow(doublings).unwrap_or(i32::MAX);
    FIRST_LOCK
        .checked_mul(factor)
        .map_or(LONGEST_LOCK, |lock| lock.min(LONGEST_LOCK))
}

/// The failed tries of an agent within the last hour, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentTries(pub Vec<DateTime<Utc>>);

impl AgentTries {
    /// Whether the agent may try at `now`.
    ///
    /// # Errors
    /// [`Error::AgentBlocked`] with the time until the next one is possible.
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

    /// Writes a try down as failed, before it is checked.
    pub fn reserve(&mut self, now: DateTime<Utc>) {
        self.0.retain(|time| *time > now - AGENT_WINDOW);
        self.0.push(now);
    }

    /// The try of `reserved_at` was right.
    pub fn succeed(&mut self, reserved_at: DateTime<Utc>) {
        self.0 = without_one(&self.0, reserved_at);
    }
}

/// Whether a call that had `tries` may have another one.
///
/// # Errors
/// [`Error::PhoneCallAttemptLimit`].
pub fn check_call(tries: i16) -> Result<()> {
    if tries < TRIES_A_CALL {
        Ok(())
    } else {
        Err(Error::PhoneCallAttemptLimit {
            limit: TRIES_A_CALL,
        })
    }
}

fn without_one(times: &[DateTime<Utc>], this: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let position = times.iter().position(|time| *time == this);
    let kept = times.iter().enumerate();
    kept.filter(|(index, _)| Some(*index) != position)
        .map(|(_, time)| *time)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-03-01T09:00:00Z".parse().unwrap()
    }

    fn locked_for(tries: &ContactTries, now: DateTime<Utc>) -> TimeDelta {
        match tries.gate_at(now) {
            Gate::LockedUntil(time) => time - now,
            other @ (Gate::Open | Gate::Void) => panic!("{other:?}"),
        }
    }

    #[test]
    fn four_failures_cost_nothing_and_each_later_one_twice_as_long() {
        let mut tries = ContactTries::default();
        let mut now = start();
        for _ in 0..4 {
            tries.reserve(now);
            assert_eq!(tries.gate_at(now), Gate::Open);
        }
        for seconds in [60, 120, 240, 480, 960] {
            tries.reserve(now);
            assert_eq!(locked_for(&tries, now), TimeDelta::seconds(seconds));
            now += TimeDelta::seconds(seconds);
            assert_eq!(tries.gate_at(now), Gate::Open);
        }
        assert_eq!(lock_after(10), TimeDelta::seconds(1920));
        assert_eq!(lock_after(11), TimeDelta::hours(1));
        assert_eq!(lock_after(50), TimeDelta::hours(1));
    }

    #[test]
    fn no_more_than_ten_failed_tries_within_24_hours() {
        let mut tries = ContactTries::default();
        let mut now = start();
        let mut checked = Vec::new();
        // A try every 30 s for three days.
        while now < start() + TimeDelta::hours(72) {
            if tries.gate_at(now) == Gate::Open {
                tries.reserve(now);
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
    fn a_match_begins_anew_but_the_day_is_not_forgotten() {
        let mut tries = ContactTries::default();
        for minute in 0..4 {
            tries.reserve(start() + TimeDelta::minutes(minute));
        }
        let right = start() + TimeDelta::minutes(5);
        tries.reserve(right);
        tries.succeed(right);
        assert_eq!(tries.consecutive, 0);
        assert_eq!(tries.gate_at(right), Gate::Open);
        assert_eq!(tries.recent.len(), 4);
    }

    #[test]
    fn fifty_consecutive_failures_void_it_and_no_wait_and_no_supervisor_helps() {
        let mut tries = ContactTries::default();
        let mut now = start();
        for _ in 0..49 {
            tries.reserve(now);
            now += TimeDelta::hours(24);
            assert_eq!(tries.gate_at(now), Gate::Open);
        }
        tries.reserve(now);
        now += TimeDelta::days(30);
        assert_eq!(tries.gate_at(now), Gate::Void);
        tries.unlock();
        assert_eq!(tries.gate_at(now), Gate::Void);
    }

    #[test]
    fn a_supervisor_lifts_a_lock_and_a_full_day() {
        let mut tries = ContactTries::default();
        for _ in 0..12 {
            tries.reserve(start());
        }
        assert_eq!(locked_for(&tries, start()), WINDOW);
        tries.unlock();
        assert_eq!(tries.gate_at(start()), Gate::Open);
    }

    #[test]
    fn the_contact_is_told_of_a_lock_once_a_day_and_when_it_is_void() {
        let mut tries = ContactTries::default();
        let almost = start() + NOTICE_PAUSE - TimeDelta::microseconds(1);
        assert!(tries.take_notice(false, start()));
        assert!(!tries.take_notice(false, almost));
        assert!(tries.take_notice(true, almost));
        assert!(!tries.take_notice(false, start() + NOTICE_PAUSE));
        assert!(tries.take_notice(false, almost + NOTICE_PAUSE));
    }

    #[test]
    fn twenty_failures_an_hour_block_an_agent() {
        let mut tries = AgentTries::default();
        for second in 0..20 {
            let now = start() + TimeDelta::seconds(second);
            assert_eq!(tries.check_at(now), Ok(()));
            tries.reserve(now);
        }
        let now = start() + TimeDelta::seconds(30);
        let retry_after = Duration::from_secs(3570);
        assert_eq!(
            tries.check_at(now),
            Err(Error::AgentBlocked { retry_after })
        );
        let later = start() + AGENT_WINDOW;
        assert_eq!(tries.check_at(later), Ok(()));
        tries.succeed(start() + TimeDelta::seconds(3));
        assert_eq!(tries.check_at(now), Ok(()));
    }

    #[test]
    fn a_call_has_three_tries() {
        for tries in 0..3 {
            assert_eq!(check_call(tries), Ok(()));
        }
        assert_eq!(
            check_call(3),
            Err(Error::PhoneCallAttemptLimit { limit: 3 })
        );
    }
}
