//! The value of a card for each column.

use contact_service::{
    domain::{
        contact::{Locale, parse_department, parse_position},
        email_address::EmailAddress,
        person_name::{parse_family_name, parse_given_name, parse_title},
        phone_number::PhoneNumber,
    },
    error::Violation,
};

use super::{
    property::Property,
    property_names::{EVOLUTION_LIST, KINDS, LABEL, MEMBERS, TYPES, UID, extension},
};
use crate::cli::import::{
    addresses::{bare_address, without_scheme},
    cells::{locale, split_list},
    columns::Column,
    names::{NameParts, compose},
    type_names::{contact_type, split},
};

/// Kinds of cards that are no contacts (RFC 6350, section 6.1.4; RFC 6473, RFC 6869). Organizations may
/// be departments, and unknown kinds are treated as persons.
const NO_CONTACTS: [&str; 5] = ["group", "location", "application", "device", "thing"];
const UNUSABLE_EMAIL: &str = "email: an address that cannot be used was left out";
const FURTHER_EMAIL: &str = "email: further addresses were left out: a contact has one";
const UNUSABLE_NUMBER: &str = "phone_numbers: a number that cannot be used was left out";
const UNUSABLE_PART: &str = "name: a part, position or department that cannot be used was left out";
const UNUSABLE_LOCALE: &str = "locale: a language that cannot be used was left out";

/// The properties of a card that have a value.
pub(super) struct Card<'c> {
    values: Vec<(&'c Property, String)>,
}

