//! One case for each kind of finding.

use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::domain::{
    email_address::EmailAddress,
    email_confirmation::PendingEmail,
    ids::{ConfirmationId, CustomerNumber},
};

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn contact(id: u128, contact_type: ContactType) -> Contact {
    let number = CustomerNumber::parse("K-1").unwrap();
    let types = [contact_type].into_iter().collect();
    let id = ContactId(Uuid::from_u128(id));
    let mut contact = Contact::new(number, id, types, "Anna".into(), now());
    contact.email = Some(email(&format!("{}@example.com", id.0.as_u128())));
    contact.email_confirm_time = Some(now());
    contact
}

/// A customer without a finding.
fn flawless() -> (Customer, Vec<Contact>) {
    let mut customer = Customer::new(CustomerNumber::parse("K-1").unwrap(), now());
    customer.contact_data.email = Some(email("info@example.com"));
    let mut standard = contact(1, ContactType::Standard);
    standard.invoice_email_enabled = true;
    (customer, vec![standard, contact(2, ContactType::Technical)])
}

type Flaw = fn(&mut Customer, &mut Vec<Contact>);

fn findings(flaw: Flaw) -> Vec<(FindingKind, Vec<u128>)> {
    let (mut customer, mut contacts) = flawless();
    flaw(&mut customer, &mut contacts);
    let findings = review(&customer, &contacts, now()).into_iter();
    let ids = |ids: Vec<ContactId>| ids.iter().map(|id| id.0.as_u128()).collect();
    findings
        .map(|finding| (finding.kind, ids(finding.contact_ids)))
        .collect()
}

#[test]
fn flawless_customer_has_no_finding() {
    assert!(findings(|_, _| {}).is_empty());
}

#[rstest]
#[case::no_invoice_recipient(|_: &mut Customer, c: &mut Vec<Contact>| c[0].invoice_email_enabled = false, &[(FindingKind::NoInvoiceRecipient, &[][..])])]
#[case::no_technical_contact(
    |_: &mut Customer, c: &mut Vec<Contact>| c[1].types = [ContactType::Accounting].into_iter().collect(),
    &[(FindingKind::NoTechnicalContact, &[][..])]
)]
#[case::no_substitute(
    |_: &mut Customer, c: &mut Vec<Contact>| { c[1].email = None; c[1].pending_email = None; },
    &[(FindingKind::NoSubstitute, &[1][..]), (FindingKind::NoEmail, &[2])]
)]
#[case::unconfirmed(
    |_: &mut Customer, c: &mut Vec<Contact>| c[1].pending_email = Some(PendingEmail::new(ConfirmationId(Uuid::nil()), email("a@b.example"), now())),
    &[(FindingKind::EmailUnconfirmed, &[2][..])]
)]
#[case::bounced(
    |_: &mut Customer, c: &mut Vec<Contact>| { c[1].email_bounce_time = Some(now()); c.push(contact(3, ContactType::Other)); },
    &[(FindingKind::EmailBounced, &[2][..])]
)]
#[case::confirmed_long_ago(
    |_: &mut Customer, c: &mut Vec<Contact>| c[1].email_confirm_time = Some(now() - chrono::TimeDelta::days(367)),
    &[(FindingKind::EmailConfirmedLongAgo, &[2][..])]
)]
#[case::confirmed_within_a_year(|_: &mut Customer, c: &mut Vec<Contact>| c[1].email_confirm_time = Some(now() - chrono::TimeDelta::days(366)), &[])]
#[case::imported_long_ago(
    |_: &mut Customer, c: &mut Vec<Contact>| { c[1].email_confirm_time = None; c[1].create_time = now() - chrono::TimeDelta::days(367); },
    &[(FindingKind::EmailConfirmedLongAgo, &[2][..])]
)]
#[case::invoice_email_lapsed(
    |_: &mut Customer, c: &mut Vec<Contact>| c[1].invoice_email_lapse_time = Some(now()),
    &[(FindingKind::InvoiceEmailLapsed, &[2][..])]
)]
#[case::no_contact_data_email(
    |c: &mut Customer, _: &mut Vec<Contact>| c.contact_data.email = None,
    &[(FindingKind::NoContactDataEmail, &[][..])]
)]
#[case::contact_data_bounced(
    |c: &mut Customer, _: &mut Vec<Contact>| c.contact_data.email_bounce_time = Some(now()),
    &[(FindingKind::ContactDataEmailBounced, &[][..])]
)]
fn each_flaw_is_found(#[case] flaw: Flaw, #[case] expected: &[(FindingKind, &[u128])]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, ids)| (*kind, ids.to_vec()))
        .collect();
    assert_eq!(findings(flaw), expected);
}

#[test]
fn customer_without_contacts_lacks_all_of_them() {
    let kinds = findings(|_, contacts| contacts.clear());
    let kinds: Vec<_> = kinds.into_iter().map(|(kind, _)| kind).collect();
    let expected = [
        FindingKind::NoInvoiceRecipient,
        FindingKind::NoTechnicalContact,
        FindingKind::NoSubstitute,
    ];
    assert_eq!(kinds, expected);
}
