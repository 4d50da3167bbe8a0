//! Contacts in the model (rules 1 to 4, 20, 22).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contact_service::api::proto::{
    self, ContactType, phone_password_change::Change as PasswordEdit,
};

use super::{
    emails::Pending,
    reference_model::{Customer, ModelResult, ReferenceModel, reject},
    requests::Response,
    values::{ContactChange, NewContact, is_of, set},
};
use crate::requests::timestamp;

/// The actor of expiries.
const SERVICE: &str = "contact-service";

#[derive(Clone, Debug)]
pub struct Contact {
    /// The contact's label.
    pub id: String,
    pub number: String,
    pub types: BTreeSet<i32>,
    pub name: String,
    pub locale: String,
    /// The confirmed address; empty: none.
    pub email: String,
    pub confirm_time: Option<DateTime<Utc>>,
    pub pending: Option<Pending>,
    pub phones: Vec<String>,
    pub invoice: bool,
    pub note: String,
    pub allowed: Vec<String>,
    pub denied: Vec<String>,
    pub version: usize,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
}

impl Contact {
    fn new(id: String, number: &str, now: DateTime<Utc>) -> Self {
        Self {
            id,
            number: number.to_owned(),
            types: BTreeSet::new(),
            name: String::new(),
            locale: "de".to_owned(),
            email: String::new(),
            confirm_time: None,
            pending: None,
            phones: Vec::new(),
            invoice: false,
            note: String::new(),
            allowed: Vec::new(),
            denied: Vec::new(),
            version: 1,
            create_time: now,
            update_time: now,
        }
    }

    pub fn is(&self, contact_type: ContactType) -> bool {
        is_of(&self.types, contact_type)
    }

    /// Rule 22: true if the contact can receive invoices.
    fn can_receive_invoices(&self) -> bool {
        self.is(ContactType::Standard) || self.is(ContactType::Accounting)
    }

    pub fn etag(&self) -> String {
        format!("{}.v{}", self.id, self.version)
    }

    /// Rule 7: its pending address unless expired.
    pub fn pending_at(&self, now: DateTime<Utc>) -> Option<&Pending> {
        self.pending
            .as_ref()
            .filter(|pending| now < pending.expire_time())
    }

    /// Rules 7 and 22: the contact after the expiry of a pending address that is due by then.
    pub fn as_of(&self, now: DateTime<Utc>) -> Self {
        let mut shown = self.clone();
        let expired = shown
            .pending
            .take_if(|pending| pending.expire_time() <= now);
        if let Some(expired) = expired {
            shown.invoice &= !shown.email.is_empty();
            shown.version += 1;
            shown.update_time = expired.expire_time();
        }
        shown
    }

    pub fn has_address_at(&self, now: DateTime<Utc>) -> bool {
        !self.email.is_empty() || self.pending_at(now).is_some()
    }

    fn apply(&mut self, change: &ContactChange) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let fields = &mut changed;
        set(&mut self.types, change.types.as_ref(), "types", fields);
        set(&mut self.name, change.name.as_ref(), "display_name", fields);
        set(&mut self.locale, change.locale.as_ref(), "locale", fields);
        set(
            &mut self.phones,
            change.phones.as_ref(),
            "phone_numbers",
            fields,
        );
        let invoice = change.invoice.as_ref();
        set(&mut self.invoice, invoice, "invoice_email_enabled", fields);
        set(
            &mut self.note,
            change.note.as_ref(),
            "restrictions.note",
            fields,
        );
        let (allowed, denied) = (change.allowed.as_ref(), change.denied.as_ref());
        let name = "restrictions.allowed_order_types";
        set(&mut self.allowed, allowed, name, fields);
        let name = "restrictions.denied_order_types";
        set(&mut self.denied, denied, name, fields);
        changed
    }
}

impl Customer {
    /// Rule 2: true if another STANDARD contact exists.
    fn has_other_standard(&self, id: &str) -> bool {
        let mut others = self.contacts.iter().filter(|contact| contact.id != id);
        others.any(|contact| contact.is(ContactType::Standard))
    }
}

impl ReferenceModel {
    pub fn contact(&self, number: &str, id: &str) -> ModelResult<&Contact> {
        let mut contacts = self.customer(number)?.contacts.iter();
        let found = contacts.find(|contact| contact.id == id);
        found.map_or_else(|| reject("CONTACT_NOT_FOUND"), Ok)
    }

