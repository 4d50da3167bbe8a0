//! The rules of a single contact and of a customer's contacts together.

use super::*;
use crate::domain::email_confirmation::{PENDING_EMAIL_LIFETIME, RESENDS_AT_ONCE};
use chrono::TimeDelta;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn contact(id: u128, types: &[ContactType]) -> Contact {
    let number = CustomerNumber::parse("K-1").unwrap();
    let types = types.iter().copied().collect();
    Contact {
        position: i64::try_from(id).unwrap(),
        ..Contact::new(
            number,
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
fn rule_2_the_first_contact_is_standard() {
    let refused = check_addition(&contact(1, TECHNICAL), &[], now());
    assert_eq!(refused, Err(Error::FirstContactNotStandard));
    assert_eq!(check_addition(&contact(1, STANDARD), &[], now()), Ok(()));
    let others = [contact(1, STANDARD)];
    assert_eq!(
        check_addition(&contact(2, TECHNICAL), &others, now()),
        Ok(())
    );
}

#[test]
fn rule_2_the_last_standard_contact_stays() {
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
fn rule_4_a_customer_has_at_most_100_contacts() {
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
fn rule_22_invoice_email_needs_a_type_and_an_address() {
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
fn rule_22_type_and_last_address_stay_while_invoice_email_is_on() {
    let all = [contact(1, STANDARD)];
    let mut before = contact(2, ACCOUNTING);
    before.email = Some(email("a@example.com"));
    before.invoice_email_enabled = true;
    let refused = Err(Error::InvoiceEmailNotAllowed);

    let mut after = before.clone();
    after.types = TECHNICAL.iter().copied().collect();
    assert_eq!(check_contact_rules(&before, &after, &all, now()), refused);
    after.invoice_email_enabled = false;
    assert_eq!(check_contact_rules(&before, &after, &all, now()), Ok(()));

    let mut after = before.clone();
    after.remove_email(now());
    assert_eq!(check_contact_rules(&before, &after, &all, now()), refused);

    let mut after = before.clone();
    after.types = STANDARD.iter().copied().collect();
    assert_eq!(check_contact_rules(&before, &after, &all, now()), Ok(()));
}

#[test]
fn rule_22_invoice_email_lapses_with_the_last_address() {
    let mut entered = contact(2, ACCOUNTING);
    entered.change_email(ID, email("a@example.com"), now());
    entered.invoice_email_enabled = true;
    let expiry = now() + PENDING_EMAIL_LIFETIME;
    let before = entered.clone().as_of(expiry - TimeDelta::microseconds(1));
    assert!(before.invoice_email_enabled);
    assert_eq!(before.etag(), entered.etag());

    // However long ago it was, the contact looks as at the first moment after it.
    for later in [expiry, expiry + TimeDelta::days(1)] {
        let after = entered.clone().as_of(later);
        assert!(!after.invoice_email_enabled && after.pending_email.is_none());
        assert_eq!(after.version, entered.version + 1);
        assert_eq!(after.update_time, expiry);
    }
    let lapse = Lapse {
        id: ID,
        disables_invoice_email: true,
    };
    assert_eq!(entered.expire_pending_email(expiry), Some(lapse));
    assert_eq!(entered.etag(), entered.clone().as_of(expiry).etag());
    assert_eq!(entered.expire_pending_email(expiry), None);
}

#[test]
fn rule_22_invoice_email_stays_with_a_current_address() {
    let mut entered = contact(2, ACCOUNTING);
    entered.email = Some(email("current@example.com"));
    entered.change_email(ID, email("a@example.com"), now());
    entered.invoice_email_enabled = true;
    let lapse = entered.expire_pending_email(now() + PENDING_EMAIL_LIFETIME);
    assert!(!lapse.unwrap().disables_invoice_email);
    assert!(entered.invoice_email_enabled);
    assert_eq!(entered.version, 2);
}

#[test]
fn rule_7_a_pending_address_is_gone_at_seven_days() {
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
fn rule_8_a_newer_address_replaces_the_pending_one_and_the_current_one_drops_it() {
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
fn removing_leaves_no_address_and_cancelling_keeps_the_current_one() {
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
fn a_change_names_only_what_differs() {
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
fn uuids_are_read_in_their_hyphenated_form_only() {
    let hyphenated = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";
    assert!(parse_uuid(hyphenated).is_ok());
    assert!(parse_uuid(&hyphenated.to_uppercase()).is_ok());
    for bad in [
        "",
        "0190d6d25a3c7cc18f2e3d1f0a9b7c55",
        "{0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55}",
        "urn:uuid:0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55",
        "00000000-0000-0000-0000-000000000000",
    ] {
        assert!(parse_uuid(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn rule_8_a_link_confirms_the_address_it_was_made_for_and_no_other() {
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
fn rule_11_a_resend_counts_and_prolongs_nothing() {
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
