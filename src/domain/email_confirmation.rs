//! Confirming an address (rules 5 to 11): the link's token, what becomes of a link,
//! and how often it may be sent again.

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

/// Rule 7: how long a pending address may be confirmed.
pub const PENDING_EMAIL_LIFETIME: TimeDelta = TimeDelta::days(7);
/// Rule 10: how long before its expiry a pending address is reminded.
pub const REMINDER_LEAD: TimeDelta = TimeDelta::days(1);
/// Rule 11: resends of a confirmation link before it is one an hour.
pub const RESENDS_AT_ONCE: i16 = 3;
/// Rule 11: how long it takes after those until one more is possible.
pub const RESEND_PAUSE: TimeDelta = TimeDelta::hours(1);
/// How long after its expiry a link is still told what became of it.
pub const CONFIRMATION_HISTORY: TimeDelta = TimeDelta::days(365);

/// An address that waits for its confirmation (rules 5 to 8).
#[derive(Clone, Debug)]
pub struct PendingEmail {
    /// Which entering of it.
    pub id: ConfirmationId,
    /// The address.
    pub email: EmailAddress,
    /// When it was entered.
    pub request_time: DateTime<Utc>,
    /// From this instant on it is gone.
    pub expire_time: DateTime<Utc>,
    /// How often its link was sent again.
    pub resends: Resends,
    /// How often the link may be sent again, as of the moment for which the contact
    /// is shown.
    pub resends_left: i16,
    /// When a mail to it was refused for good.
    pub bounce_time: Option<DateTime<Utc>>,
}

impl PendingEmail {
    /// Rule 7: an address entered now, for seven days.
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

/// What became of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationState {
    /// Its address waits to be confirmed.
    Pending,
    /// Its address was confirmed with it, or with another link to the same.
    Confirmed,
    /// The seven days passed.
    Expired,
    /// A newer address took the place of this one, or it was dropped.
    Superseded,
}

/// An address that was entered, as its links know it. The address itself stands with
/// the contact, and only while it is pending.
#[derive(Clone, Debug)]
pub struct EmailConfirmation {
    /// Which one.
    pub id: ConfirmationId,
    /// Whose contact's address it is.
    pub customer_number: CustomerNumber,
    /// Whose address it is.
    pub contact_id: ContactId,
    /// The address, mostly hidden.
    pub masked_email: String,
    /// From this instant on it is gone.
    pub expire_time: DateTime<Utc>,
    /// What was last written of it; read it through [`state_at`](Self::state_at).
    pub recorded_state: ConfirmationState,
}

impl EmailConfirmation {
    /// What became of it as of `now`: an address expires by itself (rule 7).
    pub fn state_at(&self, now: DateTime<Utc>) -> ConfirmationState {
        let is_pending = self.recorded_state == ConfirmationState::Pending;
        if is_pending && now >= self.expire_time {
            ConfirmationState::Expired
        } else {
            self.recorded_state
        }
    }
}

/// Rule 11: how often a link was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resends {
    /// How often, until now.
    pub count: i16,
    /// When the last time; `None`: never.
    pub last_time: Option<DateTime<Utc>>,
}

impl Resends {
    /// How often the link may be sent again at this moment.
    pub fn left_at(&self, now: DateTime<Utc>) -> i16 {
        if self.count < RESENDS_AT_ONCE {
            return RESENDS_AT_ONCE - self.count;
        }
        i16::from(self.next_time().is_none_or(|next| next <= now))
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Error::ResendLimit`] with the time until the next is possible.
    pub fn take(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.left_at(now) == 0 {
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

/// Enough of an address for its owner to know it again: `a***@m***.example`.
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
    fn rule_7_a_pending_one_expires_at_its_instant_and_no_other_state_does() {
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
    fn rule_11_three_at_once_then_one_an_hour() {
        let mut resends = Resends::default();
        for left in [3, 2, 1] {
            assert_eq!(resends.left_at(now()), left);
            resends.take(now()).unwrap();
        }
        let hour = TimeDelta::hours(1);
        let almost = now() + hour - TimeDelta::seconds(1);
        for (time, wait) in [(now(), 3600), (almost, 1)] {
            assert_eq!(resends.left_at(time), 0);
            let retry_after = std::time::Duration::from_secs(wait);
            let limit = MailLimit::Resends;
            let refused = Err(Error::ResendLimit { limit, retry_after });
            assert_eq!(resends.take(time), refused);
        }
        // However long one waits, it is one an hour.
        let later = now() + hour * 5;
        assert_eq!(resends.left_at(later), 1);
        resends.take(later).unwrap();
        assert_eq!(resends.left_at(later), 0);
        assert_eq!(resends.left_at(later + hour), 1);
    }

    #[test]
    fn a_mask_shows_the_beginnings_alone() {
        for (address, masked) in [
            ("anna.schmidt@muster.example", "a***@m***.example"),
            ("a@b.co.example", "a***@b***.example"),
            ("Info@müller.example", "I***@x***.example"),
        ] {
            assert_eq!(mask(&EmailAddress::parse(address).unwrap()), masked);
        }
    }
}
