//! Decodes the fields of a contact that `CreateContact` and `UpdateContact` set.

use crate::{
    api::{convert::Violations, mask::Mask, proto},
    app::App,
    domain::{
        contact::{
            Locale, MAX_PHONE_NUMBERS, parse_department, parse_display_name, parse_position,
        },
        contact_change::ContactChange,
        person_name::{Salutation, parse_family_name, parse_given_name, parse_title},
        phone_number::PhoneNumber,
        restrictions::{MAX_ORDER_TYPES, OrderTypeCode, parse_note},
    },
    error::{Result, Violation},
};

const TYPES: &str = "types";
const DISPLAY_NAME: &str = "display_name";
const SALUTATION: &str = "name.salutation";
const TITLE: &str = "name.title";
const GIVEN_NAME: &str = "name.given_name";
const FAMILY_NAME: &str = "name.family_name";
const POSITION: &str = "position";
const DEPARTMENT: &str = "department";
const LOCALE: &str = "locale";
const PHONE_NUMBERS: &str = "phone_numbers";
const INVOICE_EMAIL_ENABLED: &str = "invoice_email_enabled";
const NOTE: &str = "restrictions.note";
const ALLOWED: &str = "restrictions.allowed_order_types";
const DENIED: &str = "restrictions.denied_order_types";
/// The paths of the fields that an update mask may name.
pub(super) const UPDATABLE: &[&str] = &[
    TYPES,
    DISPLAY_NAME,
    SALUTATION,
    TITLE,
    GIVEN_NAME,
    FAMILY_NAME,
    POSITION,
    DEPARTMENT,
    LOCALE,
    PHONE_NUMBERS,
    INVOICE_EMAIL_ENABLED,
    NOTE,
    ALLOWED,
    DENIED,
];

/// Decodes the fields that `mask` sets. An invalid field is added to `violations` and omitted.
pub(super) fn decode_change(
    contact: &proto::Contact,
    mask: &Mask,
    violations: &mut Violations,
) -> ContactChange {
    let mut change = ContactChange::default();
    if mask.sets(TYPES, !contact.types.is_empty()) {
        let types = violations.contact_types("contact.types", &contact.types);
        if contact.types.is_empty() {
            violations.add("contact.types", Violation::TypesMissing);
        }
        change.types = Some(types).filter(|types| !types.is_empty());
    }
    if mask.sets(DISPLAY_NAME, !contact.display_name.is_empty()) {
        // Empty: composed from the parts (rule 4).
        let given = !contact.display_name.trim().is_empty();
        let name = given.then(|| parse_display_name(&contact.display_name));
        let name = name.unwrap_or(Ok(String::new()));
        change.display_name = violations.check("contact.display_name", name);
    }
    decode_person(contact, mask, &mut change, violations);
    if mask.sets(LOCALE, !contact.locale.is_empty()) {
        change.locale = violations.check("contact.locale", Locale::parse(&contact.locale));
    }
    if mask.sets(PHONE_NUMBERS, !contact.phone_numbers.is_empty()) {
        change.phone_numbers = Some(decode_phone_numbers(&contact.phone_numbers, violations));
    }
    if mask.sets(
        INVOICE_EMAIL_ENABLED,
        contact.invoice_email_enabled.is_some(),
    ) {
        change.invoice_email_enabled = Some(contact.invoice_email_enabled.unwrap_or_default());
    }
    let restrictions = contact.restrictions.clone().unwrap_or_default();
    if mask.sets(NOTE, !restrictions.note.is_empty()) {
        let note = parse_note(&restrictions.note);
        change.restrictions_note = violations.check("contact.restrictions.note", note);
    }
    if mask.sets(ALLOWED, !restrictions.allowed_order_types.is_empty()) {
        let field = "contact.restrictions.allowed_order_types";
        let codes = decode_codes(field, &restrictions.allowed_order_types, violations);
        change.allowed_order_types = Some(codes);
    }
    if mask.sets(DENIED, !restrictions.denied_order_types.is_empty()) {
        let field = "contact.restrictions.denied_order_types";
        let codes = decode_codes(field, &restrictions.denied_order_types, violations);
        change.denied_order_types = Some(codes);
    }
    change
}

