//! The values of a card for each column.

use contact_service::domain::{
    contact::Locale, email_address::EmailAddress, phone_number::PhoneNumber,
};

use super::property::Property;
use crate::cli::import::{
    addresses::{bare_address, without_scheme},
    cells::{locale, split_list},
    columns::Column,
    names::{NameParts, compose},
    type_names::{contact_type, split},
};

/// Kinds of cards that are no contacts (RFC 6350, section 6.1.4; RFC 6473, RFC 6869). Those of
/// organizations may be departments, unknown ones are persons.
const NO_CONTACTS: [&str; 5] = ["group", "location", "application", "device", "thing"];
const KINDS: [&str; 2] = ["KIND", "X-ADDRESSBOOKSERVER-KIND"];
const MEMBERS: [&str; 2] = ["MEMBER", "X-ADDRESSBOOKSERVER-MEMBER"];
const EVOLUTION_LIST: &str = "X-EVOLUTION-LIST";
/// Apple's name of a property that has none of the usual ones, by the group of both.
const LABEL: &str = "X-ABLABEL";
const TYPES: [&str; 3] = ["CATEGORIES", "ROLE", "TITLE"];
const OF_CONTACTS: [&str; 7] = ["FN", "N", "ORG", "NICKNAME", "EMAIL", "TEL", "LANG"];
const UID: &str = "UID";

const UNUSABLE_EMAIL: &str = "email: an address that cannot be used was left out";
const FURTHER_EMAIL: &str = "email: further addresses were left out: a contact has one";
const UNUSABLE_NUMBER: &str = "phone_numbers: a number that cannot be used was left out";
const UNUSABLE_LOCALE: &str = "locale: a language that cannot be used was left out";

/// Returns true for a property that the import reads.
pub(super) fn is_read(name: &str) -> bool {
    let known = [UID, LABEL, EVOLUTION_LIST];
    let known = known.iter().chain(&KINDS).chain(&MEMBERS);
    let mut known = known.chain(&TYPES).chain(&OF_CONTACTS);
    known.any(|known| *known == name) || extension(name).is_some()
}

/// Properties of our own have the name of the column: `X-CUSTOMER-NUMBER`.
fn extension(name: &str) -> Option<Column> {
    let column = Column::parse(name.strip_prefix("X-")?)?;
    match column {
        Column::CustomerNumber
        | Column::InvoiceEmailEnabled
        | Column::RestrictionsNote
        | Column::AllowedOrderTypes
        | Column::DeniedOrderTypes
        | Column::ContactDataEmail
        | Column::ContactDataPhoneNumber
        | Column::ContactDataLocale
        | Column::SecurityNotices
        | Column::PlannedMaintenance
        | Column::Outages => Some(column),
        // These have properties of vCard.
        Column::Types
        | Column::DisplayName
        | Column::Locale
        | Column::Email
        | Column::PhoneNumbers
        | Column::ExternalId
        | Column::Salutation
        | Column::Title
        | Column::GivenName
        | Column::FamilyName
        | Column::Line
        | Column::Reason => None,
    }
}

/// A card as its properties that have a value.
pub(super) struct Card<'c> {
    values: Vec<(&'c Property, String)>,
}

impl<'c> Card<'c> {
    /// Decodes the properties of a card. Some programs write all properties, and leave empty what they
    /// do not know.
    pub(super) fn new(properties: &'c [Property], text: impl Fn(&Property) -> String) -> Self {
        let values = properties.iter().map(|property| (property, text(property)));
        Self {
            values: values.filter(|(_, text)| is_given(text)).collect(),
        }
    }

    /// Returns true if the card is about a person or a department.
    pub(super) fn is_contact(&self) -> bool {
        let is_no_contact = |kind: &str| {
            let kind = kind.trim();
            NO_CONTACTS.iter().any(|no| kind.eq_ignore_ascii_case(no))
        };
        let is_list = |text: &str| text.trim().eq_ignore_ascii_case("true");
        let has_members = MEMBERS.iter().any(|name| self.all(name).next().is_some());
        !has_members
            && !KINDS
                .iter()
                .flat_map(|name| self.all(name))
                .any(|(_, kind)| is_no_contact(kind))
            && !self.all(EVOLUTION_LIST).any(|(_, text)| is_list(text))
    }

