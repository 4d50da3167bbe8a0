//! The review of a customer's contacts (rule 33): what is missing or outdated.

use chrono::{DateTime, Months, Utc};

use crate::domain::{
    attention_line::DEFAULT_ROOM_CHARS,
    contact::Contact,
    contact_types::ContactType,
    customer::{ContactsReview, Customer},
    ids::ContactId,
    recipients::{Addressees, Purpose, resolve},
};

/// The age of a confirmation from which it should be repeated.
const CONFIRMATION_MONTHS: Months = Months::new(12);

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Invoices go by post.
    NoInvoiceRecipient,
    /// No contact is TECHNICAL.
    NoTechnicalContact,
    /// Fewer than two contacts are reachable.
    NoSubstitute,
    /// Contacts without an address.
    NoEmail,
    /// Contacts with an address that awaits confirmation.
    EmailUnconfirmed,
    /// Contacts with an address that bounces.
    EmailBounced,
    /// Contacts whose address was last confirmed more than 12 months ago.
    EmailConfirmedLongAgo,
    /// Contacts whose invoice e-mail ended with an expired address (rule 22).
    InvoiceEmailLapsed,
    /// The contact data has no address.
    NoContactDataEmail,
    /// The address of the contact data bounces.
    ContactDataEmailBounced,
}

/// A finding about the contacts of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the finding.
    pub kind: FindingKind,
    /// The contacts that it concerns; empty: the customer as a whole.
    pub contact_ids: Vec<ContactId>,
}

/// Returns the findings about a customer, in the order of their kinds. `contacts` are all contacts as of
/// `now`.
pub fn review(customer: &Customer, contacts: &[Contact], now: DateTime<Utc>) -> Vec<Finding> {
    let ids = |is_found: &dyn Fn(&Contact) -> bool| -> Vec<ContactId> {
        let found = contacts.iter().filter(|contact| is_found(contact));
        found.map(|contact| contact.id).collect()
    };
    let whole = |kind, is_found: bool| {
        is_found.then_some(Finding {
            kind,
            contact_ids: Vec::new(),
        })
    };
    let of_contacts = |kind, contact_ids: Vec<ContactId>| {
        (!contact_ids.is_empty()).then_some(Finding { kind, contact_ids })
    };
    let addressees = Addressees::of(customer, contacts);
    let invoice = resolve(&addressees, Purpose::Invoice, DEFAULT_ROOM_CHARS, now);
    let is_technical = |contact: &Contact| contact.types.contains(ContactType::Technical);
    let reachable = ids(&|contact| contact.email.is_some() && contact.email_bounce_time.is_none());
    let has_substitute = reachable.len() > 1;
    [
        whole(
            FindingKind::NoInvoiceRecipient,
            invoice.recipients.is_empty(),
        ),
        whole(
            FindingKind::NoTechnicalContact,
            !contacts.iter().any(is_technical),
        ),
        (!has_substitute).then_some(Finding {
            kind: FindingKind::NoSubstitute,
            contact_ids: reachable,
        }),
        of_contacts(
            FindingKind::NoEmail,
            ids(&|contact| contact.email.is_none() && contact.pending_email.is_none()),
        ),
        of_contacts(
            FindingKind::EmailUnconfirmed,
            ids(&|contact| contact.pending_email.is_some()),
        ),
        of_contacts(FindingKind::EmailBounced, ids(&has_bounced)),
        of_contacts(
            FindingKind::EmailConfirmedLongAgo,
            ids(&|contact| was_confirmed_long_ago(contact, now)),
        ),
        of_contacts(
            FindingKind::InvoiceEmailLapsed,
            ids(&|contact| has_lapsed(contact, customer.contacts_review.as_ref())),
        ),
        whole(
            FindingKind::NoContactDataEmail,
            customer.contact_data.email.is_none(),
        ),
        whole(
            FindingKind::ContactDataEmailBounced,
            customer.contact_data.email_bounce_time.is_some(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A review since the lapse has taken note of it.
fn has_lapsed(contact: &Contact, review: Option<&ContactsReview>) -> bool {
    let lapsed = contact.invoice_email_lapse_time;
    lapsed.is_some_and(|lapsed| review.is_none_or(|review| review.time < lapsed))
}

fn has_bounced(contact: &Contact) -> bool {
    let pending = contact.pending_email.as_ref();
    contact.email_bounce_time.is_some() || pending.is_some_and(|p| p.bounce_time.is_some())
}

/// An address of which no confirmation is recorded was confirmed before it was imported.
fn was_confirmed_long_ago(contact: &Contact, now: DateTime<Utc>) -> bool {
    let confirmed = contact.email_confirm_time.unwrap_or(contact.create_time);
    let limit = now.checked_sub_months(CONFIRMATION_MONTHS);
    contact.email.is_some() && limit.is_some_and(|limit| confirmed < limit)
}

#[cfg(test)]
mod tests;
