//! Interprets the values of requests by the contract: masks, addresses, numbers, passwords.

use std::collections::{BTreeMap, BTreeSet};

use contact_service::api::proto::{
    self, ContactType, phone_password_change::Change as PasswordEdit,
};
use prost_types::FieldMask;

use super::reference_model::{Customer, ModelResult, is_legal, reject_fields, sets};

/// Phone numbers as entered and in E.164; empty: invalid.
pub const PHONE_NUMBERS: [(&str, &str); 5] = [
    ("0721 913740", "+49721913740"),
    ("+49 (721) 91374-0", "+49721913740"),
    ("0049 30 901820", "+4930901820"),
    ("0721 913741", "+49721913741"),
    ("913740", ""),
];

const CUSTOMER_LEAVES: [&str; 7] = [
    "contact_data.email",
    "contact_data.phone_number",
    "notification_settings.security_notices",
    "notification_settings.planned_maintenance",
    "notification_settings.outages",
    "notification_settings.contact_changes",
    "contact_data.locale",
];

const CONTACT_LEAVES: [&str; 14] = [
    "types",
    "display_name",
    "name.salutation",
    "name.title",
    "name.given_name",
    "name.family_name",
    "position",
    "department",
    "locale",
    "phone_numbers",
    "invoice_email_enabled",
    "restrictions.note",
    "restrictions.allowed_order_types",
    "restrictions.denied_order_types",
];

/// Rule 12: the domain in lower case, the local part as written.
pub fn address(text: &str) -> String {
    let (local, domain) = text.split_once('@').unwrap_or((text, ""));
    format!("{local}@{}", domain.to_lowercase())
}

/// Rule 12: case-insensitive. Two missing addresses are equal.
pub fn is_same_address(one: &str, other: &str) -> bool {
    !one.is_empty() && one.to_lowercase() == other.to_lowercase()
}

/// Rule 14, for the letters in the pool.
pub fn normalize(password: &str) -> String {
    let mut folded = password.to_lowercase();
    for (letter, spelling) in [("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")] {
        folded = folded.replace(letter, spelling);
    }
    folded.retain(|c| c != ' ' && c != '-');
    folded
}

/// Rule 14: true if it is valid for any contact.
pub fn is_valid_password(text: &str) -> bool {
    let folded = normalize(text);
    (6..=64).contains(&folded.chars().count()) && folded != "123456"
}

/// Rule 14: true if it is valid for a contact of this name.
pub fn is_valid_password_for(text: &str, number: &str, name: &str) -> bool {
    let folded = normalize(text);
    folded != normalize(number) && folded != normalize(name)
}

/// By code.
pub type OrderTypes = BTreeMap<String, proto::OrderType>;

/// The fields that an update of a customer sets.
pub struct CustomerChange {
    email: Option<String>,
    phone: Option<String>,
    notices: [Option<bool>; 4],
    locale: Option<String>,
}

impl CustomerChange {
    pub fn read(input: &proto::Customer, mask: Option<&FieldMask>) -> ModelResult<Self> {
        let mut wrong = Vec::new();
        if !is_legal(mask, &CUSTOMER_LEAVES) {
            wrong.push("update_mask".to_owned());
        }
        let data = input.contact_data.clone().unwrap_or_default();
        let settings = input.notification_settings.unwrap_or_default();
        let email = sets(mask, CUSTOMER_LEAVES[0], !data.email.is_empty());
        let email = email.then(|| match data.email.as_str() {
            "" => String::new(),
            text => address(text),
        });
        let phone = sets(mask, CUSTOMER_LEAVES[1], !data.phone_number.is_empty());
        let phone = phone.then(|| match data.phone_number.as_str() {
            "" => String::new(),
            text => {
                let number = e164(text);
                if number.is_empty() {
                    wrong.push("customer.contact_data.phone_number".to_owned());
                }
                number
            }
        });
        let locale = sets(mask, CUSTOMER_LEAVES[6], !data.locale.is_empty());
        let locale = locale.then(|| match data.locale.as_str() {
            "" => "de".to_owned(),
            text => {
                if text != "de" && text != "en" {
                    wrong.push("customer.contact_data.locale".to_owned());
                }
                text.to_owned()
            }
        });
        let input = [
            settings.security_notices,
            settings.planned_maintenance,
            settings.outages,
            settings.contact_changes,
        ];
        let notices = [0, 1, 2, 3].map(|index| {
            let value: Option<bool> = input[index];
            // Each is enabled by default.
            sets(mask, CUSTOMER_LEAVES[2 + index], value.is_some()).then(|| value.unwrap_or(true))
        });
        if wrong.is_empty() {
            Ok(Self {
                email,
                phone,
                notices,
                locale,
            })
        } else {
            reject_fields(wrong)
        }
    }

