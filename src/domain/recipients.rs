//! Resolves the recipients for a purpose and the reasons of exclusions (rules 3, 22, 23 and the
//! table of purposes).

use chrono::{DateTime, Utc};

use crate::domain::{
    attention_line::{self, AttentionLine},
    contact::Locale,
    contact_types::{ContactType, ContactTypes},
    customer::NotificationSettings,
    email_address::EmailAddress,
    ids::{ContactId, CustomerNumber},
};

/// The purpose of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An invoice.
    Invoice,
    /// A reminder of an unpaid invoice.
    PaymentReminder,
    /// A notice of a security problem.
    SecurityNotice,
    /// A notice of planned maintenance.
    PlannedMaintenance,
    /// A notice of an outage.
    Outage,
    /// Any other message.
    General,
}

impl Purpose {
    /// Every purpose, in the order of the declaration.
    pub const ALL: [Self; 6] = [
        Self::Invoice,
        Self::PaymentReminder,
        Self::SecurityNotice,
        Self::PlannedMaintenance,
        Self::Outage,
        Self::General,
    ];
}

/// The delivery method of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMethod {
    /// To the recipients, by e-mail.
    Email,
    /// By post: an invoice without recipients.
    Postal,
    /// Not at all: any other purpose without recipients.
    None,
}

/// The reason for which a recipient was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientReason {
    /// The contact has a type that the purpose addresses.
    TypeMatch,
    /// A STANDARD contact, as no recipient of higher precedence is reachable.
    StandardFallback,
    /// The notification settings enable this purpose for the contact data.
    ContactDataSetting,
    /// The contact data, as no contact of higher precedence is reachable.
    ContactDataFallback,
    /// The purpose addresses the contact data.
    ContactData,
}

/// The reason for which a considered contact, or the contact data, was excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionReason {
    /// No address is on file.
    NoEmail,
    /// The only address is not confirmed.
    EmailUnconfirmed,
    /// Invoice e-mail is disabled for the contact.
    InvoiceEmailOff,
    /// The address was selected already.
    DuplicateAddress,
    /// The notification settings disable this purpose for the contact data.
    NotificationsOff,
    /// E-mails to the address bounce.
    EmailBounced,
}

/// The data of a contact that the resolution depends on.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The id within the customer.
    pub id: ContactId,
    /// The types; never empty.
    pub types: ContactTypes,
    /// The name of the person or department.
    pub display_name: String,
    /// The language of messages to the contact.
    pub locale: Locale,
    /// The confirmed address.
    pub email: Option<EmailAddress>,
    /// The expiry of the pending address, if there is one.
    pub pending_email_expire_time: Option<DateTime<Utc>>,
    /// True if invoices are sent to the contact by e-mail.
    pub invoice_email_enabled: bool,
    /// True if an e-mail to the confirmed address bounced.
    pub email_bounced: bool,
}

impl Candidate {
    fn is_pending_at(&self, now: DateTime<Utc>) -> bool {
        self.pending_email_expire_time
            .is_some_and(|expire_time| now < expire_time)
    }

    /// Returns true if invoice e-mail is enabled at `now`. It ends with the last address, even before
    /// the expiry is stored (rule 22).
    fn has_invoice_email_at(&self, now: DateTime<Utc>) -> bool {
        self.invoice_email_enabled && (self.email.is_some() || self.is_pending_at(now))
    }
}

/// The data of a customer that the resolution depends on.
#[derive(Clone, Debug)]
pub struct Addressees {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The address of the contact data.
    pub contact_data_email: Option<EmailAddress>,
    /// True if an e-mail to the address of the contact data failed.
    pub contact_data_bounced: bool,
    /// The language of the contact data.
    pub contact_data_locale: Locale,
    /// The notices that are sent to the contact data.
    pub notification_settings: NotificationSettings,
    /// True if the attention line is suppressed.
    pub attention_line_suppressed: bool,
    /// The contacts in the order of their creation.
    pub contacts: Vec<Candidate>,
}

/// A selected recipient.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The contact; `None` means the contact data.
    pub contact_id: Option<ContactId>,
    /// The name of the contact; empty for the contact data.
    pub display_name: String,
    /// The confirmed address.
    pub email: EmailAddress,
    /// The language of the message.
    pub locale: Locale,
    /// The reason of the selection.
    pub reason: RecipientReason,
}

