//! Tests of the rules of a single contact and of all contacts of a customer.

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::domain::{
    contact_change::ContactChange,
    email_confirmation::{PENDING_EMAIL_LIFETIME, RESENDS_AT_ONCE},
};

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn contact(id: u128, types: &[ContactType]) -> Contact {
    let customer_number = CustomerNumber::parse("K-1").unwrap();
    let types = types.iter().copied().collect();
    Contact {
        position: i64::try_from(id).unwrap(),
        ..Contact::new(
            customer_number,
            ContactId(Uuid::from_u128(id)),
            types,
            "Anna Schmidt".into(),
            now(),
        )
    }
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

const ID: ConfirmationId = ConfirmationId(Uuid::from_u128(7));
const STANDARD: &[ContactType] = &[ContactType::Standard];
const ACCOUNTING: &[ContactType] = &[ContactType::Accounting];
const TECHNICAL: &[ContactType] = &[ContactType::Technical];

#[test]
fn rule_2_first_contact_has_to_be_standard() {
    let rejected = check_addition(&contact(1, TECHNICAL), &[], now());
    assert_eq!(rejected, Err(Error::FirstContactNotStandard));
    assert_eq!(check_addition(&contact(1, STANDARD), &[], now()), Ok(()));
    let others = [contact(1, STANDARD)];
    assert_eq!(
        check_addition(&contact(2, TECHNICAL), &others, now()),
        Ok(())
    );
}

#[test]
fn rule_2_last_standard_contact_cannot_be_removed() {
    let all = [contact(1, STANDARD), contact(2, TECHNICAL)];
    assert_eq!(
        check_deletion(&all[0], &all),
        Err(Error::LastStandardContact)
    );
    assert_eq!(check_deletion(&all[1], &all), Ok(()));
    let stripped = contact(1, TECHNICAL);
    assert_eq!(
        check_contact_rules(&all[0], &stripped, &all, now()),
        Err(Error::LastStandardContact)
    );
    let alone = [contact(1, STANDARD)];
    assert_eq!(
        check_deletion(&alone[0], &alone),
        Err(Error::LastStandardContact)
    );
    let two = [contact(1, STANDARD), contact(2, STANDARD)];
    assert_eq!(check_deletion(&two[0], &two), Ok(()));
    assert_eq!(check_contact_rules(&two[0], &stripped, &two, now()), Ok(()));
}

#[test]
fn rule_4_customer_has_at_most_100_contacts() {
    let mut others: Vec<_> = (1..=99).map(|id| contact(id, STANDARD)).collect();
    assert_eq!(
        check_addition(&contact(100, STANDARD), &others, now()),
        Ok(())
    );
    others.push(contact(100, STANDARD));
    assert_eq!(
        check_addition(&contact(101, STANDARD), &others, now()),
        Err(Error::ContactLimit { limit: 100 })
    );
}

#[test]
fn rule_22_invoice_email_requires_type_and_address() {
    let others = [contact(1, STANDARD)];
    for (types, address, allowed) in [
        (STANDARD, true, true),
        (ACCOUNTING, true, true),
        (TECHNICAL, true, false),
        (STANDARD, false, false),
        (ACCOUNTING, false, false),
    ] {
        let mut off = contact(2, types);
        if address {
            off.change_email(ID, email("a@example.com"), now());
        }
        let mut on = off.clone();
        on.invoice_email_enabled = true;
        let expected = if allowed {
            Ok(())
        } else {
            Err(Error::InvoiceEmailNotAllowed)
        };
        assert_eq!(
            check_addition(&on, &others, now()),
            expected,
            "{types:?} {address}"
        );
        assert_eq!(check_contact_rules(&off, &on, &others, now()), expected);
    }
}

#[test]
fn rule_22_invoice_email_keeps_its_type_and_last_address() {
    let all = [contact(1, STANDARD)];
    let mut before = contact(2, ACCOUNTING);
    before.email = Some(email("a@example.com"));
    before.invoice_email_enabled = true;
    let rejected = Err(Error::InvoiceEmailNotAllowed);

    let mut after = before.clone();
    after.types = TECHNICAL.iter().copied().collect();
    assert_eq!(check_contact_rules(&before, &after, &all, now()), rejected);
    after.invoice_email_enabled = false;
    assert_eq!(check_contact_rules(&before, &after, &all, now()), Ok(()));

    let mut after = before.clone();
    after.remove_email(now());
    assert_eq!(check_contact_rules(&before, &after, &all, now()), rejected);

    let mut after = before.clone();
    after.types = STANDARD.iter().copied().collect();
    assert_eq!(check_contact_rules(&before, &after, &all, now()), Ok(()));
}

#[test]
fn rule_22_invoice_email_ends_with_the_last_address() {
    let mut entered = contact(2, ACCOUNTING);
    entered.change_email(ID, email("a@example.com"), now());
    entered.invoice_email_enabled = true;
    let expiry = now() + PENDING_EMAIL_LIFETIME;
    let before = entered.clone().as_of(expiry - TimeDelta::microseconds(1));
    assert!(before.invoice_email_enabled);
    assert_eq!(before.etag(), entered.etag());

    // The contact is the same at any time after the expiry.
    for later in [expiry, expiry + TimeDelta::days(1)] {
        let after = entered.clone().as_of(later);
        assert!(!after.invoice_email_enabled && after.pending_email.is_none());
        assert_eq!(after.version, entered.version + 1);
        assert_eq!(after.update_time, expiry);
    }
    let expiry_of_email = EmailExpiry {
        id: ID,
        disables_invoice_email: true,
    };
    assert_eq!(entered.expire_pending_email(expiry), Some(expiry_of_email));
    assert_eq!(entered.etag(), entered.clone().as_of(expiry).etag());
    assert_eq!(entered.expire_pending_email(expiry), None);
}

#[test]
fn rule_22_invoice_email_continues_with_a_current_address() {
    let mut entered = contact(2, ACCOUNTING);
    entered.email = Some(email("current@example.com"));
    entered.change_email(ID, email("a@example.com"), now());
    entered.invoice_email_enabled = true;
    let expired = entered.expire_pending_email(now() + PENDING_EMAIL_LIFETIME);
    assert!(!expired.unwrap().disables_invoice_email);
    assert!(entered.invoice_email_enabled);
    assert_eq!(entered.version, 2);
}

#[test]
fn rule_7_pending_address_expires_after_seven_days() {
    let mut contact = contact(1, STANDARD);
    contact.change_email(ID, email("a@example.com"), now());
    let last = now() + TimeDelta::days(7) - TimeDelta::microseconds(1);
    assert!(contact.pending_email_at(last).is_some());
    assert!(
        contact
            .pending_email_at(now() + TimeDelta::days(7))
            .is_none()
    );
    let expired = contact.cancel_email_change(now() + TimeDelta::days(7));
    assert_eq!(expired, Err(Error::NoPendingEmail));
}

#[test]
fn rule_8_entering_an_address_replaces_the_pending_one() {
    let mut contact = contact(1, STANDARD);
    contact.email = Some(email("current@example.com"));
    assert_eq!(
        contact.change_email(ID, email("a@example.com"), now()),
        ["pending_email"]
    );
    assert_eq!(
        contact.change_email(ID, email("b@example.com"), now()),
        ["pending_email"]
    );
    let later = now() + TimeDelta::days(6);
    assert!(
        contact
            .change_email(ID, email("B@example.com"), later)
            .is_empty()
    );
    let pending = contact.pending_email_at(later).unwrap();
    assert_eq!(pending.email.as_str(), "b@example.com");
    assert_eq!(pending.expire_time, now() + PENDING_EMAIL_LIFETIME);
    assert_eq!(
        contact.change_email(ID, email("Current@Example.com"), now()),
        ["pending_email"]
    );
    assert!(contact.pending_email.is_none());
    assert_eq!(contact.email.unwrap().as_str(), "current@example.com");
}

#[test]
fn cancelling_keeps_the_current_address_and_removing_drops_it() {
    let mut contact = contact(1, STANDARD);
    contact.email = Some(email("current@example.com"));
    contact.change_email(ID, email("a@example.com"), now());
    let mut cancelled = contact.clone();
    assert_eq!(
        cancelled.cancel_email_change(now()).unwrap(),
        ["pending_email"]
    );
    assert!(cancelled.email.is_some() && cancelled.pending_email.is_none());
    assert_eq!(contact.remove_email(now()), ["email", "pending_email"]);
    assert!(contact.email.is_none() && contact.pending_email.is_none());
    assert!(contact.remove_email(now()).is_empty());
}

#[test]
fn change_returns_the_names_of_differing_fields() {
    let mut contact = contact(1, STANDARD);
    let change = ContactChange {
        display_name: Some("Anna Schmidt".into()),
        locale: Some(Locale::English),
        restrictions_note: Some("only by day".into()),
        ..ContactChange::default()
    };
    assert_eq!(
        change.apply_to(&mut contact),
        ["locale", "restrictions.note"]
    );
}

#[test]
fn rule_8_link_confirms_only_its_own_address() {
    let mut contact = contact(1, STANDARD);
    contact.email = Some(email("old@example.com"));
    contact.change_email(ID, email("new@example.com"), now());
    let other = ConfirmationId(Uuid::from_u128(8));
    let expired = now() + PENDING_EMAIL_LIFETIME;
    for (id, time) in [(other, now()), (ID, expired)] {
        assert_eq!(
            contact.confirm_email(id, time),
            Err(Error::ConfirmationSuperseded)
        );
    }
    let in_time = expired - TimeDelta::microseconds(1);
    assert_eq!(
        contact.confirm_email(ID, in_time),
        Ok(vec!["email", "pending_email"])
    );
    assert_eq!(contact.email.as_ref().unwrap().as_str(), "new@example.com");
    assert!(contact.pending_email.is_none());
    assert_eq!(
        contact.confirm_email(ID, in_time),
        Err(Error::ConfirmationSuperseded)
    );
}

#[test]
fn rule_11_resend_is_counted_and_keeps_the_expiry() {
    let mut contact = contact(1, STANDARD);
    assert_eq!(
        contact.resend_confirmation(now()),
        Err(Error::NoPendingEmail)
    );
    contact.change_email(ID, email("new@example.com"), now());
    let later = now() + TimeDelta::days(2);
    for left in (0..RESENDS_AT_ONCE).rev() {
        contact.resend_confirmation(later).unwrap();
        let shown = contact.clone().as_of(later).pending_email.unwrap();
        assert_eq!(shown.resends_left, left);
        assert_eq!(shown.expire_time, now() + PENDING_EMAIL_LIFETIME);
    }
    assert!(matches!(
        contact.resend_confirmation(later),
        Err(Error::ResendLimit { .. })
    ));
    let expired = now() + PENDING_EMAIL_LIFETIME;
    assert_eq!(
        contact.resend_confirmation(expired),
        Err(Error::NoPendingEmail)
    );
}
