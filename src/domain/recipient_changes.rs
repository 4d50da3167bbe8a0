//! The purposes whose recipients differ after a change.

use chrono::{DateTime, Utc};

use crate::domain::{
    attention_line::DEFAULT_ROOM_CHARS,
    contact::Contact,
    customer::Customer,
    recipients::{Addressees, Candidate, Purpose, Recipient, Resolution, resolve},
};

/// The effect of a change on the recipients for one purpose.
#[derive(Clone, Debug)]
pub struct RecipientChange {
    /// The resolution before the change.
    pub before: Resolution,
    /// The resolution after the change, for the same purpose.
    pub after: Resolution,
}

/// Returns the purposes whose resolutions differ for other contacts of `customer`, in the order of their
/// declaration.
pub fn recipient_changes<'c>(
    customer: &Customer,
    before: impl IntoIterator<Item = &'c Contact>,
    after: impl IntoIterator<Item = &'c Contact>,
    now: DateTime<Utc>,
) -> Vec<RecipientChange> {
    let (before, after) = (
        Addressees::of(customer, before),
        Addressees::of(customer, after),
    );
    let change = |purpose| RecipientChange {
        before: resolve(&before, purpose, DEFAULT_ROOM_CHARS, now),
        after: resolve(&after, purpose, DEFAULT_ROOM_CHARS, now),
    };
    Purpose::ALL
        .into_iter()
        .map(change)
        .filter(|change| !is_same(&change.before, &change.after))
        .collect()
}

/// Addresses are compared as they are written: a recipient sees the difference.
fn is_same(before: &Resolution, after: &Resolution) -> bool {
    let is_same_recipient = |(one, other): (&Recipient, &Recipient)| {
        one.contact_id == other.contact_id
            && one.display_name == other.display_name
            && one.email.as_str() == other.email.as_str()
            && one.locale == other.locale
            && one.reason == other.reason
    };
    before.delivery == after.delivery
        && before.attention_line == after.attention_line
        && before.exclusions == after.exclusions
        && before.recipients.len() == after.recipients.len()
        && before
            .recipients
            .iter()
            .zip(&after.recipients)
            .all(is_same_recipient)
}

impl Addressees {
    /// Returns the data of a customer and its contacts, in the order of their creation, on which the
    /// resolution depends.
    pub fn of<'c>(customer: &Customer, contacts: impl IntoIterator<Item = &'c Contact>) -> Self {
        Self {
            customer_number: customer.number.clone(),
            contact_data_email: customer.contact_data.email.clone(),
            contact_data_bounced: customer.contact_data.email_bounce_time.is_some(),
            contact_data_locale: customer.contact_data.locale,
            notification_settings: customer.notification_settings,
            attention_line_suppressed: customer.attention_line.suppressed,
            contacts: contacts.into_iter().map(Candidate::of).collect(),
        }
    }
}

impl Candidate {
    fn of(contact: &Contact) -> Self {
        Self {
            id: contact.id,
            types: contact.types,
            display_name: contact.display_name.clone(),
            locale: contact.locale,
            email: contact.email.clone(),
            pending_email_expire_time: contact
                .pending_email
                .as_ref()
                .map(|pending| pending.expire_time),
            invoice_email_enabled: contact.invoice_email_enabled,
            email_bounced: contact.email_bounce_time.is_some(),
        }
    }
}
