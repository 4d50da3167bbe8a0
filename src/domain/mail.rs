//! Queued e-mails: their kinds and contents, and the delays between delivery attempts.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::{
    change_notice::{NoticeRecipient, NoticedChange},
    contact::{Contact, Locale},
    email_address::EmailAddress,
    ids::{ConfirmationId, ContactId, CustomerNumber},
};

/// The number of delivery attempts after which an e-mail becomes a dead letter.
pub const MAX_ATTEMPTS: i16 = 20;

/// How long a dead letter is stored.
pub const DEAD_LETTER_RETENTION: TimeDelta = TimeDelta::days(30);

const FIRST_RETRY: TimeDelta = TimeDelta::seconds(10);
const MAX_RETRY: TimeDelta = TimeDelta::hours(1);
const JITTER_PERCENT: i32 = 20;

/// The kind of an e-mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// Requests the confirmation of a new address.
    EmailConfirmation,
    /// Reminds of the confirmation one day before the address expires.
    EmailConfirmationReminder,
    /// Notifies the previous address that it was replaced.
    EmailReplaced,
    /// Notifies the contact that its phone password is locked.
    PhonePasswordLocked,
    /// Tells the customer of changes to who may act for it (rule 31).
    ContactsChanged,
    /// Asks the customer once a year to review its contacts (rule 33).
    ContactsReview,
    /// Contains a one-time code for the phone (rule 29).
    OneTimeCode,
}

impl MailKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::EmailConfirmation,
        Self::EmailConfirmationReminder,
        Self::EmailReplaced,
        Self::PhonePasswordLocked,
        Self::ContactsChanged,
        Self::ContactsReview,
        Self::OneTimeCode,
    ];

    /// Returns the stored name, which is also the name of the template.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmailConfirmation => "email_confirmation",
            Self::EmailConfirmationReminder => "email_confirmation_reminder",
            Self::EmailReplaced => "email_replaced",
            Self::PhonePasswordLocked => "phone_password_locked",
            Self::ContactsChanged => "contacts_changed",
            Self::ContactsReview => "contacts_review",
            Self::OneTimeCode => "one_time_code",
        }
    }

    /// Returns true if the e-mail contains a confirmation link.
    pub const fn has_link(self) -> bool {
        match self {
            Self::EmailConfirmation | Self::EmailConfirmationReminder => true,
            Self::EmailReplaced
            | Self::PhonePasswordLocked
            | Self::ContactsChanged
            | Self::ContactsReview
            | Self::OneTimeCode => false,
        }
    }
}

/// An e-mail in the outbox.
#[derive(Clone, Debug)]
pub struct QueuedMail {
    /// The customer of the contact.
    pub customer_number: CustomerNumber,
    /// The id, from which the Message-ID is derived.
    pub id: Uuid,
    /// The kind of the e-mail.
    pub kind: MailKind,
    /// The contact that the e-mail is about or sent to; `None` means the contact data.
    pub contact_id: Option<ContactId>,
    /// The entry of the pending address that it requests to confirm.
    pub confirmation_id: Option<ConfirmationId>,
    /// The address that it is sent to.
    pub recipient: EmailAddress,
    /// The name in the salutation.
    pub display_name: String,
    /// The language of the e-mail.
    pub locale: Locale,
    /// The changes of a notice of rule 31; empty for other e-mails.
    pub changes: Vec<NoticedChange>,
    /// The time at which it was queued.
    pub create_time: DateTime<Utc>,
    /// The number of the current delivery attempt. Only the worker that claimed the e-mail for this
    /// attempt may record its outcome.
    pub attempt: i16,
}

impl QueuedMail {
    /// Creates an e-mail to `recipient` about `contact`.
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
            contact_id: Some(contact.id),
            confirmation_id,
            recipient,
            display_name: contact.display_name.clone(),
            locale: contact.locale,
            changes: Vec::new(),
            create_time: now,
            attempt: 0,
        }
    }

    /// Creates an e-mail to `recipient` about the contacts of a customer.
    pub fn about_customer(
        id: Uuid,
        kind: MailKind,
        customer_number: CustomerNumber,
        recipient: NoticeRecipient,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            customer_number,
            id,
            kind,
            contact_id: recipient.contact_id,
            confirmation_id: None,
            recipient: recipient.email,
            display_name: recipient.name,
            locale: recipient.locale,
            changes: Vec::new(),
            create_time: now,
            attempt: 0,
        }
    }
}

/// Returns the delay between a failed attempt and the next one: 10 s, doubled up to an hour, plus up
/// to a fifth of jitter from `random`, so that e-mails that failed together are not retried
/// together.
pub fn retry_delay(attempt: i16, random: u8) -> TimeDelta {
    let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or_default();
    let factor = 2i32.checked_pow(doublings).unwrap_or(i32::MAX);
    let delay = FIRST_RETRY
        .checked_mul(factor)
        .map_or(MAX_RETRY, |delay| delay.min(MAX_RETRY));
    delay + delay * (i32::from(random) * JITTER_PERCENT) / (100 * i32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delay_doubles_from_ten_seconds_to_an_hour() {
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
