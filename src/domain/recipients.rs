//! Who is written to for a purpose, who is left out, and why (rules 3, 22, 23
//! and the table of purposes).

use chrono::{DateTime, Utc};

use crate::domain::{
    attention_line::{self, AttentionLine},
    contact::{ContactId, Locale},
    contact_types::{ContactType, ContactTypes},
    customer::{CustomerNumber, NotificationSettings},
    email_address::EmailAddress,
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

/// How a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To the recipients, by e-mail.
    Email,
    /// By post: an invoice that has no recipient.
    Postal,
}

/// Why a recipient was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientReason {
    /// The contact has a type that the purpose asks for.
    TypeMatch,
    /// No contact of the special type can be written to; STANDARD serves.
    StandardFallback,
    /// The notification settings switch this purpose on for the contact data.
    ContactDataSetting,
    /// No contact can be written to; the contact data serves.
    ContactDataFallback,
    /// The purpose is meant for the contact data.
    ContactData,
}

/// Why somebody who might have been expected was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionReason {
    /// There is no address.
    NoEmail,
    /// The only address still waits for its confirmation.
    EmailUnconfirmed,
    /// Invoice e-mail is switched off for the contact.
    InvoiceEmailOff,
    /// The address was chosen already.
    DuplicateAddress,
    /// The notification settings switch this purpose off for the contact data.
    NotificationsOff,
    /// Mails to the address are refused for good, and another recipient remains.
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
}

/// What the resolution needs to know of a customer.
#[derive(Clone, Debug)]
pub struct Addressees {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The address of its contact data.
    pub contact_data_email: Option<EmailAddress>,
    /// Its notification settings.
    pub notification_settings: NotificationSettings,
    /// Whether the attention line stays empty.
    pub attention_line_suppressed: bool,
    /// Its contacts in the order of their creation.
    pub contacts: Vec<Candidate>,
}

/// Somebody to write to.
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

/// Somebody left out.
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
    /// Whom to write to; no address twice.
    pub recipients: Vec<Recipient>,
    /// Who might have been expected and was left out.
    pub exclusions: Vec<Exclusion>,
    /// How it leaves; postal only for an invoice without recipients.
    pub delivery: Delivery,
    /// The attention line of an invoice; empty for other purposes.
    pub attention_line: AttentionLine,
}