    /// The contact as responses show it now.
    pub fn shown(&self, contact: &Contact) -> proto::Contact {
        let contact = contact.as_of(self.now);
        let others = self.customers.get(&contact.number);
        let has_other = others.is_some_and(|customer| customer.has_other_standard(&contact.id));
        proto::Contact {
            customer_number: contact.number.clone(),
            contact_id: contact.id.clone(),
            types: contact.types.iter().copied().collect(),
            display_name: contact.name.clone(),
            locale: contact.locale.clone(),
            email: contact.email.clone(),
            email_bounce_time: None,
            pending_email: contact
                .pending_at(self.now)
                .map(|pending| pending.shown(self.now)),
            phone_numbers: contact.phones.clone(),
            invoice_email_enabled: Some(contact.invoice),
            restrictions: Some(proto::Restrictions {
                note: contact.note.clone(),
                allowed_order_types: contact.allowed.clone(),
                denied_order_types: contact.denied.clone(),
            }),
            phone_password: Some(self.attempts.shown(&contact.number, &contact.id, self.now)),
            etag: contact.etag(),
            create_time: timestamp(contact.create_time),
            update_time: timestamp(contact.update_time),
            email_confirm_time: contact.confirm_time.and_then(timestamp),
            last_standard_contact: contact.is(ContactType::Standard) && !has_other,
            invoice_email_available: contact.can_receive_invoices()
                && contact.has_address_at(self.now),
            ..proto::Contact::default()
        }
    }

    /// The contact before a change. An expired address is cleared and recorded first.
    pub fn begin(&mut self, number: &str, id: &str, etag: &str) -> ModelResult<Contact> {
        let contact = self.contact(number, id)?.clone();
        let contact = self.clear_expired(&contact);
        if !etag.is_empty() && etag != contact.etag() {
            return reject("ETAG_MISMATCH");
        }
        Ok(contact)
    }

    pub fn clear_expired(&mut self, before: &Contact) -> Contact {
        let contact = before.as_of(self.now);
        let Some(expired) = before
            .pending
            .as_ref()
            .filter(|_| contact.pending.is_none())
        else {
            return contact;
        };
        self.links[expired.link].expire();
        let (kind, fields) = (
            "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED",
            ["pending_email"],
        );
        self.record(SERVICE, kind, &contact.number, &contact.id, &fields);
        if before.invoice != contact.invoice {
            let (kind, fields) = (
                "EVENT_KIND_CONTACT_INVOICE_EMAIL_LAPSED",
                ["invoice_email_enabled"],
            );
            self.record(SERVICE, kind, &contact.number, &contact.id, &fields);
        }
        self.put(contact.clone());
        contact
    }

    fn put(&mut self, contact: Contact) {
        let customer = self
            .customers
            .get_mut(&contact.number)
            .expect("no customer");
        let mut places = customer.contacts.iter_mut();
        let place = places.find(|kept| kept.id == contact.id);
        *place.expect("no contact") = contact;
    }

