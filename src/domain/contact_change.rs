//! The fields that an update of a contact sets.

use crate::domain::{
    contact::{Contact, Locale},
    contact_types::ContactTypes,
    person_name::{PersonName, Salutation},
    phone_number::PhoneNumber,
    restrictions::OrderTypeCode,
};

/// The fields that an update sets. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactChange {
    /// The new types, not empty.
    pub types: Option<ContactTypes>,
    /// The new name; empty: the one that the parts of the name compose.
    pub display_name: Option<String>,
    /// The new salutation.
    pub salutation: Option<Salutation>,
    /// The new academic title.
    pub title: Option<String>,
    /// The new given name.
    pub given_name: Option<String>,
    /// The new family name.
    pub family_name: Option<String>,
    /// The new position in the company.
    pub job_position: Option<String>,
    /// The new department.
    pub department: Option<String>,
    /// The new language.
    pub locale: Option<Locale>,
    /// The new phone numbers, which replace all previous ones.
    pub phone_numbers: Option<Vec<PhoneNumber>>,
    /// Enables or disables invoice e-mail.
    pub invoice_email_enabled: Option<bool>,
    /// The new restrictions note.
    pub restrictions_note: Option<String>,
    /// The new list of allowed order types.
    pub allowed_order_types: Option<Vec<OrderTypeCode>>,
    /// The new list of denied order types.
    pub denied_order_types: Option<Vec<OrderTypeCode>>,
}

impl ContactChange {
    /// Applies the change and returns the names of the fields that differ. Does not check the
    /// rules; see [`check_contact_rules`](crate::domain::contact::check_contact_rules).
    pub fn apply_to(mut self, contact: &mut Contact) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let display_name = self.display_name_for(contact);
        let fields = &mut changed;
        set(&mut contact.types, self.types, "types", fields);
        set(
            &mut contact.display_name,
            display_name,
            "display_name",
            fields,
        );
        self.apply_person_to(contact, fields);
        set(&mut contact.locale, self.locale, "locale", fields);
        set(
            &mut contact.phone_numbers,
            self.phone_numbers,
            "phone_numbers",
            fields,
        );
        if self.invoice_email_enabled == Some(true) {
            contact.invoice_email_lapse_time = None;
        }
        set(
            &mut contact.invoice_email_enabled,
            self.invoice_email_enabled,
            "invoice_email_enabled",
            fields,
        );
        let restrictions = &mut contact.restrictions;
        set(
            &mut restrictions.note,
            self.restrictions_note,
            "restrictions.note",
            fields,
        );
        set(
            &mut restrictions.allowed_order_types,
            self.allowed_order_types,
            "restrictions.allowed_order_types",
            fields,
        );
        set(
            &mut restrictions.denied_order_types,
            self.denied_order_types,
            "restrictions.denied_order_types",
            fields,
        );
        changed
    }

    fn apply_person_to(&mut self, contact: &mut Contact, fields: &mut Vec<&'static str>) {
        let name = &mut contact.name;
        set(
            &mut name.salutation,
            self.salutation.take(),
            "name.salutation",
            fields,
        );
        set(&mut name.title, self.title.take(), "name.title", fields);
        set(
            &mut name.given_name,
            self.given_name.take(),
            "name.given_name",
            fields,
        );
        set(
            &mut name.family_name,
            self.family_name.take(),
            "name.family_name",
            fields,
        );
        set(
            &mut contact.job_position,
            self.job_position.take(),
            "position",
            fields,
        );
        set(
            &mut contact.department,
            self.department.take(),
            "department",
            fields,
        );
    }

    /// Returns the parts of a name after the change.
    pub fn name_after(&self, before: &PersonName) -> PersonName {
        let text = |new: &Option<String>, old: &String| new.clone().unwrap_or_else(|| old.clone());
        PersonName {
            salutation: self.salutation.unwrap_or(before.salutation),
            title: text(&self.title, &before.title),
            given_name: text(&self.given_name, &before.given_name),
            family_name: text(&self.family_name, &before.family_name),
        }
    }

    /// Returns the display name of `contact` after the change; `None` if it stays as it is (rule 4).
    ///
    /// One that equals the composed name follows the parts, also if the request repeats it: a form sends
    /// back what it has read.
    pub fn display_name_for(&self, contact: &Contact) -> Option<String> {
        let is_composed = contact.display_name == contact.name.display_name();
        let composed = self.name_after(&contact.name).display_name();
        match &self.display_name {
            Some(given) if given.is_empty() => Some(composed),
            Some(given) if !is_composed || *given != contact.display_name => Some(given.clone()),
            Some(_) | None => Some(composed).filter(|name| is_composed && !name.is_empty()),
        }
    }
}

fn set<T: PartialEq>(
    field: &mut T,
    new: Option<T>,
    name: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if let Some(new) = new
        && new != *field
    {
        *field = new;
        changed.push(name);
    }
}