    /// Returns the names of the fields that differ afterwards.
    pub fn apply_to(&self, customer: &mut Customer) -> Vec<&'static str> {
        let mut changed = Vec::new();
        set(
            &mut customer.email,
            self.email.as_ref(),
            CUSTOMER_LEAVES[0],
            &mut changed,
        );
        set(
            &mut customer.phone,
            self.phone.as_ref(),
            CUSTOMER_LEAVES[1],
            &mut changed,
        );
        set(
            &mut customer.locale,
            self.locale.as_ref(),
            CUSTOMER_LEAVES[6],
            &mut changed,
        );
        for index in 0..4 {
            let (kept, new) = (&mut customer.notices[index], self.notices[index].as_ref());
            set(kept, new, CUSTOMER_LEAVES[2 + index], &mut changed);
        }
        changed
    }
}

/// The fields that an update of a contact sets.
#[derive(Default)]
pub struct ContactChange {
    pub types: Option<BTreeSet<i32>>,
    pub name: Option<String>,
    pub locale: Option<String>,
    pub phones: Option<Vec<String>>,
    pub invoice: Option<bool>,
    pub note: Option<String>,
    pub allowed: Option<Vec<String>>,
    pub denied: Option<Vec<String>>,
}

/// A contact to create.
pub struct NewContact {
    pub number: String,
    pub fields: ContactChange,
    pub email: String,
    pub password: String,
}

impl NewContact {
    pub fn read(r: &proto::CreateContactRequest, known: &OrderTypes) -> ModelResult<Self> {
        let mut wrong = Vec::new();
        let input = r.contact.clone().unwrap_or_default();
        // Unset fields get their defaults.
        let all = FieldMask {
            paths: vec!["*".into()],
        };
        let fields = ContactChange::read(&input, Some(&all), &mut wrong);
        let (number, password) = (r.customer_number.clone(), &r.phone_password);
        let may_be = password.is_empty()
            || is_valid_password(password)
                && is_valid_password_for(password, &number, &input.display_name);
        if !may_be {
            wrong.push("phone_password".to_owned());
        }
        wrong.extend(unknown_order_types(&input, &fields, known));
        if !wrong.is_empty() {
            return reject_fields(wrong);
        }
        Ok(Self {
            number,
            fields,
            email: r.email.clone(),
            password: r.phone_password.clone(),
        })
    }
}

/// Rule 20: restrictions must name existing order types.
fn unknown_order_types(
    input: &proto::Contact,
    change: &ContactChange,
    known: &OrderTypes,
) -> Vec<String> {
    let input = input.restrictions.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    for (list, codes, is_set) in [
        (
            "allowed",
            input.allowed_order_types,
            change.allowed.is_some(),
        ),
        ("denied", input.denied_order_types, change.denied.is_some()),
    ] {
        for (index, code) in codes.iter().enumerate() {
            if is_set && !known.contains_key(code) {
                wrong.push(format!("contact.restrictions.{list}_order_types[{index}]"));
            }
        }
    }
    wrong
}