    /// Checks a change against rules 2 and 22, and stores it.
    pub fn finish(
        &mut self,
        by: &str,
        kind: &str,
        before: &Contact,
        after: Contact,
        changed: &[&'static str],
    ) -> ModelResult<proto::Contact> {
        self.finish_all(by, before, after, &[(kind, changed.to_vec())])
    }

    /// Like [`finish`](Self::finish), with an event for each kind of change.
    pub fn finish_all(
        &mut self,
        by: &str,
        before: &Contact,
        mut after: Contact,
        changes: &[(&str, Vec<&'static str>)],
    ) -> ModelResult<proto::Contact> {
        let (number, id, now) = (before.number.clone(), before.id.clone(), self.now);
        let loses = |contact_type| before.is(contact_type) && !after.is(contact_type);
        if loses(ContactType::Standard) && !self.customer(&number)?.has_other_standard(&id) {
            return reject("LAST_STANDARD_CONTACT");
        }
        if after.invoice && !(after.can_receive_invoices() && after.has_address_at(now)) {
            return reject("INVOICE_EMAIL_NOT_ALLOWED");
        }
        let mut changes = changes.iter().filter(|(_, fields)| !fields.is_empty());
        if let Some((first, fields)) = changes.next() {
            // Rule 11: a resend leaves the etag alone.
            if *first != "EVENT_KIND_CONTACT_EMAIL_CONFIRMATION_RESENT" {
                after.version += 1;
                after.update_time = now;
            }
            self.put(after);
            self.record(by, first, &number, &id, fields);
        }
        for (kind, fields) in changes {
            self.record(by, kind, &number, &id, fields);
        }
        Ok(self.shown(self.contact(&number, &id)?))
    }

    pub fn create_contact(&mut self, by: &str, new: &NewContact) -> ModelResult {
        let number = new.number.as_str();
        let id = format!("#{}", self.contacts_made);
        self.contacts_made += 1;
        let mut contact = Contact::new(id.clone(), number, self.now);
        let mut changed = contact.apply(&new.fields);
        let is_first = self.customer(number)?.contacts.is_empty();
        if is_first && !contact.is(ContactType::Standard) {
            return reject("FIRST_CONTACT_NOT_STANDARD");
        }
        if !new.email.is_empty() {
            changed.extend(self.enter_email(&mut contact, &new.email));
        }
        let fits = contact.can_receive_invoices() && contact.has_address_at(self.now);
        if contact.invoice && !fits {
            return reject("INVOICE_EMAIL_NOT_ALLOWED");
        }
        if !new.password.is_empty() {
            self.attempts.set(number, &id, &new.password, self.now);
            changed.push("phone_password");
        }
        let shown = self.shown(&contact);
        self.customer_mut(number)?.contacts.push(contact);
        self.record(by, "EVENT_KIND_CONTACT_CREATED", number, &id, &changed);
        if !new.email.is_empty() {
            self.count_mail(number, &new.email)?;
        }
        Ok(Response::Contact(shown))
    }

    pub fn update_contact(
        &mut self,
        by: &str,
        r: &proto::UpdateContactRequest,
        change: &ContactChange,
    ) -> ModelResult {
        let input = r.contact.clone().unwrap_or_default();
        let before = self.begin(&input.customer_number, &input.contact_id, &input.etag)?;
        let mut after = before.clone();
        let mut changes = vec![("EVENT_KIND_CONTACT_UPDATED", after.apply(change))];
        let email = r.email_change.clone().and_then(|change| change.change);
        let mut entered = None;
        if let Some(edit) = &email {
            let (kind, fields, is_new) = self.edit_email(&mut after, edit)?;
            entered = is_new;
            changes.push((kind, fields));
        }
        let (number, id) = (before.number.as_str(), before.id.as_str());
        match r.phone_password_change.clone().and_then(|c| c.change) {
            Some(PasswordEdit::NewPhonePassword(password)) => {
                self.attempts.set(number, id, &password, self.now);
                let kind = "EVENT_KIND_CONTACT_PHONE_PASSWORD_SET";
                changes.push((kind, vec!["phone_password"]));
            }
            Some(PasswordEdit::Clear(_)) if self.attempts.has_password(number, id) => {
                self.attempts.delete_contact(number, id);
                let kind = "EVENT_KIND_CONTACT_PHONE_PASSWORD_CLEARED";
                changes.push((kind, vec!["phone_password"]));
            }
            _ => {}
        }
        let shown = self.finish_all(by, &before, after, &changes)?;
        if let Some(email) = entered {
            self.count_mail(&input.customer_number, &email)?;
        }
        Ok(Response::Contact(shown))
    }

    pub fn delete_contact(&mut self, by: &str, r: &proto::DeleteContactRequest) -> ModelResult {
        let (number, id) = (&r.customer_number, &r.contact_id);
        let contact = self.contact(number, id)?;
        if !r.etag.is_empty() && r.etag != contact.as_of(self.now).etag() {
            return reject("ETAG_MISMATCH");
        }
        let is_standard = contact.is(ContactType::Standard);
        if is_standard && !self.customer(number)?.has_other_standard(id) {
            return reject("LAST_STANDARD_CONTACT");
        }
        for link in self.links.iter_mut().filter(|link| link.contact == *id) {
            link.delete();
        }
        self.attempts.delete_contact(number, id);
        let contacts = &mut self.customer_mut(number)?.contacts;
        contacts.retain(|contact| contact.id != *id);
        self.record(by, "EVENT_KIND_CONTACT_DELETED", number, id, &[]);
        Ok(Response::Nothing)
    }
}
