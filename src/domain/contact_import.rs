//! Keys and hashes that identify imported rows in later imports.

use sha2::{Digest, Sha256};

use crate::{
    domain::{
        contact_change::ContactChange, contact_types::ContactTypes, customer::CustomerChange,
        email_address::EmailAddress, ids::CustomerNumber, phone_number::PhoneNumber,
        restrictions::OrderTypeCode, text,
    },
    error::Violation,
};

const MAX_EXTERNAL_ID_CHARS: usize = 200;

/// The key of an imported row among those of its customer: a SHA-256. It is deleted when the
/// customer is erased.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImportKey(pub [u8; 32]);

impl ImportKey {
    /// Returns the key of a row with an id of the other system. Other values are ignored.
    pub fn from_external_id(number: &CustomerNumber, external_id: &str) -> Self {
        Self::of(number, "external_id", [external_id])
    }

    /// Returns the key of a row without such an id: from its name and e-mail address or, without an
    /// address, from its name and phone numbers.
    pub fn from_person(
        number: &CustomerNumber,
        display_name: &str,
        email: Option<&EmailAddress>,
        phone_numbers: &[PhoneNumber],
    ) -> Self {
        if let Some(email) = email {
            let email = email.comparison_key();
            return Self::of(number, "email", [display_name, &email]);
        }
        // The other system may list them in any order.
        let mut sorted: Vec<_> = phone_numbers.iter().map(PhoneNumber::as_str).collect();
        sorted.sort_unstable();
        let parts = [display_name].into_iter().chain(sorted);
        Self::of(number, "phone_numbers", parts)
    }

    fn of<'p>(
        number: &'p CustomerNumber,
        kind: &'p str,
        parts: impl IntoIterator<Item = &'p str>,
    ) -> Self {
        Self(digest([number.as_str(), kind].into_iter().chain(parts)))
    }
}

/// A hash of the values of a row: a SHA-256. It is deleted when the customer is erased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImportValues(pub [u8; 32]);

impl ImportValues {
    /// Hashes the values of a contact. The order of lists is ignored.
    pub fn new(
        types: ContactTypes,
        display_name: &str,
        email: Option<&EmailAddress>,
        fields: &ContactChange,
    ) -> Self {
        let orders = [&fields.allowed_order_types, &fields.denied_order_types];
        let [allowed, denied] = orders.map(|codes| {
            let codes = codes.iter().flatten();
            sorted_lines(codes.map(OrderTypeCode::as_str))
        });
        let numbers = fields.phone_numbers.iter().flatten();
        let parts = [
            types.bits().to_string(),
            display_name.to_owned(),
            email.map(EmailAddress::comparison_key).unwrap_or_default(),
            fields.locale.unwrap_or_default().as_str().to_owned(),
            sorted_lines(numbers.map(PhoneNumber::as_str)),
            fields.invoice_email_enabled.unwrap_or_default().to_string(),
            fields.restrictions_note.clone().unwrap_or_default(),
            allowed,
            denied,
        ];
        Self(digest(parts.iter().map(String::as_str)))
    }
}

/// Joins values, which contain no line breaks, in sorted order.
fn sorted_lines<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.join("\n")
}

/// Hashes parts with their lengths, so that different parts never have the same concatenation.
fn digest<'p>(parts: impl IntoIterator<Item = &'p str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Merges the customer values of another row into a change. Returns the names of the columns that
/// the row fills, each with true if its value equals that of the rows before.
pub fn merge_customer(
    change: &mut CustomerChange,
    row: &CustomerChange,
) -> Vec<(&'static str, bool)> {
    let is_same = |first: &Option<EmailAddress>, second: &Option<EmailAddress>| {
        first.as_ref().map(EmailAddress::comparison_key)
            == second.as_ref().map(EmailAddress::comparison_key)
    };
    let merged = [
        (
            "contact_data_email",
            merge(&mut change.email, row.email.as_ref(), is_same),
        ),
        (
            "contact_data_phone_number",
            merge_equal(&mut change.phone_number, row.phone_number.as_ref()),
        ),
        (
            "contact_data_locale",
            merge_equal(&mut change.locale, row.locale.as_ref()),
        ),
        (
            "security_notices",
            merge_equal(&mut change.security_notices, row.security_notices.as_ref()),
        ),
        (
            "planned_maintenance",
            merge_equal(
                &mut change.planned_maintenance,
                row.planned_maintenance.as_ref(),
            ),
        ),
        (
            "outages",
            merge_equal(&mut change.outages, row.outages.as_ref()),
        ),
    ];
    let merged = merged.into_iter();
    merged
        .filter_map(|(column, has_same_value)| Some((column, has_same_value?)))
        .collect()
}

