//! Checks the customers of a page, with all that belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::part::CheckedPart;
use crate::{
    domain::{
        contact::{Contact, MAX_CONTACTS, MAX_PHONE_NUMBERS},
        contact_types::ContactType,
        customer::Customer,
        data_check::{DataCheck, Finding},
        email_address::EmailAddress,
        email_confirmation::{EmailConfirmation, mask},
        phone_number::PhoneNumber,
    },
    error::Result,
    storage::{NumberRange, Snapshot, StoredContact, StoredCustomer, StoredMail},
};

pub(super) async fn check_page(snapshot: &Snapshot, page: &NumberRange) -> Result<CheckedPart> {
    let customers = snapshot.list_customers(page).await?;
    let contacts = snapshot.list_contacts(page).await?;
    let confirmations = snapshot.list_pending_confirmations(page).await?;
    let mails = snapshot.list_mails(page).await?;
    let mut findings = snapshot.find_inconsistent_rows(page).await?;
    findings.extend(customers.iter().flat_map(check_customer));
    findings.extend(check_contacts(&contacts));
    findings.extend(check_confirmations(&contacts, &confirmations));
    findings.extend(mails.iter().filter_map(check_mail));
    let unknown = snapshot.list_unknown_event_numbers(page).await?;
    let unknown = unknown.iter();
    findings
        .extend(unknown.map(|number| {
            Finding::of_customer(DataCheck::EVENT_WITHOUT_CUSTOMER, number.as_str())
        }));
    // The findings of a customer together.
    findings.sort_by(|a, b| a.customer_number.cmp(&b.customer_number));
    Ok(CheckedPart {
        customers: customers.len() as u64,
        contacts: contacts.len() as u64,
        feed_entries: 0,
        findings,
    })
}

fn check_customer(stored: &StoredCustomer) -> Vec<Finding> {
    let found = |check| Finding::of_customer(check, &stored.number);
    let Ok(customer) = &stored.customer else {
        return vec![found(DataCheck::UNREADABLE_CUSTOMER)];
    };
    let Customer {
        contact_data,
        attention_line,
        ..
    } = customer;
    let ordered_by = attention_line.ordered.as_ref().map(|(email, _)| email);
    let emails = contact_data.email.iter().chain(ordered_by);
    let mut checks = check_forms(emails, contact_data.phone_number.iter());
    if !is_key(contact_data.email.as_ref(), stored.email_key.as_deref()) {
        checks.push(DataCheck::EMAIL_KEY);
    }
    checks.into_iter().map(found).collect()
}

/// Checks the contacts of a page, which are ordered by customer.
fn check_contacts(contacts: &[StoredContact]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for of_customer in contacts.chunk_by(|a, b| a.customer_number == b.customer_number) {
        let readable: Vec<_> = of_customer
            .iter()
            .filter_map(|stored| stored.contact.as_ref().ok())
            .collect();
        let has_standard = readable
            .iter()
            .any(|contact| contact.types.contains(ContactType::Standard));
        // An unreadable contact may be STANDARD.
        let lacks_standard = !has_standard && readable.len() == of_customer.len();
        let number = of_customer.first().map(|first| &first.customer_number);
        let of_all = [
            (lacks_standard, DataCheck::LAST_STANDARD_CONTACT),
            (
                of_customer.len() > MAX_CONTACTS,
                DataCheck::TOO_MANY_CONTACTS,
            ),
        ];
        for (_, check) in of_all.into_iter().filter(|(is_found, _)| *is_found) {
            findings.extend(number.map(|number| Finding::of_customer(check, number)));
        }
        findings.extend(of_customer.iter().flat_map(check_contact));
    }
    findings
}