/// Decodes the parts of the name, the position and the department.
fn decode_person(
    contact: &proto::Contact,
    mask: &Mask,
    change: &mut ContactChange,
    violations: &mut Violations,
) {
    let name = contact.name.clone().unwrap_or_default();
    if mask.sets(SALUTATION, name.salutation != 0) {
        change.salutation = decode_salutation(name.salutation, violations);
    }
    let mut text = |leaf, text: &String, parse: fn(&str) -> std::result::Result<_, Violation>| {
        let is_set = mask.sets(leaf, !text.is_empty());
        is_set
            .then(|| violations.check(format!("contact.{leaf}"), parse(text)))
            .flatten()
    };
    change.title = text(TITLE, &name.title, parse_title);
    change.given_name = text(GIVEN_NAME, &name.given_name, parse_given_name);
    change.family_name = text(FAMILY_NAME, &name.family_name, parse_family_name);
    change.job_position = text(POSITION, &contact.position, parse_position);
    change.department = text(DEPARTMENT, &contact.department, parse_department);
}

fn decode_salutation(number: i32, violations: &mut Violations) -> Option<Salutation> {
    match proto::Salutation::try_from(number) {
        Ok(proto::Salutation::Unspecified) => Some(Salutation::Unspecified),
        Ok(proto::Salutation::Herr) => Some(Salutation::Herr),
        Ok(proto::Salutation::Frau) => Some(Salutation::Frau),
        Ok(proto::Salutation::Neutral) => Some(Salutation::Neutral),
        Err(_) => {
            violations.add("contact.name.salutation", Violation::UnknownSalutation);
            None
        }
    }
}

/// Rule 20: adds a violation for each order type of the restrictions that does not exist.
pub(super) async fn check_order_types(
    app: &App,
    contact: &proto::Contact,
    change: &ContactChange,
    violations: &mut Violations,
) -> Result<()> {
    let Some(restrictions) = &contact.restrictions else {
        return Ok(());
    };
    let lists = [
        (
            ALLOWED,
            &restrictions.allowed_order_types,
            &change.allowed_order_types,
        ),
        (
            DENIED,
            &restrictions.denied_order_types,
            &change.denied_order_types,
        ),
    ];
    let set = lists.iter().filter_map(|(.., codes)| codes.as_ref());
    let named: Vec<_> = set.flatten().collect();
    let unknown = app.find_unknown_order_types(&named).await?;
    for (list, texts, _) in lists.into_iter().filter(|(.., codes)| codes.is_some()) {
        for (index, text) in texts.iter().enumerate() {
            if unknown.iter().any(|code| code.as_str() == text) {
                let field = format!("contact.{list}[{index}]");
                violations.add(field, Violation::UnknownOrderType);
            }
        }
    }
    Ok(())
}

/// Decodes phone numbers without duplicates, in their order.
fn decode_phone_numbers(texts: &[String], violations: &mut Violations) -> Vec<PhoneNumber> {
    const FIELD: &str = "contact.phone_numbers";
    let mut numbers = Vec::new();
    if texts.len() > MAX_PHONE_NUMBERS {
        let (max, of) = (MAX_PHONE_NUMBERS, "numbers");
        violations.add(FIELD, Violation::TooMany { max, of });
        return numbers;
    }
    for (index, text) in texts.iter().enumerate() {
        let number = violations.check(format!("{FIELD}[{index}]"), PhoneNumber::parse(text));
        numbers.extend(number.filter(|number| !numbers.contains(number)));
    }
    numbers
}

/// Decodes codes of order types without duplicates, in their order.
fn decode_codes(field: &str, texts: &[String], violations: &mut Violations) -> Vec<OrderTypeCode> {
    let mut codes = Vec::new();
    if texts.len() > MAX_ORDER_TYPES {
        let (max, of) = (MAX_ORDER_TYPES, "order types");
        violations.add(field, Violation::TooMany { max, of });
        return codes;
    }
    for (index, text) in texts.iter().enumerate() {
        let code = violations.check(format!("{field}[{index}]"), OrderTypeCode::parse(text));
        codes.extend(code.filter(|code| !codes.contains(code)));
    }
    codes
}