impl<'c> Card<'c> {
    /// Decodes the properties of a card. Some programs write all properties, with empty values.
    pub(super) fn new(properties: &'c [Property], text: impl Fn(&Property) -> String) -> Self {
        let values = properties.iter().map(|property| (property, text(property)));
        Self {
            values: values.filter(|(_, text)| has_text(text)).collect(),
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

    /// Returns the value of a column. A message is added to `notes` for values that are omitted although
    /// others of the property are used.
    pub(super) fn cell(&self, column: Column, notes: &mut Vec<&'static str>) -> String {
        match column {
            Column::DisplayName => self.display_name(),
            Column::Locale => self.locale(notes),
            Column::Email => self.email(notes),
            Column::ExternalId => self.first(UID),
            Column::Types => self.types(),
            Column::PhoneNumbers => self.phone_numbers(notes),
            Column::Title => usable(self.part_of_name(3), parse_title, notes),
            Column::GivenName => usable(self.part_of_name(1), parse_given_name, notes),
            Column::FamilyName => usable(self.part_of_name(0), parse_family_name, notes),
            Column::Position => usable(one_line(&self.first("TITLE")), parse_position, notes),
            Column::Department => usable(self.department(), parse_department, notes),
            // Some programs write it before the title.
            Column::Salutation | Column::Line | Column::Reason => String::new(),
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

    /// Returns the unescaped values of a property, preferred ones first.
    fn by_preference(&self, name: &str) -> Vec<String> {
        let mut found: Vec<_> = self.all(name).collect();
        found.sort_by_key(|(property, _)| preference(property));
        found.into_iter().map(|(_, text)| unescaped(text)).collect()
    }

    fn extension(&self, column: Column) -> String {
        let is_it =
            |(property, _): &&(&Property, String)| extension(&property.head.name) == Some(column);
        let found = self.values.iter().find(is_it);
        found.map(|(_, text)| unescaped(text)).unwrap_or_default()
    }

    /// Returns FN, which version 2.1 does not require, or the closest property.
    fn display_name(&self) -> String {
        let organization = || {
            let (_, text) = self.all("ORG").next()?;
            Some(non_empty(components(text)).join(", "))
        };
        let nickname = || {
            let (_, text) = self.all("NICKNAME").next()?;
            non_empty(split_unescaped(text, ',')).into_iter().next()
        };
        let name = Some(self.first("FN")).filter(|name| has_text(name));
        let name = name.or_else(|| self.name_of_parts()).or_else(organization);
        let name = name.filter(|name| has_text(name)).or_else(nickname);
        one_line(&name.unwrap_or_default())
    }

    /// Returns a component of N: 0 is the family name, 1 the given name, 3 the prefixes.
    fn part_of_name(&self, index: usize) -> String {
        let part = self
            .all("N")
            .next()
            .and_then(|(_, text)| components(text).into_iter().nth(index));
        let values = part.map(|part| non_empty(split_unescaped(&part, ',')));
        one_line(&values.unwrap_or_default().join(" "))
    }

    /// Returns the first unit of ORG.
    fn department(&self) -> String {
        let unit = self
            .all("ORG")
            .next()
            .and_then(|(_, text)| components(text).into_iter().nth(1));
        one_line(&unescaped(&unit.unwrap_or_default()))
    }

    /// Composes the name from N: family name, given name, additional names, prefixes, suffixes.
    fn name_of_parts(&self) -> Option<String> {
        let (_, text) = self.all("N").next()?;
        let parts = components(text).into_iter().map(|part| {
            let each = non_empty(split_unescaped(&part, ','));
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
        has_text(&name).then_some(name)
    }

    /// Returns the first valid language, else the first one, for which the row is rejected.
    fn locale(&self, notes: &mut Vec<&'static str>) -> String {
        let all = self.by_preference("LANG");
        let usable = all
            .iter()
            .position(|text| locale(text).is_ok_and(|_: Locale| true));
        if usable.is_some_and(|index| index > 0) {
            notes.push(UNUSABLE_LOCALE);
        }
        all.get(usable.unwrap_or(0)).cloned().unwrap_or_default()
    }

    /// Returns the first valid address, else the first one, for which the row is rejected.
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

    /// Returns the valid numbers; if there are none, all of them, for which the row is rejected.
    fn phone_numbers(&self, notes: &mut Vec<&'static str>) -> String {
        let mut all = Vec::new();
        for (property, text) in self.all("TEL") {
            if !self.is_machine(property) {
                let text = unescaped(text);
                all.extend(split_list(&text).into_iter().map(callable));
            }
        }
        all.retain(|(number, _)| has_text(number));
        let has_usable = all.iter().any(|(_, is_usable)| *is_usable);
        let count = all.len();
        all.retain(|(_, is_usable)| *is_usable || !has_usable);
        if all.len() < count {
            notes.push(UNUSABLE_NUMBER);
        }
        let numbers: Vec<_> = all.into_iter().map(|(number, _)| number).collect();
        numbers.join("\n")
    }

    /// Returns true for a fax or a pager, from which no phone calls are made.
    fn is_machine(&self, property: &Property) -> bool {
        let head = &property.head;
        let has_machine_type = head.types().any(|name| {
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
        (has_machine_type && !head.has_type("VOICE")) || is_labeled
    }

    /// Returns the names of contact types in CATEGORIES, ROLE and TITLE; other names are ignored.
    fn types(&self) -> String {
        let named = TYPES.iter().flat_map(|name| self.all(name));
        let named = named.flat_map(|(_, text)| split(&unescaped(text)));
        let types: Vec<_> = named.filter(|name| contact_type(name).is_some()).collect();
        types.join("\n")
    }
}

/// Returns the text if it can be stored. A card is not rejected for it, as its display name is enough.
fn usable(
    text: String,
    parse: fn(&str) -> Result<String, Violation>,
    notes: &mut Vec<&'static str>,
) -> String {
    if parse(&text).is_ok() {
        return text;
    }
    notes.push(UNUSABLE_PART);
    String::new()
}

/// Collapses line breaks of labels, and blanks that folding doubled.
fn one_line(text: &str) -> String {
    let words = text.split([' ', '\n', '\r', '\t']);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn has_text(value: &str) -> bool {
    !value.trim().is_empty()
}

fn non_empty(values: Vec<String>) -> Vec<String> {
    let values = values.into_iter().map(|value| unescaped(&value));
    let values = values.map(|value| value.trim().to_owned());
    values.filter(|value| !value.is_empty()).collect()
}

/// Returns the preference: 1 to 100 in version 4, the type PREF in earlier versions.
fn preference(property: &Property) -> u32 {
    let head = &property.head;
    let ranks = head.values("PREF").filter_map(|rank| rank.parse().ok());
    let typed = head.has_type("PREF").then_some(1);
    ranks.chain(typed).min().unwrap_or(u32::MAX)
}

/// Splits a structured value into its components, without unescaping them.
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

/// Unescapes a value. A backslash before another character is kept.
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

/// Returns a number, and true if it is valid. The parameters of an invalid URI are removed: an extension
/// is not part of the number that a phone call shows.
fn callable(text: &str) -> (String, bool) {
    let is_usable = |text: &str| PhoneNumber::parse(text).is_ok();
    let bare = without_scheme(text, "tel:").unwrap_or(text);
    let bare = bare.split(';').next().unwrap_or_default().trim();
    if !is_usable(text) && is_usable(bare) {
        return (bare.to_owned(), true);
    }
    (text.to_owned(), is_usable(text))
}