impl ContactChange {
    /// `stored` is the name of the contact, if there is one.
    pub fn read_update(
        r: &proto::UpdateContactRequest,
        known: &OrderTypes,
        stored: Option<&str>,
    ) -> ModelResult<Self> {
        let mut wrong = Vec::new();
        let mask = r.update_mask.as_ref();
        if !is_legal(mask, &CONTACT_LEAVES) {
            wrong.push("update_mask".to_owned());
        }
        let input = r.contact.clone().unwrap_or_default();
        let change = Self::read(&input, mask, &mut wrong);
        wrong.extend(unknown_order_types(&input, &change, known));
        let password = r.phone_password_change.clone().and_then(|c| c.change);
        if let Some(PasswordEdit::NewPhonePassword(password)) = password {
            let name = change.name.as_deref().filter(|name| !name.is_empty());
            let is_other = |stored| {
                let number = &input.customer_number;
                is_valid_password_for(&password, number, name.unwrap_or(stored))
            };
            // That of an unknown contact is not compared with names.
            if !is_valid_password(&password) || !stored.is_none_or(is_other) {
                wrong.push("phone_password_change.new_phone_password".to_owned());
            }
        }
        if wrong.is_empty() {
            Ok(change)
        } else {
            reject_fields(wrong)
        }
    }

    fn read(input: &proto::Contact, mask: Option<&FieldMask>, wrong: &mut Vec<String>) -> Self {
        let leaf = |name: &str, populated: bool| sets(mask, name, populated);
        let restrictions = input.restrictions.clone().unwrap_or_default();
        let mut change = Self::default();
        if leaf("types", !input.types.is_empty()) {
            if input.types.is_empty() {
                wrong.push("contact.types".to_owned());
            }
            change.types = Some(input.types.iter().copied().collect());
        }
        if leaf("display_name", !input.display_name.is_empty()) {
            if input.display_name.is_empty() {
                wrong.push("contact.display_name".to_owned());
            }
            change.name = Some(input.display_name.clone());
        }
        if leaf("locale", !input.locale.is_empty()) {
            match input.locale.as_str() {
                "" => change.locale = Some("de".to_owned()),
                "de" | "en" => change.locale = Some(input.locale.clone()),
                _ => wrong.push("contact.locale".to_owned()),
            }
        }
        if leaf("phone_numbers", !input.phone_numbers.is_empty()) {
            let numbers: Vec<_> = input.phone_numbers.iter().map(|text| e164(text)).collect();
            let bad = numbers.iter().enumerate().filter(|(_, n)| n.is_empty());
            wrong.extend(bad.map(|(index, _)| format!("contact.phone_numbers[{index}]")));
            change.phones = Some(without_duplicates(&numbers));
        }
        if leaf(
            "invoice_email_enabled",
            input.invoice_email_enabled.is_some(),
        ) {
            change.invoice = Some(input.invoice_email_enabled == Some(true));
        }
        if leaf("restrictions.note", !restrictions.note.is_empty()) {
            change.note = Some(restrictions.note);
        }
        let (allowed, denied) = (
            restrictions.allowed_order_types,
            restrictions.denied_order_types,
        );
        if leaf("restrictions.allowed_order_types", !allowed.is_empty()) {
            change.allowed = Some(without_duplicates(&allowed));
        }
        if leaf("restrictions.denied_order_types", !denied.is_empty()) {
            change.denied = Some(without_duplicates(&denied));
        }
        change
    }
}

pub fn is_of(types: &BTreeSet<i32>, contact_type: ContactType) -> bool {
    types.contains(&i32::from(contact_type))
}

/// Sets the new value and adds its name if it differs.
pub fn set<T: PartialEq + Clone>(
    kept: &mut T,
    new: Option<&T>,
    name: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if let Some(new) = new.filter(|new| *new != kept) {
        *kept = new.clone();
        changed.push(name);
    }
}

fn e164(text: &str) -> String {
    let known = PHONE_NUMBERS.iter().find(|(input, _)| *input == text);
    known.expect("no number of the pool").1.to_owned()
}

fn without_duplicates(list: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for entry in list {
        if !kept.contains(entry) {
            kept.push(entry.clone());
        }
    }
    kept
}
