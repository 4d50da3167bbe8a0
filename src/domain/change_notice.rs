//! Notices of changes to who may act for a customer (rule 31): which changes there are, and who is notified.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{
    contact::{Contact, Locale},
    contact_types::ContactType,
    customer::Customer,
    email_address::EmailAddress,
    ids::ContactId,
};

/// Changes within this time after the first one are combined into one e-mail.
pub const NOTICE_WINDOW: TimeDelta = TimeDelta::minutes(10);

/// The kind of a change that the customer is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A contact was added.
    ContactAdded,
    /// A contact was deleted.
    ContactDeleted,
    /// A phone password was set.
    PhonePasswordSet,
    /// A phone password was removed.
    PhonePasswordRemoved,
    /// The phone numbers of a contact were changed.
    PhoneNumbersChanged,
    /// Invoice e-mail was disabled because the last address of a contact expired (rule 22).
    InvoiceEmailLapsed,
    /// The e-mail address of the contact data was replaced or removed.
    ContactDataEmailReplaced,
}

impl NoticeKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 7] = [
        Self::ContactAdded,
        Self::ContactDeleted,
        Self::PhonePasswordSet,
        Self::PhonePasswordRemoved,
        Self::PhoneNumbersChanged,
        Self::InvoiceEmailLapsed,
        Self::ContactDataEmailReplaced,
    ];

    /// Returns the stored name, which the templates know as well.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContactAdded => "contact_added",
            Self::ContactDeleted => "contact_deleted",
            Self::PhonePasswordSet => "phone_password_set",
            Self::PhonePasswordRemoved => "phone_password_removed",
            Self::PhoneNumbersChanged => "phone_numbers_changed",
            Self::InvoiceEmailLapsed => "invoice_email_lapsed",
            Self::ContactDataEmailReplaced => "contact_data_email_replaced",
        }
    }
}

/// A change that the customer is notified of: no values but the contact's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticedChange {
    /// The kind of the change.
    pub kind: NoticeKind,
    /// The contact; `None` means the contact data.
    pub contact_id: Option<ContactId>,
    /// The contact's name at that time; empty for the contact data.
    pub name: String,
    /// The time of the last such change.
    pub time: DateTime<Utc>,
}

impl NoticedChange {
    /// Creates a change of a contact.
    pub fn of_contact(kind: NoticeKind, contact: &Contact, time: DateTime<Utc>) -> Self {
        Self {
            kind,
            contact_id: Some(contact.id),
            name: contact.display_name.clone(),
            time,
        }
    }
}

/// Adds a change to those of a notice. Of equal changes of one contact the last one remains, so that the
/// notice has a limited length.
pub fn combine(changes: &mut Vec<NoticedChange>, new: NoticedChange) {
    changes.retain(|change| change.kind != new.kind || change.contact_id != new.contact_id);
    changes.push(new);
}

/// A recipient of a notice.
#[derive(Clone, Debug)]
pub struct NoticeRecipient {
    /// The contact; `None` means the contact data.
    pub contact_id: Option<ContactId>,
    /// The contact's name; empty for the contact data.
    pub name: String,
    /// The address.
    pub email: EmailAddress,
    /// The language of the notice.
    pub locale: Locale,
}

impl NoticeRecipient {
    /// Returns the contact data as a recipient, if it has an address.
    pub fn contact_data(customer: &Customer) -> Option<Self> {
        let data = &customer.contact_data;
        Some(Self {
            contact_id: None,
            name: String::new(),
            email: data.email.clone()?,
            locale: data.locale,
        })
    }
}

/// Returns the recipients of a notice about `change`: the contact-data address unless it bounces, and the
/// other STANDARD contacts with a confirmed address that does not bounce. `customer` is the record before the change of
/// its own address; `contacts` are those after the change.
///
/// The setting switches all of this off, except that a replaced address is notified that it was replaced.
pub fn notice_recipients(
    customer: &Customer,
    contacts: &[Contact],
    change: &NoticedChange,
) -> Vec<NoticeRecipient> {
    let is_on = customer.notification_settings.contact_changes;
    let is_own_address = change.kind == NoticeKind::ContactDataEmailReplaced;
    let has_bounced = customer.contact_data.email_bounce_time.is_some();
    let contact_data = NoticeRecipient::contact_data(customer)
        .filter(|_| (is_on || is_own_address) && !has_bounced);
    let mut recipients = Vec::from_iter(contact_data);
    let others = contacts.iter().filter(|contact| {
        is_on
            && contact.types.contains(ContactType::Standard)
            && Some(contact.id) != change.contact_id
            && contact.email_bounce_time.is_none()
    });
    for contact in others {
        let Some(email) = contact.email.clone() else {
            continue;
        };
        let is_same = |known: &NoticeRecipient| known.email.is_same_as(&email);
        if !recipients.iter().any(is_same) {
            recipients.push(NoticeRecipient {
                contact_id: Some(contact.id),
                name: contact.display_name.clone(),
                email,
                locale: contact.locale,
            });
        }
    }
    recipients
}

#[cfg(test)]
mod tests;
