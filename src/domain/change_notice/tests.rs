//! Which change tells whom.

use rstest::rstest;
use uuid::Uuid;

use super::{NoticeKind as Kind, *};
use crate::domain::ids::CustomerNumber;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(&format!("{text}.example")).unwrap()
}

/// Anna (1) and Bernd (2) are STANDARD with an address, Carla (3) is STANDARD without one, Dora (4) is
/// TECHNICAL with one, Emil's (5) address bounces.
fn contacts() -> Vec<Contact> {
    [
        (1, ContactType::Standard, Some("anna@x")),
        (2, ContactType::Standard, Some("bernd@x")),
        (3, ContactType::Standard, None),
        (4, ContactType::Technical, Some("dora@x")),
        (5, ContactType::Standard, Some("emil@x")),
    ]
    .into_iter()
    .map(|(id, contact_type, address)| {
        let number = CustomerNumber::parse("K-1").unwrap();
        let types = [contact_type].into_iter().collect();
        let id = ContactId(Uuid::from_u128(id));
        let mut contact = Contact::new(number, id, types, format!("Name {}", id.0), now());
        contact.email = address.map(email);
        contact.email_bounce_time = (contact.id.0 == Uuid::from_u128(5)).then(now);
        contact
    })
    .collect()
}

fn customer(address: &str, contact_changes: bool) -> Customer {
    let mut customer = Customer::new(CustomerNumber::parse("K-1").unwrap(), now());
    customer.contact_data.email = (!address.is_empty()).then(|| email(address));
    customer.notification_settings.contact_changes = contact_changes;
    customer
}

fn notified(customer: &Customer, kind: Kind, contact: Option<u128>) -> Vec<String> {
    let change = NoticedChange {
        kind,
        contact_id: contact.map(|id| ContactId(Uuid::from_u128(id))),
        name: String::new(),
        time: now(),
    };
    let recipients = notice_recipients(customer, &contacts(), &change);
    let address = |notified: &NoticeRecipient| notified.email.as_str().replace(".example", "");
    recipients.iter().map(address).collect()
}

#[rstest]
fn contact_data_and_other_standard_contacts_are_notified(
    #[values(
        Kind::ContactAdded,
        Kind::ContactDeleted,
        Kind::PhonePasswordSet,
        Kind::PhonePasswordRemoved,
        Kind::PhoneNumbersChanged,
        Kind::InvoiceEmailLapsed
    )]
    kind: Kind,
) {
    let on = customer("info@x", true);
    assert_eq!(notified(&on, kind, Some(1)), ["info@x", "bernd@x"]);
    assert_eq!(
        notified(&on, kind, Some(4)),
        ["info@x", "anna@x", "bernd@x"]
    );
    assert_eq!(notified(&customer("", true), kind, Some(1)), ["bernd@x"]);
    assert_eq!(
        notified(&customer("ANNA@x", true), kind, Some(4)),
        ["ANNA@x", "bernd@x"]
    );
    assert!(notified(&customer("info@x", false), kind, Some(1)).is_empty());
}

#[test]
fn replaced_address_is_notified_whatever_the_setting() {
    let kind = Kind::ContactDataEmailReplaced;
    let notified = |address, setting| notified(&customer(address, setting), kind, None);
    assert_eq!(notified("old@x", true), ["old@x", "anna@x", "bernd@x"]);
    assert_eq!(notified("old@x", false), ["old@x"]);
}

#[test]
fn contact_data_that_bounces_is_not_notified() {
    let mut bounced = customer("info@x", true);
    bounced.contact_data.email_bounce_time = Some(now());
    for kind in [Kind::ContactAdded, Kind::ContactDataEmailReplaced] {
        assert_eq!(notified(&bounced, kind, Some(1)), ["bernd@x"]);
    }
}

#[test]
fn equal_changes_of_one_contact_are_combined() {
    let contacts = contacts();
    let mut changes = Vec::new();
    for minute in 0..500 {
        let time = now() + TimeDelta::minutes(minute);
        for kind in [Kind::PhoneNumbersChanged, Kind::PhonePasswordSet] {
            for contact in &contacts {
                combine(&mut changes, NoticedChange::of_contact(kind, contact, time));
            }
        }
    }
    assert_eq!(changes.len(), 2 * contacts.len());
    let last = now() + TimeDelta::minutes(499);
    assert!(changes.iter().all(|change| change.time == last));
}