fn merge_equal<T: Clone + PartialEq>(value: &mut Option<T>, new: Option<&T>) -> Option<bool> {
    merge(value, new, PartialEq::eq)
}

/// Keeps the first value, and returns true if the new one equals it. `None`: there is no new one.
fn merge<T: Clone>(
    value: &mut Option<T>,
    new: Option<&T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Option<bool> {
    let new = new?;
    let value = value.get_or_insert_with(|| new.clone());
    Some(is_same(value, new))
}

/// Parses the id of a contact in another system: 1 to 200 characters on one line.
///
/// # Errors
/// [`Violation`] if the id is empty, too long or contains control characters.
pub fn parse_external_id(id: &str) -> std::result::Result<String, Violation> {
    text::single_line(id, MAX_EXTERNAL_ID_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    fn person(name: &str, email: &str, phone_numbers: &[&str]) -> ImportKey {
        let email = EmailAddress::parse(email).ok();
        let phone_numbers: Vec<_> = phone_numbers
            .iter()
            .map(|number| PhoneNumber::parse(number).unwrap())
            .collect();
        ImportKey::from_person(&number("K-1"), name, email.as_ref(), &phone_numbers)
    }

    #[test]
    fn person_is_identified_by_name_and_address_or_numbers() {
        let anna = person("Anna", "anna@müller.example", &["0721 1234567"]);
        assert!(anna == person("Anna", "ANNA@xn--mller-kva.example", &[]));
        assert!(anna != person("Anna", "anna@muster.example", &["0721 1234567"]));
        assert!(anna != person("Anne", "anna@müller.example", &["0721 1234567"]));
        let one_number = person("Anna", "", &["0721 1234567"]);
        assert!(one_number == person("Anna", "", &["+49 721 1234567"]));
        assert!(one_number != person("Anna", "", &[]));
        let both = person("Anna", "", &["0721 1234567", "0721 1234568"]);
        assert!(both == person("Anna", "", &["0721 1234568", "0721 1234567"]));
        assert!(both != one_number);
    }

    #[test]
    fn merging_rows_names_the_columns_that_differ() {
        let row = |email: &str, outages| CustomerChange {
            email: EmailAddress::parse(email).ok().map(Some),
            outages,
            ..CustomerChange::default()
        };
        let mut change = CustomerChange::default();
        let first = merge_customer(&mut change, &row("a@example.com", None));
        assert_eq!(first, [("contact_data_email", true)]);
        let second = merge_customer(&mut change, &row("", Some(false)));
        assert_eq!(second, [("outages", true)]);
        let third = merge_customer(&mut change, &row("b@example.com", Some(false)));
        assert_eq!(third, [("contact_data_email", false), ("outages", true)]);
        assert_eq!(change.email.unwrap().unwrap().as_str(), "a@example.com");
    }

    #[test]
    fn external_id_belongs_to_one_customer() {
        let key = ImportKey::from_external_id(&number("K-1"), "17");
        assert!(key == ImportKey::from_external_id(&number("K-1"), "17"));
        assert!(key != ImportKey::from_external_id(&number("K-11"), "7"));
        assert!(key != ImportKey::from_external_id(&number("K-2"), "17"));
        assert!(key != person("17", "", &[]));
    }
}