    /// The value of a column. Values that are left out, although others of their kind are taken,
    /// are noted.
    pub(super) fn cell(&self, column: Column, notes: &mut Vec<&'static str>) -> String {
        match column {
            Column::DisplayName => self.display_name(),
            Column::Locale => self.locale(notes),
            Column::Email => self.email(notes),
            Column::ExternalId => self.first(UID),
            Column::Types => self.types(),
            Column::PhoneNumbers => self.phone_numbers(notes),
            Column::Salutation
            | Column::Title
            | Column::GivenName
            | Column::FamilyName
            | Column::Line
            | Column::Reason => String::new(),
            Column::CustomerNumber
            | Column::InvoiceEmailEnabled
            | Column::RestrictionsNote
            | Column::AllowedOrderTypes
            | Column::DeniedOrderTypes
            | Column::ContactDataEmail
            | Column::ContactDataPhoneNumber
            | Column::ContactDataLocale
            | Column::SecurityNotices
            | Column::PlannedMaintenance
            | Column::Outages => self.extension(column),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = (&'c Property, &str)> {
        let found = self.values.iter().filter(move |(p, _)| p.head.name == name);
        found.map(|(property, text)| (*property, text.as_str()))
    }

    fn first(&self, name: &str) -> String {
        let first = self.all(name).next();
        first.map(|(_, text)| unescaped(text)).unwrap_or_default()
    }

    /// Each value without its escapes, those first that are to be used before the others.
    fn by_preference(&self, name: &str) -> Vec<String> {
        let mut found: Vec<_> = self.all(name).collect();
        found.sort_by_key(|(property, _)| rank(property));
        found.into_iter().map(|(_, text)| unescaped(text)).collect()
    }

    fn extension(&self, column: Column) -> String {
        let is_it =
            |(property, _): &&(&Property, String)| extension(&property.head.name) == Some(column);
        let found = self.values.iter().find(is_it);
        found.map(|(_, text)| unescaped(text)).unwrap_or_default()
    }

    /// FN, which version 2.1 does not ask for, or what comes closest to it.
    fn display_name(&self) -> String {
        let organization = || {
            let (_, text) = self.all("ORG").next()?;
            Some(given(components(text)).join(", "))
        };
        let nickname = || {
            let (_, text) = self.all("NICKNAME").next()?;
            given(split_unescaped(text, ',')).into_iter().next()
        };
        let name = Some(self.first("FN")).filter(|name| is_given(name));
        let name = name.or_else(|| self.name_of_parts()).or_else(organization);
        let name = name.filter(|name| is_given(name)).or_else(nickname);
        // Line breaks of labels, and blanks that a fold doubled.
        name.unwrap_or_default()
            .split([' ', '\n', '\r', '\t'])
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// N: family name, given name, additional names, prefixes, suffixes.
    fn name_of_parts(&self) -> Option<String> {
        let (_, text) = self.all("N").next()?;
        let parts = components(text).into_iter().map(|part| {
            let each = given(split_unescaped(&part, ','));
            each.join(" ")
        });
        let mut parts = parts.chain(std::iter::repeat(String::new()));
        let [family, given, additional, title, suffix] =
            std::array::from_fn(|_| parts.next().unwrap_or_default());
        let name = compose(&NameParts {
            salutation: "",
            title: &title,
            given: &given,
            additional: &additional,
            family: &family,
            suffix: &suffix,
        });
        is_given(&name).then_some(name)
    }

    /// The first language that can be used, else the first one, which is rejected.
    fn locale(&self, notes: &mut Vec<&'static str>) -> String {
        let all = self.by_preference("LANG");
        let usable = all
            .iter()
            .position(|text| locale(text).is_ok_and(|_: Locale| true));
        if usable.is_some_and(|place| place > 0) {
            notes.push(UNUSABLE_LOCALE);
        }
        all.get(usable.unwrap_or(0)).cloned().unwrap_or_default()
    }

    /// The first address that can be used, else the first one, which is rejected.
    fn email(&self, notes: &mut Vec<&'static str>) -> String {
        let all = self.by_preference("EMAIL").into_iter();
        let all: Vec<_> = all.map(|text| bare_address(&text)).collect();
        let parsed: Vec<_> = all
            .iter()
            .map(|text| EmailAddress::parse(text).ok())
            .collect();
        let mut usable = parsed.iter().flatten();
        let Some(first) = usable.next() else {
            return all.into_iter().next().unwrap_or_default();
        };
        if parsed.iter().any(Option::is_none) {
            notes.push(UNUSABLE_EMAIL);
        }
        if usable.any(|other| !other.is_same_as(first)) {
            notes.push(FURTHER_EMAIL);
        }
        first.as_str().to_owned()
    }

    /// The numbers that can be used; where none can, all of them, which are rejected.
    fn phone_numbers(&self, notes: &mut Vec<&'static str>) -> String {
        let mut all = Vec::new();
        for (property, text) in self.all("TEL") {
            if !self.is_of_machine(property) {
                let text = unescaped(text);
                all.extend(split_list(&text).into_iter().map(callable));
            }
        }
        all.retain(|(number, _)| is_given(number));
        let has_usable = all.iter().any(|(_, is_usable)| *is_usable);
        let count = all.len();
        all.retain(|(_, is_usable)| *is_usable || !has_usable);
        if all.len() < count {
            notes.push(UNUSABLE_NUMBER);
        }
        let numbers: Vec<_> = all.into_iter().map(|(number, _)| number).collect();
        numbers.join("\n")
    }

    /// No one calls from a fax or a pager.
    fn is_of_machine(&self, property: &Property) -> bool {
        let head = &property.head;
        let is_machine = head.types().any(|name| {
            let is_device = ["MODEM", "BBS", "TELEX", "TTY-TDD"].contains(&name);
            is_device || name.contains("FAX") || name.contains("PAGER")
        });
        let mut labels = self
            .all(LABEL)
            .filter(|(label, _)| !head.group.is_empty() && label.head.group == head.group);
        let is_labeled = labels.any(|(_, label)| {
            let label = label.to_lowercase();
            label.contains("fax") || label.contains("pager")
        });
        (is_machine && !head.has_type("VOICE")) || is_labeled
    }

    /// Those names of CATEGORIES, ROLE and TITLE that are types: the others are keywords.
    fn types(&self) -> String {
        let named = TYPES.iter().flat_map(|name| self.all(name));
        let named = named.flat_map(|(_, text)| split(&unescaped(text)));
        let types: Vec<_> = named.filter(|name| contact_type(name).is_some()).collect();
        types.join("\n")
    }
}

fn is_given(value: &str) -> bool {
    !value.trim().is_empty()
}

fn given(values: Vec<String>) -> Vec<String> {
    let values = values.into_iter().map(|value| unescaped(&value));
    let values = values.map(|value| value.trim().to_owned());
    values.filter(|value| !value.is_empty()).collect()
}

/// From 1 to 100 in version 4; earlier versions have a type.
fn rank(property: &Property) -> u32 {
    let head = &property.head;
    let ranks = head.values("PREF").filter_map(|rank| rank.parse().ok());
    let typed = head.has_type("PREF").then_some(1);
    ranks.chain(typed).min().unwrap_or(u32::MAX)
}

/// The components of a structured value, with their escapes.
fn components(text: &str) -> Vec<String> {
    split_unescaped(text, ';')
}

fn split_unescaped(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part, mut is_escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        if c == separator && !is_escaped {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.push(part);
    parts
}

/// A value without its escapes. A backslash before another character is itself.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().filter(|_| c == '\\');
        match next {
            Some('n' | 'N') => plain.push('\n'),
            Some(special @ ('\\' | ',' | ';' | ':' | '"')) => plain.push(special),
            Some(_) | None => {
                plain.push(c);
                continue;
            }
        }
        chars.next();
    }
    plain
}

/// A number, and whether it can be used. Of a URI that cannot be, the number before the parameters is
/// tried: an extension is no part of a number that calls.
fn callable(text: &str) -> (String, bool) {
    let is_usable = |text: &str| PhoneNumber::parse(text).is_ok();
    let bare = without_scheme(text, "tel:").unwrap_or(text);
    let bare = bare.split(';').next().unwrap_or_default().trim();
    if !is_usable(text) && is_usable(bare) {
        return (bare.to_owned(), true);
    }
    (text.to_owned(), is_usable(text))
}