fn check_contact(stored: &StoredContact) -> Vec<Finding> {
    let found = |check| Finding::of_contact(check, &stored.customer_number, stored.id);
    let Ok(contact) = &stored.contact else {
        return vec![found(DataCheck::UNREADABLE_CONTACT)];
    };
    let pending = contact.pending_email.as_ref().map(|pending| &pending.email);
    let emails = contact.email.iter().chain(pending);
    let mut checks = check_forms(emails, contact.phone_numbers.iter());
    if !is_key(contact.email.as_ref(), stored.email_key.as_deref()) {
        checks.push(DataCheck::EMAIL_KEY);
    }
    if contact.phone_numbers.len() > MAX_PHONE_NUMBERS {
        checks.push(DataCheck::TOO_MANY_PHONE_NUMBERS);
    }
    // An address that has expired is dropped together with invoice e-mail: both are stored until then.
    if contact.invoice_email_enabled && !contact.can_have_invoice_email() {
        checks.push(DataCheck::INVOICE_EMAIL);
    }
    checks.into_iter().map(found).collect()
}

/// Returns the checks of the stored forms that some of these values do not pass.
fn check_forms<'v>(
    mut emails: impl Iterator<Item = &'v EmailAddress>,
    mut phone_numbers: impl Iterator<Item = &'v PhoneNumber>,
) -> Vec<DataCheck> {
    let mut checks = Vec::new();
    if !emails.all(is_normalized) {
        checks.push(DataCheck::EMAIL_FORM);
    }
    let is_same = |number: &PhoneNumber| {
        PhoneNumber::parse(number.as_str()).is_ok_and(|parsed| parsed == *number)
    };
    if !phone_numbers.all(is_same) {
        checks.push(DataCheck::PHONE_NUMBER_FORM);
    }
    checks
}

fn is_normalized(email: &EmailAddress) -> bool {
    EmailAddress::parse(email.as_str()).is_ok_and(|parsed| parsed.as_str() == email.as_str())
}

fn is_key(email: Option<&EmailAddress>, key: Option<&str>) -> bool {
    email.map(EmailAddress::comparison_key).as_deref() == key
}

/// Compares the pending addresses of contacts with the pending confirmations.
fn check_confirmations(
    contacts: &[StoredContact],
    confirmations: &[EmailConfirmation],
) -> Vec<Finding> {
    let mut by_id: BTreeMap<Uuid, &EmailConfirmation> = confirmations
        .iter()
        .map(|confirmation| (confirmation.id.0, confirmation))
        .collect();
    let readable = contacts
        .iter()
        .filter_map(|stored| stored.contact.as_ref().ok());
    let mut findings = Vec::new();
    for contact in readable {
        let Some(pending) = &contact.pending_email else {
            continue;
        };
        let of_contact = by_id
            .remove(&pending.id.0)
            .filter(|confirmation| is_of(confirmation, contact));
        let check = match of_contact {
            None => DataCheck::PENDING_WITHOUT_CONFIRMATION,
            Some(confirmation)
                if confirmation.expire_time != pending.expire_time
                    || confirmation.masked_email != mask(&pending.email) =>
            {
                DataCheck::CONFIRMATION_MISMATCH
            }
            Some(_) => continue,
        };
        let number = contact.customer_number.as_str();
        findings.push(Finding::of_contact(check, number, contact.id));
    }
    // Those without a contact are found by their reference, and an unreadable one may have the address.
    let known: BTreeSet<_> = contacts
        .iter()
        .filter(|stored| stored.contact.is_ok())
        .map(|stored| stored.id)
        .collect();
    let others = by_id.into_values();
    let others = others.filter(|confirmation| known.contains(&confirmation.contact_id));
    findings.extend(others.map(|confirmation| {
        let check = DataCheck::CONFIRMATION_WITHOUT_PENDING;
        let number = confirmation.customer_number.as_str();
        Finding::of_contact(check, number, confirmation.contact_id)
            .with_row(format!("confirmation {}", confirmation.id.0))
    }));
    findings
}

fn is_of(confirmation: &EmailConfirmation, contact: &Contact) -> bool {
    confirmation.contact_id == contact.id && confirmation.customer_number == contact.customer_number
}

fn check_mail(stored: &StoredMail) -> Option<Finding> {
    let check = match &stored.recipient {
        Err(_) => DataCheck::UNREADABLE_MAIL,
        Ok(recipient) if !is_normalized(recipient) => DataCheck::EMAIL_FORM,
        Ok(_) => return None,
    };
    let finding = Finding::of_customer(check, &stored.customer_number);
    Some(Finding {
        contact_id: stored.contact_id,
        ..finding.with_row(format!("mail {}", stored.id))
    })
}