/// An excluded contact, or the excluded contact data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The contact; `None` means the contact data.
    pub contact_id: Option<ContactId>,
    /// The reason of the exclusion.
    pub reason: ExclusionReason,
}

/// The resolution for one customer and purpose.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The purpose of the message.
    pub purpose: Purpose,
    /// The recipients, with distinct addresses.
    pub recipients: Vec<Recipient>,
    /// The contacts that the purpose or one of its fallbacks considered and excluded.
    pub exclusions: Vec<Exclusion>,
    /// The delivery method; by e-mail only with recipients.
    pub delivery: DeliveryMethod,
    /// The attention line of an invoice; empty for other purposes.
    pub attention_line: AttentionLine,
}

/// Resolves the recipients by the table of purposes, as of `now`. `attention_line_chars` is the
/// maximum length of the attention line in characters.
///
/// A recipient is reachable if it has a confirmed address that does not bounce. A fallback is
/// considered only if no recipient of higher precedence is reachable.
pub fn resolve(
    addressees: &Addressees,
    purpose: Purpose,
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Resolution {
    let mut selection = Selection::new(addressees, now);
    let settings = addressees.notification_settings;
    match purpose {
        Purpose::Invoice => selection.add_invoice_contacts(),
        Purpose::PaymentReminder => {
            selection.add_type(ContactType::Accounting, RecipientReason::TypeMatch);
            selection.fall_back_to_standard();
            selection.fall_back_to_contact_data();
        }
        Purpose::SecurityNotice => selection.add_notice(settings.security_notices),
        Purpose::PlannedMaintenance => selection.add_notice(settings.planned_maintenance),
        Purpose::Outage if settings.outages => selection.add_notice(true),
        Purpose::Outage => {
            // There is no fallback, as the customer opted out.
            selection.add_type(ContactType::Technical, RecipientReason::TypeMatch);
            selection.exclude(None, ExclusionReason::NotificationsOff);
        }
        Purpose::General => {
            selection.add_contact_data(RecipientReason::ContactData);
            selection.fall_back_to_standard();
        }
    }
    let (recipients, exclusions) = selection.finish();
    let is_invoice = purpose == Purpose::Invoice;
    Resolution {
        customer_number: addressees.customer_number.clone(),
        purpose,
        delivery: match (recipients.is_empty(), is_invoice) {
            (false, _) => DeliveryMethod::Email,
            (true, true) => DeliveryMethod::Postal,
            (true, false) => DeliveryMethod::None,
        },
        attention_line: if is_invoice {
            attention_line(addressees, attention_line_chars)
        } else {
            AttentionLine::default()
        },
        recipients,
        exclusions,
    }
}

/// Composes the attention line from all ACCOUNTING contacts or, without any, from all STANDARD
/// contacts (rule 23).
fn attention_line(addressees: &Addressees, max_chars: usize) -> AttentionLine {
    if addressees.attention_line_suppressed {
        return AttentionLine::default();
    }
    let names = |contact_type| {
        addressees
            .contacts
            .iter()
            .filter(move |contact| contact.types.contains(contact_type))
            .map(|contact| contact.display_name.as_str())
    };
    if names(ContactType::Accounting).next().is_some() {
        attention_line::compose(names(ContactType::Accounting), max_chars)
    } else {
        attention_line::compose(names(ContactType::Standard), max_chars)
    }
}

struct Selection<'a> {
    addressees: &'a Addressees,
    recipients: Vec<Recipient>,
    exclusions: Vec<Exclusion>,
    now: DateTime<Utc>,
}

impl<'a> Selection<'a> {
    fn new(addressees: &'a Addressees, now: DateTime<Utc>) -> Self {
        Self {
            addressees,
            recipients: Vec::new(),
            exclusions: Vec::new(),
            now,
        }
    }

    fn add_invoice_contacts(&mut self) {
        for contact in &self.addressees.contacts {
            if !contact.types.may_have_invoice_email() {
                continue;
            }
            if contact.has_invoice_email_at(self.now) {
                self.add_contact(contact, RecipientReason::TypeMatch);
            } else {
                self.exclude(Some(contact.id), ExclusionReason::InvoiceEmailOff);
            }
        }
    }

