//! Confirming an address (rules 5 to 11): the link's token, what becomes of a link,
//! and how often it may be sent again.

mod recovery;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) use self::recovery::decoded;
use crate::{
    domain::{contact::ContactId, customer::CustomerNumber, email_address::EmailAddress},
    error::{Error, Invalid, MailLimit, Result},
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

const SECRET_BYTES: usize = 32;

/// SHA-256 of the random bits of a token.
pub type TokenHash = [u8; 32];

/// Which entering of an address it is: the same address entered again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmationId(pub Uuid);

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

/// What is behind the `#` of a mailed link: the customer number, so that the lookup
/// stays within one customer, a dot, and 256 random bits in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmationToken {
    /// Whose contact's address it confirms.
    pub customer_number: CustomerNumber,
    secret: [u8; SECRET_BYTES],
}

impl ConfirmationToken {
    /// A token of fresh random bits.
    pub fn new(customer_number: CustomerNumber, secret: [u8; SECRET_BYTES]) -> Self {
        Self {
            customer_number,
            secret,
        }
    }

    /// Finds the token in a text: the token alone, or a link or sentence with it, as mail
    /// programs, trackers and people damage it.
    ///
    /// # Errors
    /// [`Invalid`] for a text without a whole token.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        recovery::find_in(text)
            .ok_or_else(|| Invalid::new("must be the token of a confirmation link, whole"))
    }

    /// The customer number of the token that [`parse`](Self::parse) finds. Of a text without one
    /// it is the number in front of the dot, and empty where there is none.
    pub fn customer_number_in(text: &str) -> String {
        match recovery::find_in(text) {
            Some(token) => token.customer_number.as_str().to_owned(),
            None => recovery::number_in(text).to_owned(),
        }
    }

    /// The text that goes into the link.
    pub fn reveal(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}.", self.customer_number.as_str());
        for byte in self.secret {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What is kept of it: the SHA-256 of its random bits.
    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.secret).into()
    }
}

/// Whoever has the token can confirm: it must not get into a log by way of `{:?}`.
impl fmt::Debug for ConfirmationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmationToken(…)")
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
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T09:00:00Z".parse().unwrap()
    }

    fn token() -> ConfirmationToken {
        let mut secret = [0xa7; SECRET_BYTES];
        secret[0] = 0x0f;
        ConfirmationToken::new(CustomerNumber::parse("K-1001").unwrap(), secret)
    }

    #[test]
    fn a_token_is_read_back_from_its_text() {
        let text = token().reveal();
        assert_eq!(text, format!("K-1001.0f{}", "a7".repeat(31)));
        assert_eq!(ConfirmationToken::parse(&text).unwrap(), token());
        assert_eq!(ConfirmationToken::customer_number_in(&text), "K-1001");
        assert_eq!(ConfirmationToken::customer_number_in("nothing"), "");
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert_eq!(format!("{:?}", token()), "ConfirmationToken(…)");
    }

    #[test]
    fn rule_7_a_pending_one_expires_at_its_instant_and_no_other_state_does() {
        let mut confirmation = EmailConfirmation {
            id: ConfirmationId(Uuid::nil()),
            customer_number: token().customer_number,
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
