//! Contacts: `CreateContact`, `GetContact`, `ListContacts`, `UpdateContact`, `DeleteContact`.

use std::mem;

use crate::{
    api::{
        auth::Caller,
        contact_fields::{UPDATABLE, check_order_types, decode_change},
        convert::{self, Violations, change_options},
        mask::Mask,
        page_token::PageContext,
        proto::{self, email_change, phone_password_change},
        recipients::encode_changes,
    },
    app::{
        App, DeleteContact, EmailEdit, NewContact, NewPhonePassword, PhonePasswordEdit,
        UpdateContact,
    },
    crypto::keyring::VersionedKeys,
    domain::{
        contact_change::ContactChange,
        email_address::EmailAddress,
        ids::{ContactId, ContactRef, CustomerNumber},
        person_name::PersonName,
        phone_password::NormalizedPassword,
    },
    error::{Result, Violation},
};

const DISPLAY_NAME_FIELD: &str = "contact.display_name";
const NEW_PASSWORD_FIELD: &str = "phone_password_change.new_phone_password";

pub(super) async fn create(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::CreateContactRequest,
) -> Result<proto::CreateContactResponse> {
    let shows_recipient_changes = mem::take(&mut request.show_recipient_changes);
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, "CreateContact", request, String::new());
    let number = violations.customer_number("customer_number", &request.customer_number);
    let contact = request.contact.take().unwrap_or_default();
    if !contact.customer_number.is_empty() && contact.customer_number != request.customer_number {
        violations.add("contact.customer_number", Violation::OtherCustomer);
    }
    // Like the mask `*`: absent fields have their default.
    let mut fields = decode_change(&contact, &Mask::All, &mut violations);
    check_order_types(app, &contact, &fields, &mut violations).await?;
    let display_name = decode_new_name(&mut fields, &mut violations);
    let email = violations.optional("email", &request.email, EmailAddress::parse);
    let phone_password = decode_new_password(
        &request,
        number.as_ref().zip(display_name.as_deref()),
        &mut violations,
    );
    let new = (|| {
        Some(NewContact {
            customer_number: number?,
            types: fields.types?,
            display_name: display_name?,
            fields,
            email,
            phone_password,
            options,
            shows_recipient_changes,
        })
    })();
    let created = app
        .create_contact(caller.actor(), violations.finish(new)?)
        .await?;
    Ok(proto::CreateContactResponse {
        contact: Some(convert::contact(&created.contact)),
        generated_phone_password: created.generated_phone_password.unwrap_or_default(),
        recipient_changes: encode_changes(created.recipient_changes),
    })
}

/// Takes the display name of a new contact, given or composed (rule 4).
fn decode_new_name(fields: &mut ContactChange, violations: &mut Violations) -> Option<String> {
    let given = fields.display_name.take()?;
    if !given.is_empty() {
        return Some(given);
    }
    let composed = fields.name_after(&PersonName::default()).display_name();
    if composed.is_empty() {
        violations.add(DISPLAY_NAME_FIELD, Violation::NameMissing);
    }
    Some(composed).filter(|name| !name.is_empty())
}

