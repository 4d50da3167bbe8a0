//! E-mail confirmation (rules 5 to 11): pending addresses, the tokens and states of their links,
//! and the limit of resends.

mod recovery;
mod token;

use chrono::{DateTime, TimeDelta, Utc};

pub(crate) use self::recovery::decoded;
pub use self::token::{ConfirmationToken, TokenHash};
use crate::{
    domain::{
        email_address::EmailAddress,
        ids::{ConfirmationId, ContactId, CustomerNumber},
    },
    error::{Error, MailLimit, Result},
};

/// How long a pending address can be confirmed (rule 7).
pub const PENDING_EMAIL_LIFETIME: TimeDelta = TimeDelta::days(7);
/// How long before the expiry of a pending address its reminder is sent (rule 10).
pub const REMINDER_LEAD: TimeDelta = TimeDelta::days(1);
/// The number of resends of a link that are not delayed (rule 11).
pub const RESENDS_AT_ONCE: i16 = 3;
/// The minimum time between further resends (rule 11).
pub const RESEND_PAUSE: TimeDelta = TimeDelta::hours(1);
/// How long the state of a link is stored after its expiry.
pub const CONFIRMATION_RETENTION: TimeDelta = TimeDelta::days(365);

/// An address that is not confirmed yet (rules 5 to 8).
#[derive(Clone, Debug)]
pub struct PendingEmail {
    /// The id of the entry.
    pub id: ConfirmationId,
    /// The entered address.
    pub email: EmailAddress,
    /// The time of the entry.
    pub request_time: DateTime<Utc>,
    /// The instant from which it can no longer be confirmed.
    pub expire_time: DateTime<Utc>,
    /// The resends of its link.
    pub resends: Resends,
    /// The number of resends that are possible at the time for which the contact is shown.
    pub resends_left: i16,
    /// The time at which an e-mail to it bounced.
    pub bounce_time: Option<DateTime<Utc>>,
}

impl PendingEmail {
    /// Creates a pending address that expires after seven days (rule 7).
    pub fn new(id: ConfirmationId, email: EmailAddress, now: DateTime<Utc>) -> Self {
        Self {
            id,
            email,
            request_time: now,
            expire_time: now + PENDING_EMAIL_LIFETIME,
            resends: Resends::default(),
            resends_left: RESENDS_AT_ONCE,
            bounce_time: None,
        }
    }
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationState {
    /// The address can be confirmed.
    Pending,
    /// The address was confirmed, with this link or with a resent one.
    Confirmed,
    /// The address was not confirmed within seven days.
    Expired,
    /// The address was replaced by a newer one, or dropped.
    Superseded,
}

/// The record of an entered address. The address itself is stored with the contact, and only while
/// it is pending.
#[derive(Clone, Debug)]
pub struct EmailConfirmation {
    /// The id of the entry.
    pub id: ConfirmationId,
    /// The customer of the contact.
    pub customer_number: CustomerNumber,
    /// The contact that the address was entered for.
    pub contact_id: ContactId,
    /// The masked address; see [`mask`].
    pub masked_email: String,
    /// The instant from which it can no longer be confirmed.
    pub expire_time: DateTime<Utc>,
    /// The stored state. It does not reflect the expiry: read it through
    /// [`state_at`](Self::state_at).
    pub recorded_state: ConfirmationState,
}

impl EmailConfirmation {
    /// Returns the state as of `now`, including the expiry (rule 7).
    pub fn state_at(&self, now: DateTime<Utc>) -> ConfirmationState {
        let is_pending = self.recorded_state == ConfirmationState::Pending;
        if is_pending && now >= self.expire_time {
            ConfirmationState::Expired
        } else {
            self.recorded_state
        }
    }
}

/// The resends of a link (rule 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resends {
    /// The number of resends so far.
    pub count: i16,
    /// The time of the last resend.
    pub last_time: Option<DateTime<Utc>>,
}

impl Resends {
    /// Returns the number of resends that are possible at `now`.
    pub fn remaining_at(&self, now: DateTime<Utc>) -> i16 {
        if self.count < RESENDS_AT_ONCE {
            return RESENDS_AT_ONCE - self.count;
        }
        i16::from(self.next_time().is_none_or(|next| next <= now))
    }

    /// Counts a resend.
    ///
    /// # Errors
    /// [`Error::ResendLimit`] with the time until the next resend is possible.
    pub fn record(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.remaining_at(now) == 0 {
            let wait = self.next_time().map_or(RESEND_PAUSE, |next| next - now);
            return Err(Error::ResendLimit {
                limit: MailLimit::Resends,
                retry_after: wait.to_std().unwrap_or_default(),
            });
        }
        self.count = self.count.saturating_add(1);
        self.last_time = Some(now);
        Ok(())
    }

    fn next_time(&self) -> Option<DateTime<Utc>> {
        self.last_time.map(|last| last + RESEND_PAUSE)
    }
}

/// Masks an address so that its owner recognizes it: `a***@m***.example`.
pub fn mask(email: &EmailAddress) -> String {
    let (local, domain) = email.as_str().rsplit_once('@').unwrap_or_default();
    let (name, top_level) = domain.rsplit_once('.').unwrap_or_default();
    let first = |text: &str| text.chars().take(1).collect::<String>();
    format!("{}***@{}***.{top_level}", first(local), first(name))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T09:00:00Z".parse().unwrap()
    }

    #[test]
    fn rule_7_only_the_pending_state_expires() {
        let mut confirmation = EmailConfirmation {
            id: ConfirmationId(Uuid::nil()),
            customer_number: CustomerNumber::parse("K-1001").unwrap(),
            contact_id: ContactId(Uuid::nil()),
            masked_email: String::new(),
            expire_time: now(),
            recorded_state: ConfirmationState::Pending,
        };
        let before = now() - TimeDelta::microseconds(1);
        assert_eq!(confirmation.state_at(before), ConfirmationState::Pending);
        assert_eq!(confirmation.state_at(now()), ConfirmationState::Expired);
        for state in [ConfirmationState::Confirmed, ConfirmationState::Superseded] {
            confirmation.recorded_state = state;
            assert_eq!(confirmation.state_at(now()), state);
        }
    }

    #[test]
    fn rule_11_allows_three_resends_then_one_an_hour() {
        let mut resends = Resends::default();
        for remaining in [3, 2, 1] {
            assert_eq!(resends.remaining_at(now()), remaining);
            resends.record(now()).unwrap();
        }
        let hour = TimeDelta::hours(1);
        let almost = now() + hour - TimeDelta::seconds(1);
        for (time, wait) in [(now(), 3600), (almost, 1)] {
            assert_eq!(resends.remaining_at(time), 0);
            let retry_after = std::time::Duration::from_secs(wait);
            let limit = MailLimit::Resends;
            let rejected = Err(Error::ResendLimit { limit, retry_after });
            assert_eq!(resends.record(time), rejected);
        }
        // Unused hours do not accumulate.
        let later = now() + hour * 5;
        assert_eq!(resends.remaining_at(later), 1);
        resends.record(later).unwrap();
        assert_eq!(resends.remaining_at(later), 0);
        assert_eq!(resends.remaining_at(later + hour), 1);
    }

    #[test]
    fn mask_keeps_first_letters_and_top_level_domain() {
        for (address, masked) in [
            ("anna.schmidt@muster.example", "a***@m***.example"),
            ("a@b.co.example", "a***@b***.example"),
            ("Info@müller.example", "I***@x***.example"),
        ] {
            assert_eq!(mask(&EmailAddress::parse(address).unwrap()), masked);
        }
    }
}