    fn add_notice(&mut self, setting: bool) {
        self.add_type(ContactType::Technical, RecipientReason::TypeMatch);
        if setting {
            self.add_contact_data(RecipientReason::ContactDataSetting);
        } else if self.recipients.is_empty() {
            self.add_contact_data(RecipientReason::ContactDataFallback);
        } else {
            self.exclude(None, ExclusionReason::NotificationsOff);
        }
        self.fall_back_to_standard();
    }

    fn fall_back_to_standard(&mut self) {
        if self.recipients.is_empty() {
            self.add_type(ContactType::Standard, RecipientReason::StandardFallback);
        }
    }

    fn fall_back_to_contact_data(&mut self) {
        if self.recipients.is_empty() {
            self.add_contact_data(RecipientReason::ContactDataFallback);
        }
    }

    fn add_type(&mut self, contact_type: ContactType, reason: RecipientReason) {
        for contact in &self.addressees.contacts {
            if contact.types.contains(contact_type) {
                self.add_contact(contact, reason);
            }
        }
    }

    fn add_contact(&mut self, contact: &Candidate, reason: RecipientReason) {
        match &contact.email {
            Some(email) if contact.email_bounced && self.bounces(email) => {
                self.exclude(Some(contact.id), ExclusionReason::EmailBounced);
            }
            Some(email) => self.select(Recipient {
                contact_id: Some(contact.id),
                display_name: contact.display_name.clone(),
                email: email.clone(),
                locale: contact.locale,
                reason,
            }),
            None if contact.is_pending_at(self.now) => {
                self.exclude(Some(contact.id), ExclusionReason::EmailUnconfirmed);
            }
            None => self.exclude(Some(contact.id), ExclusionReason::NoEmail),
        }
    }

    fn add_contact_data(&mut self, reason: RecipientReason) {
        match &self.addressees.contact_data_email {
            Some(email) if self.bounces(email) => {
                self.exclude(None, ExclusionReason::EmailBounced);
            }
            Some(email) => self.select(Recipient {
                contact_id: None,
                display_name: String::new(),
                email: email.clone(),
                locale: self.addressees.contact_data_locale,
                reason,
            }),
            None => self.exclude(None, ExclusionReason::NoEmail),
        }
    }

    /// Returns true if the address is marked as failing wherever the customer has it. A contact that
    /// confirmed it after the failure proves that it works; the contact data, which needs no confirmation,
    /// proves nothing.
    fn bounces(&self, email: &EmailAddress) -> bool {
        let marked_as = |bounced: bool| {
            self.addressees.contacts.iter().any(|contact| {
                let own = contact.email.as_ref();
                contact.email_bounced == bounced && own.is_some_and(|own| own.is_same_as(email))
            })
        };
        let own = self.addressees.contact_data_email.as_ref();
        let is_own_marked =
            self.addressees.contact_data_bounced && own.is_some_and(|own| own.is_same_as(email));
        (marked_as(true) || is_own_marked) && !marked_as(false)
    }

    fn select(&mut self, recipient: Recipient) {
        // A linear search, as there are at most 100 contacts, and mostly two or three.
        let is_same = |selected: &Recipient| selected.email.is_same_as(&recipient.email);
        if self.recipients.iter().any(is_same) {
            self.exclude(recipient.contact_id, ExclusionReason::DuplicateAddress);
        } else {
            self.recipients.push(recipient);
        }
    }

    /// Excludes each contact once: one that was excluded as ACCOUNTING is not listed again as
    /// STANDARD.
    fn exclude(&mut self, contact_id: Option<ContactId>, reason: ExclusionReason) {
        let is_listed = |listed: &Exclusion| listed.contact_id == contact_id;
        if !self.exclusions.iter().any(is_listed) {
            self.exclusions.push(Exclusion { contact_id, reason });
        }
    }

    /// Sorts the exclusions in the order of the contacts' creation, the contact data last.
    fn finish(mut self) -> (Vec<Recipient>, Vec<Exclusion>) {
        let contacts = &self.addressees.contacts;
        let rank = |exclusion: &Exclusion| {
            contacts
                .iter()
                .position(|contact| Some(contact.id) == exclusion.contact_id)
                .unwrap_or(contacts.len())
        };
        self.exclusions.sort_by_key(rank);
        (self.recipients, self.exclusions)
    }
}

#[cfg(test)]
mod tests;