/// Decides who is written to `now`. `attention_line_chars` is the room of the attention
/// line in characters.
pub fn resolve(
    addressees: &Addressees,
    purpose: Purpose,
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Resolution {
    let mut selection = Selection::new(now);
    let settings = addressees.notification_settings;
    match purpose {
        Purpose::Invoice => selection.add_invoice_contacts(addressees),
        Purpose::PaymentReminder => {
            selection.add_type(
                addressees,
                ContactType::Accounting,
                RecipientReason::TypeMatch,
            );
            if !selection.reaches_somebody() {
                selection.add_type(
                    addressees,
                    ContactType::Standard,
                    RecipientReason::StandardFallback,
                );
            }
            if !selection.reaches_somebody() {
                selection.add_contact_data(addressees, RecipientReason::ContactDataFallback);
            }
        }
        Purpose::SecurityNotice => selection.add_notice(addressees, settings.security_notices),
        Purpose::PlannedMaintenance => {
            selection.add_notice(addressees, settings.planned_maintenance);
        }
        Purpose::Outage => selection.add_notice(addressees, settings.outages),
        Purpose::General => {
            selection.add_contact_data(addressees, RecipientReason::ContactData);
            if !selection.reaches_somebody() {
                selection.add_type(
                    addressees,
                    ContactType::Standard,
                    RecipientReason::StandardFallback,
                );
            }
        }
    }
    selection.leave_out_bounced();
    selection.put_exclusions_in_order(addressees);
    let is_invoice = purpose == Purpose::Invoice;
    Resolution {
        customer_number: addressees.customer_number.clone(),
        delivery: if is_invoice && selection.recipients.is_empty() {
            Delivery::Postal
        } else {
            Delivery::Email
        },
        attention_line: if is_invoice {
            attention_line(addressees, attention_line_chars)
        } else {
            AttentionLine::default()
        },
        recipients: selection
            .recipients
            .into_iter()
            .map(|chosen| chosen.recipient)
            .collect(),
        exclusions: selection.exclusions,
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

struct Chosen {
    recipient: Recipient,
    /// Of all that have the address, as far as mails to them are known.
    has_bounced: bool,
    /// Who was left out, having the same address.
    twins: Vec<Option<ContactId>>,
}

struct Selection {
    recipients: Vec<Chosen>,
    exclusions: Vec<Exclusion>,
    now: DateTime<Utc>,
}

impl Selection {
    fn new(now: DateTime<Utc>) -> Self {
        Self {
            recipients: Vec::new(),
            exclusions: Vec::new(),
            now,
        }
    }

    /// Whether one was chosen whose address is not known to fail: else the next ones serve.
    fn reaches_somebody(&self) -> bool {
        !self.recipients.iter().all(|chosen| chosen.has_bounced)
    }

    fn add_invoice_contacts(&mut self, addressees: &Addressees) {
        let expected = addressees
            .contacts
            .iter()
            .filter(|contact| contact.types.may_have_invoice_email());
        for contact in expected {
            if contact.invoice_email_enabled {
                self.add_contact(contact, RecipientReason::TypeMatch);
            } else {
                self.exclude(Some(contact.id), ExclusionReason::InvoiceEmailOff);
            }
        }
    }

    fn add_notice(&mut self, addressees: &Addressees, setting: bool) {
        self.add_type(
            addressees,
            ContactType::Technical,
            RecipientReason::TypeMatch,
        );
        if setting {
            self.add_contact_data(addressees, RecipientReason::ContactDataSetting);
        } else if !self.reaches_somebody() {
            self.add_contact_data(addressees, RecipientReason::ContactDataFallback);
        } else {
            self.exclude(None, ExclusionReason::NotificationsOff);
        }
    }

    fn add_type(
        &mut self,
        addressees: &Addressees,
        contact_type: ContactType,
        reason: RecipientReason,
    ) {
        let of_type = addressees
            .contacts
            .iter()
            .filter(|contact| contact.types.contains(contact_type));
        for contact in of_type {
            self.add_contact(contact, reason);
        }
    }

    fn add_contact(&mut self, contact: &Candidate, reason: RecipientReason) {
        match &contact.email {
            Some(email) => {
                let recipient = Recipient {
                    contact_id: Some(contact.id),
                    display_name: contact.display_name.clone(),
                    email: email.clone(),
                    locale: contact.locale,
                    reason,
                };
                self.choose(recipient, Some(contact.email_bounced));
            }
            None if contact.is_pending_at(self.now) => {
                self.exclude(Some(contact.id), ExclusionReason::EmailUnconfirmed);
            }
            None => self.exclude(Some(contact.id), ExclusionReason::NoEmail),
        }
    }

    fn add_contact_data(&mut self, addressees: &Addressees, reason: RecipientReason) {
        match &addressees.contact_data_email {
            Some(email) => {
                let recipient = Recipient {
                    contact_id: None,
                    display_name: String::new(),
                    email: email.clone(),
                    locale: Locale::default(),
                    reason,
                };
                self.choose(recipient, None);
            }
            None => self.exclude(None, ExclusionReason::NoEmail),
        }
    }

    /// `has_bounced`: whether mails to it were refused, where that is known.
    fn choose(&mut self, recipient: Recipient, has_bounced: Option<bool>) {
        // There are 100 contacts at most, and mostly two or three.
        let known = self
            .recipients
            .iter_mut()
            .find(|chosen| chosen.recipient.email.is_same_as(&recipient.email));
        if let Some(chosen) = known {
            let who = recipient.contact_id;
            if chosen.recipient.contact_id == who || chosen.twins.contains(&who) {
                // Of a type that serves as well.
                return;
            }
            // Another contact confirmed the address after it had bounced.
            chosen.has_bounced &= has_bounced.unwrap_or(true);
            chosen.twins.push(recipient.contact_id);
            self.exclude(recipient.contact_id, ExclusionReason::DuplicateAddress);
        } else {
            self.recipients.push(Chosen {
                recipient,
                has_bounced: has_bounced.unwrap_or(false),
                twins: Vec::new(),
            });
        }
    }

    /// Where another recipient remains. Trying an address that bounced is better than writing
    /// to nobody: then those remain that the purpose asks for first.
    fn leave_out_bounced(&mut self) {
        let Some(first) = self
            .recipients
            .first()
            .map(|chosen| chosen.recipient.reason)
        else {
            return;
        };
        let reaches_somebody = self.reaches_somebody();
        let is_left_out = |chosen: &mut Chosen| {
            chosen.has_bounced && (reaches_somebody || chosen.recipient.reason != first)
        };
        let bounced: Vec<_> = self.recipients.extract_if(.., is_left_out).collect();
        for chosen in bounced {
            let reason = ExclusionReason::EmailBounced;
            for exclusion in &mut self.exclusions {
                if chosen.twins.contains(&exclusion.contact_id) {
                    exclusion.reason = reason;
                }
            }
            self.exclude(chosen.recipient.contact_id, reason);
        }
    }

    /// In the order of the contacts' creation, the contact data last, whichever stage
    /// left them out.
    fn put_exclusions_in_order(&mut self, addressees: &Addressees) {
        let rank = |exclusion: &Exclusion| {
            let contacts = &addressees.contacts;
            contacts
                .iter()
                .position(|contact| Some(contact.id) == exclusion.contact_id)
                .unwrap_or(contacts.len())
        };
        self.exclusions.sort_by_key(rank);
    }

    /// Lists a left-out party once: a contact that failed as ACCOUNTING is not
    /// named again when it fails as STANDARD.
    fn exclude(&mut self, contact_id: Option<ContactId>, reason: ExclusionReason) {
        if !self
            .exclusions
            .iter()
            .any(|known| known.contact_id == contact_id)
        {
            self.exclusions.push(Exclusion { contact_id, reason });
        }
    }
}

#[cfg(test)]
mod tests;
