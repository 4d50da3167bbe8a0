//! Mails that wait to be sent: which there are, what they need to know, and when a
//! failed one is tried again.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::{
    contact::{Contact, Locale},
    email_address::EmailAddress,
    ids::{ConfirmationId, ContactId, CustomerNumber},
};

/// How often a mail is tried before it is a dead letter.
pub const MAX_ATTEMPTS: i16 = 20;

/// How long a dead letter is kept for whoever looks into it.
pub const DEAD_LETTERS_KEPT: TimeDelta = TimeDelta::days(30);

const FIRST_RETRY: TimeDelta = TimeDelta::seconds(10);
const LAST_RETRY: TimeDelta = TimeDelta::hours(1);
const JITTER_PERCENT: i32 = 20;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// Asks the new address to be confirmed.
    EmailConfirmation,
    /// Reminds of that, a day before it is too late.
    EmailConfirmationReminder,
    /// Tells the old address that another one took its place.
    EmailReplaced,
    /// Tells the contact that its phone password is locked.
    PhonePasswordLocked,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::EmailConfirmation,
        Self::EmailConfirmationReminder,
        Self::EmailReplaced,
        Self::PhonePasswordLocked,
    ];

    /// The name that is kept, and that templates have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmailConfirmation => "email_confirmation",
            Self::EmailConfirmationReminder => "email_confirmation_reminder",
            Self::EmailReplaced => "email_replaced",
            Self::PhonePasswordLocked => "phone_password_locked",
        }
    }

    /// Whether it asks for a confirmation, and so holds a link.
    pub const fn has_link(self) -> bool {
        match self {
            Self::EmailConfirmation | Self::EmailConfirmationReminder => true,
            Self::EmailReplaced | Self::PhonePasswordLocked => false,
        }
    }
}

/// A mail that waits to be sent.
#[derive(Clone, Debug)]
pub struct QueuedMail {
    /// Whose contact it is about.
    pub customer_number: CustomerNumber,
    /// Which mail it is; its Message-ID is made of it.
    pub id: Uuid,
    /// What it is about.
    pub kind: MailKind,
    /// Whom it is about.
    pub contact_id: ContactId,
    /// The pending address that it asks to be confirmed.
    pub confirmation_id: Option<ConfirmationId>,
    /// Where it goes.
    pub recipient: EmailAddress,
    /// The name it speaks to.
    pub display_name: String,
    /// Its language.
    pub locale: Locale,
    /// When it was written down.
    pub create_time: DateTime<Utc>,
    /// How often it was tried, this time included. Only who claimed it for this
    /// attempt may say what became of it.
    pub attempt: i16,
}

impl QueuedMail {
    /// A mail to `recipient` about `contact`.
    pub fn new(
        id: Uuid,
        kind: MailKind,
        contact: &Contact,
        recipient: EmailAddress,
        confirmation_id: Option<ConfirmationId>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            customer_number: contact.customer_number.clone(),
            id,
            kind,
            contact_id: contact.id,
            confirmation_id,
            recipient,
            display_name: contact.display_name.clone(),
            locale: contact.locale,
            create_time: now,
            attempt: 0,
        }
    }
}

/// How long after a failed attempt the next one comes: 10 s, doubling up to an hour,
/// and up to a fifth more by `random`, so that mails that failed together do not
/// come back together.
pub fn retry_delay(attempt: i16, random: u8) -> TimeDelta {
    let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or_default();
    let factor = 2i32.checked_pow(doublings).unwrap_or(i32::MAX);
    let delay = FIRST_RETRY
        .checked_mul(factor)
        .map_or(LAST_RETRY, |delay| delay.min(LAST_RETRY));
    delay + delay * (i32::from(random) * JITTER_PERCENT) / (100 * i32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_double_from_ten_seconds_to_an_hour() {
        for (attempt, seconds) in [(1, 10), (2, 20), (3, 40), (9, 2560), (10, 3600), (20, 3600)] {
            let delay = TimeDelta::seconds(seconds);
            assert_eq!(retry_delay(attempt, 0), delay, "attempt {attempt}");
            assert_eq!(retry_delay(attempt, u8::MAX), delay * 6 / 5);
            let between = retry_delay(attempt, 100);
            assert!(delay < between && between < delay * 6 / 5);
        }
        assert_eq!(retry_delay(i16::MAX, 0), TimeDelta::hours(1));
        assert_eq!(retry_delay(0, 0), TimeDelta::seconds(10));
    }
}
