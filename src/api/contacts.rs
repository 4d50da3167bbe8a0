//! Contacts: `CreateContact`, `GetContact`, `ListContacts`, `UpdateContact`, `DeleteContact`.

use std::mem;

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations},
        mask::Mask,
        page_token::PageContext,
        proto,
    },
    app::{App, DeleteContact, NewContact, UpdateContact},
    crypto::keyring::VersionedKeys,
    domain::{
        contact::{ContactChange, Locale, MAX_PHONE_NUMBERS, parse_display_name},
        email_address::EmailAddress,
        ids::{ContactId, ContactRef},
        phone_number::PhoneNumber,
        phone_password::NormalizedPassword,
        restrictions::{MAX_ORDER_TYPES, OrderTypeCode, parse_note},
    },
    error::{Result, Violation},
};

const TYPES: &str = "types";
const DISPLAY_NAME: &str = "display_name";
const LOCALE: &str = "locale";
const PHONE_NUMBERS: &str = "phone_numbers";
const INVOICE_EMAIL_ENABLED: &str = "invoice_email_enabled";
const NOTE: &str = "restrictions.note";
const ALLOWED: &str = "restrictions.allowed_order_types";
const DENIED: &str = "restrictions.denied_order_types";
const UPDATABLE: &[&str] = &[
    TYPES,
    DISPLAY_NAME,
    LOCALE,
    PHONE_NUMBERS,
    INVOICE_EMAIL_ENABLED,
    NOTE,
    ALLOWED,
    DENIED,
];

pub(super) async fn create(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::CreateContactRequest,
) -> Result<proto::CreateContactResponse> {
    let request_id = mem::take(&mut request.request_id);
    let validate_only = mem::take(&mut request.validate_only);
    let mut violations = Violations::default();
    let request_key = violations.request_key(keys, "CreateContact", &request_id, &request);
    let number = violations.customer_number("customer_number", &request.customer_number);
    let contact = request.contact.unwrap_or_default();
    if !contact.customer_number.is_empty() && contact.customer_number != request.customer_number {
        violations.add("contact.customer_number", Violation::OtherCustomer);
    }
    // Like the mask `*`: absent fields have their default.
    let mut change = decode_change(&contact, &Mask::All, &mut violations);
    check_order_types(app, &contact, &change, &mut violations).await?;
    let email = violations.optional("email", &request.email, EmailAddress::parse);
    let phone_password = violations.optional(
        "phone_password",
        &request.phone_password,
        NormalizedPassword::parse,
    );
    if let (Some(password), Some(number), Some(name)) =
        (&phone_password, &number, &change.display_name)
    {
        violations.check("phone_password", password.check_for(number, name));
    }
    let new = (|| {
        Some(NewContact {
            customer_number: number?,
            types: change.types?,
            display_name: change.display_name.take()?,
            fields: change,
            email,
            phone_password,
            request: request_key,
            validate_only,
        })
    })();
    let contact = app
        .create_contact(caller.actor(), violations.finish(new)?)
        .await?;
    Ok(proto::CreateContactResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn get(
    app: &App,
    request: proto::GetContactRequest,
) -> Result<proto::GetContactResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let contact = app.get_contact(&violations.finish(contact)?).await?;
    Ok(proto::GetContactResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn list(
    app: &App,
    keys: &VersionedKeys,
    request: proto::ListContactsRequest,
) -> Result<proto::ListContactsResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let page_size = violations.page_size(request.page_size);
    let types = violations.contact_types(TYPES, &request.types);
    let number = violations.finish(number)?;
    let context = PageContext {
        rpc: "ListContacts",
        customer_number: number.as_str(),
        filter: types.bits(),
    };
    let after = convert::page_start(keys, context, &request.page_token, i64::MIN)?;
    let page = app.list_contacts(&number, types, after, page_size).await?;
    Ok(proto::ListContactsResponse {
        contacts: page.contacts.iter().map(convert::contact).collect(),
        next_page_token: convert::next_page_token(keys, context, page.next_after)?,
    })
}

pub(super) async fn update(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::UpdateContactRequest,
) -> Result<proto::UpdateContactResponse> {
    let request_id = mem::take(&mut request.request_id);
    let validate_only = mem::take(&mut request.validate_only);
    let mut violations = Violations::default();
    let request_key = violations.request_key(keys, "UpdateContact", &request_id, &request);
    let mask = Mask::decode(request.update_mask, UPDATABLE, &mut violations);
    let contact = request.contact.unwrap_or_default();
    let number = violations.customer_number("contact.customer_number", &contact.customer_number);
    let id = violations.check("contact.contact_id", ContactId::parse(&contact.contact_id));
    let change = decode_change(&contact, &mask, &mut violations);
    check_order_types(app, &contact, &change, &mut violations).await?;
    let contact_ref = number
        .zip(id)
        .map(|(customer_number, contact_id)| ContactRef {
            customer_number,
            contact_id,
        });
    let update = UpdateContact {
        contact: violations.finish(contact_ref)?,
        change,
        etag: contact.etag,
        request: request_key,
        validate_only,
    };
    let contact = app.update_contact(caller.actor(), update).await?;
    Ok(proto::UpdateContactResponse {
        contact: Some(convert::contact(&contact)),
    })
}

pub(super) async fn delete(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::DeleteContactRequest,
) -> Result<proto::DeleteContactResponse> {
    let request_id = mem::take(&mut request.request_id);
    let validate_only = mem::take(&mut request.validate_only);
    let mut violations = Violations::default();
    let request_key = violations.request_key(keys, "DeleteContact", &request_id, &request);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let deletion = DeleteContact {
        contact: violations.finish(contact)?,
        etag: request.etag,
        request: request_key,
        validate_only,
    };
    app.delete_contact(caller.actor(), deletion).await?;
    Ok(proto::DeleteContactResponse {})
}

/// Decodes the fields that `mask` sets. An invalid field is added to `violations` and omitted.
fn decode_change(
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
        let name = parse_display_name(&contact.display_name);
        change.display_name = violations.check("contact.display_name", name);
    }
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

/// Rule 20: adds a violation for each order type of the restrictions that does not exist.
async fn check_order_types(
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
