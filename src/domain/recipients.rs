//! Who is written to for a purpose, who is left out, and why (rules 3, 22, 23
//! and the table of purposes).

use chrono::{DateTime, Utc};

use crate::domain::{
    attention_line::{self, AttentionLine},
    contact::Locale,
    contact_types::{ContactType, ContactTypes},
    customer::NotificationSettings,
    email_address::EmailAddress,
    ids::{ContactId, CustomerNumber},
};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An invoice.
    Invoice,
    /// A reminder of an unpaid invoice.
    PaymentReminder,
    /// A security problem.
    SecurityNotice,
    /// Maintenance to come.
    PlannedMaintenance,
    /// An outage.
    Outage,
    /// Everything else.
    General,
}

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To the recipients, by e-mail.
    Email,
    /// By post: an invoice that has no recipient.
    Postal,
    /// Not at all: another purpose that has no recipient.
    None,
}

/// Why a recipient was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientReason {
    /// The contact has a type that the purpose asks for.
    TypeMatch,
    /// No recipient that the purpose asks for first is reachable; STANDARD serves.
    StandardFallback,
    /// The notification settings enable this purpose for the contact data.
    ContactDataSetting,
    /// No contact that the purpose asks for first is reachable; the contact data serves.
    ContactDataFallback,
    /// The purpose is meant for the contact data.
    ContactData,
}

/// Why a contact or the contact data was considered and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionReason {
    /// There is no address.
    NoEmail,
    /// The only address still waits for its confirmation.
    EmailUnconfirmed,
    /// Invoice e-mail is disabled for the contact.
    InvoiceEmailOff,
    /// The address was chosen already.
    DuplicateAddress,
    /// The notification settings disable this purpose for the contact data.
    NotificationsOff,
    /// Mails to the address are permanently rejected.
    EmailBounced,
}

/// What the resolution needs to know of a contact.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which contact it is.
    pub id: ContactId,
    /// Its types.
    pub types: ContactTypes,
    /// Its name.
    pub display_name: String,
    /// The language it is written to in.
    pub locale: Locale,
    /// Its confirmed address.
    pub email: Option<EmailAddress>,
    /// Until when an address waits for its confirmation, if there is one.
    pub pending_email_expire_time: Option<DateTime<Utc>>,
    /// Whether invoices go to it by e-mail.
    pub invoice_email_enabled: bool,
    /// Whether a mail to its confirmed address was refused for good.
    pub email_bounced: bool,
}

impl Candidate {
    fn is_pending_at(&self, now: DateTime<Utc>) -> bool {
        self.pending_email_expire_time
            .is_some_and(|expire_time| now < expire_time)
    }

    /// Rule 22: invoice e-mail lapses with the last address, before that is recorded.
    fn has_invoice_email_at(&self, now: DateTime<Utc>) -> bool {
        self.invoice_email_enabled && (self.email.is_some() || self.is_pending_at(now))
    }
}

/// What the resolution needs to know of a customer.
#[derive(Clone, Debug)]
pub struct Addressees {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The address of its contact data.
    pub contact_data_email: Option<EmailAddress>,
    /// The language of its contact data.
    pub contact_data_locale: Locale,
    /// Its notification settings.
    pub notification_settings: NotificationSettings,
    /// Whether the attention line stays empty.
    pub attention_line_suppressed: bool,
    /// Its contacts in the order of their creation.
    pub contacts: Vec<Candidate>,
}

/// An address to write to.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The contact; `None` is the customer's contact data.
    pub contact_id: Option<ContactId>,
    /// The contact's name; empty for the contact data.
    pub display_name: String,
    /// The confirmed address.
    pub email: EmailAddress,
    /// The language to write in.
    pub locale: Locale,
    /// Why it was chosen.
    pub reason: RecipientReason,
}

/// A contact, or the contact data, that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The contact; `None` is the customer's contact data.
    pub contact_id: Option<ContactId>,
    /// Why it was left out.
    pub reason: ExclusionReason,
}

/// The answer for one customer and purpose.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The recipients; no address twice.
    pub recipients: Vec<Recipient>,
    /// All that the purpose or one of its fallbacks considered and left out.
    pub exclusions: Vec<Exclusion>,
    /// How it is delivered; by e-mail only with recipients.
    pub delivery: Delivery,
    /// The attention line of an invoice; empty for other purposes.
    pub attention_line: AttentionLine,
}

/// Applies the table of purposes as of `now`. `attention_line_chars` is the room of the
/// attention line in characters.
///
/// A recipient is reachable if it has a confirmed address that does not bounce; a fallback is
/// considered only if none before it is reachable.
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
            // The customer opted out: there is no fallback.
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
        delivery: match (recipients.is_empty(), is_invoice) {
            (false, _) => Delivery::Email,
            (true, true) => Delivery::Postal,
            (true, false) => Delivery::None,
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

/// Rule 23: all ACCOUNTING contacts; if there are none, all STANDARD contacts.
fn attention_line(addressees: &Addressees, room_chars: usize) -> AttentionLine {
    if addressees.attention_line_suppressed {
        return AttentionLine::default();
    }
    let named = |contact_type| {
        addressees
            .contacts
            .iter()
            .filter(move |contact| contact.types.contains(contact_type))
            .map(|contact| contact.display_name.as_str())
    };
    if named(ContactType::Accounting).next().is_some() {
        attention_line::compose(named(ContactType::Accounting), room_chars)
    } else {
        attention_line::compose(named(ContactType::Standard), room_chars)
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
            Some(email) => self.choose(Recipient {
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
            Some(email) => self.choose(Recipient {
                contact_id: None,
                display_name: String::new(),
                email: email.clone(),
                locale: self.addressees.contact_data_locale,
                reason,
            }),
            None => self.exclude(None, ExclusionReason::NoEmail),
        }
    }

    /// Returns true if contacts of the customer have this address, and all of them are marked: one
    /// that confirmed it after it bounced shows that it works.
    fn bounces(&self, email: &EmailAddress) -> bool {
        let marked_as = |bounced: bool| {
            self.addressees.contacts.iter().any(|contact| {
                let held = contact.email.as_ref();
                contact.email_bounced == bounced && held.is_some_and(|held| held.is_same_as(email))
            })
        };
        marked_as(true) && !marked_as(false)
    }

    fn choose(&mut self, recipient: Recipient) {
        // There are 100 contacts at most, and mostly two or three.
        let is_known = |known: &Recipient| known.email.is_same_as(&recipient.email);
        if self.recipients.iter().any(is_known) {
            self.exclude(recipient.contact_id, ExclusionReason::DuplicateAddress);
        } else {
            self.recipients.push(recipient);
        }
    }

    /// Lists each party once: a contact that failed as ACCOUNTING is not named again when it
    /// fails as STANDARD.
    fn exclude(&mut self, contact_id: Option<ContactId>, reason: ExclusionReason) {
        let is_listed = |known: &Exclusion| known.contact_id == contact_id;
        if !self.exclusions.iter().any(is_listed) {
            self.exclusions.push(Exclusion { contact_id, reason });
        }
    }

    /// The exclusions are put in the order of the contacts' creation, the contact data last,
    /// whichever stage left them out.
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