fn decode_new_password(
    request: &proto::CreateContactRequest,
    contact: Option<(&CustomerNumber, &str)>,
    violations: &mut Violations,
) -> Option<NewPhonePassword> {
    const FIELD: &str = "phone_password";
    let password = violations.optional(FIELD, &request.phone_password, NormalizedPassword::parse);
    if let (Some(password), Some((number, name))) = (&password, contact) {
        violations.check(FIELD, password.check_for(number, name));
    }
    if !request.generate_phone_password {
        return password.map(NewPhonePassword::Given);
    }
    if !request.phone_password.is_empty() {
        violations.add("generate_phone_password", Violation::PasswordGivenTwice);
    }
    Some(NewPhonePassword::Generated)
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
    let types = violations.contact_types("types", &request.types);
    let number = violations.finish(number)?;
    let context = PageContext {
        rpc: "ListContacts",
        customer_number: number.as_str(),
        filter: &types.bits().to_be_bytes(),
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
    let shows_recipient_changes = mem::take(&mut request.show_recipient_changes);
    let mut violations = Violations::default();
    let etag = request.contact.as_ref().map(|contact| contact.etag.clone());
    let etag = etag.unwrap_or_default();
    let options = change_options!(violations, keys, "UpdateContact", request, etag);
    let mask = Mask::decode(request.update_mask, UPDATABLE, &mut violations);
    let contact = request.contact.unwrap_or_default();
    let number = violations.customer_number("contact.customer_number", &contact.customer_number);
    let id = violations.check("contact.contact_id", ContactId::parse(&contact.contact_id));
    let contact_ref = number
        .zip(id)
        .map(|(customer_number, contact_id)| ContactRef {
            customer_number,
            contact_id,
        });
    let fields = decode_change(&contact, &mask, &mut violations);
    check_order_types(app, &contact, &fields, &mut violations).await?;
    let email = request.email_change.map(|change| change.change);
    let email = email.and_then(|change| decode_email_edit(change, &mut violations));
    let password = request.phone_password_change.map(|change| change.change);
    let phone_password = password.and_then(|change| decode_password_edit(change, &mut violations));
    check_names(
        app,
        contact_ref.as_ref(),
        &fields,
        phone_password.as_ref(),
        &mut violations,
    )
    .await;
    let update = UpdateContact {
        contact: violations.finish(contact_ref)?,
        fields,
        email,
        phone_password,
        options,
        shows_recipient_changes,
    };
    let updated = app.update_contact(caller.actor(), update).await?;
    Ok(proto::UpdateContactResponse {
        contact: Some(convert::contact(&updated.contact)),
        generated_phone_password: updated.generated_phone_password.unwrap_or_default(),
        recipient_changes: encode_changes(updated.recipient_changes),
    })
}

fn decode_email_edit(
    change: Option<email_change::Change>,
    violations: &mut Violations,
) -> Option<EmailEdit> {
    use email_change::Change;
    match change {
        Some(Change::SetEmail(text)) => violations
            .check("email_change.set_email", EmailAddress::parse(&text))
            .map(EmailEdit::Enter),
        Some(Change::RemoveEmail(true)) => Some(EmailEdit::Remove),
        Some(Change::CancelPending(true)) => Some(EmailEdit::CancelPending),
        Some(Change::RemoveEmail(false)) => {
            violations.add("email_change.remove_email", Violation::NotTrue);
            None
        }
        Some(Change::CancelPending(false)) => {
            violations.add("email_change.cancel_pending", Violation::NotTrue);
            None
        }
        None => {
            violations.add("email_change", Violation::EmailChangeMissing);
            None
        }
    }
}

fn decode_password_edit(
    change: Option<phone_password_change::Change>,
    violations: &mut Violations,
) -> Option<PhonePasswordEdit> {
    use phone_password_change::Change;
    let set = |new| PhonePasswordEdit::Set {
        new,
        field: NEW_PASSWORD_FIELD,
    };
    match change {
        Some(Change::NewPhonePassword(text)) => violations
            .check(NEW_PASSWORD_FIELD, NormalizedPassword::parse(&text))
            .map(|password| set(NewPhonePassword::Given(password))),
        Some(Change::Generate(true)) => Some(set(NewPhonePassword::Generated)),
        Some(Change::Clear(true)) => Some(PhonePasswordEdit::Clear),
        Some(Change::Generate(false)) => {
            violations.add("phone_password_change.generate", Violation::NotTrue);
            None
        }
        Some(Change::Clear(false)) => {
            violations.add("phone_password_change.clear", Violation::NotTrue);
            None
        }
        None => {
            violations.add("phone_password_change", Violation::PasswordChangeMissing);
            None
        }
    }
}

/// Adds the violations that depend on the stored name: an empty display name that no part of the name
/// replaces (rule 4), and the contact's own name as a phone password (rule 14).
///
/// They are only looked for here if there are others or the name is empty. Else the update finds them.
async fn check_names(
    app: &App,
    contact: Option<&ContactRef>,
    fields: &ContactChange,
    edit: Option<&PhonePasswordEdit>,
    violations: &mut Violations,
) {
    let is_emptied = fields.display_name.as_deref() == Some("");
    let password = match edit {
        Some(PhonePasswordEdit::Set {
            new: NewPhonePassword::Given(password),
            ..
        }) => Some(password).filter(|_| !violations.is_clean()),
        Some(_) | None => None,
    };
    if !is_emptied && password.is_none() {
        return;
    }
    let stored = match contact {
        Some(contact) => app.get_contact(contact).await.ok(),
        None => None,
    };
    if is_emptied {
        let parts = stored.as_ref().map(|stored| stored.name.clone());
        let name = fields.name_after(&parts.unwrap_or_default());
        if name.display_name().is_empty() {
            violations.add(DISPLAY_NAME_FIELD, Violation::NameMissing);
        }
    }
    if let (Some(password), Some(stored)) = (password, stored) {
        let name = fields.display_name_for(&stored);
        let name = name.unwrap_or(stored.display_name);
        let checked = password.check_for(&stored.customer_number, &name);
        violations.check(NEW_PASSWORD_FIELD, checked);
    }
}

pub(super) async fn delete(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::DeleteContactRequest,
) -> Result<proto::DeleteContactResponse> {
    let shows_recipient_changes = mem::take(&mut request.show_recipient_changes);
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "DeleteContact", request, etag);
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    let deletion = DeleteContact {
        contact: violations.finish(contact)?,
        options,
        shows_recipient_changes,
    };
    let changes = app.delete_contact(caller.actor(), deletion).await?;
    Ok(proto::DeleteContactResponse {
        recipient_changes: encode_changes(changes),
    })
}
