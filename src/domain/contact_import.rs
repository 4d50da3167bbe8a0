//! By what a row of another system is known again.

use sha2::{Digest, Sha256};

use crate::{
    domain::{
        contact::ContactChange, contact_types::ContactTypes, customer::CustomerChange,
        email_address::EmailAddress, ids::CustomerNumber, phone_number::PhoneNumber,
        restrictions::OrderTypeCode, text,
    },
    error::Invalid,
};

const MAX_EXTERNAL_ID_CHARS: usize = 200;

/// Tells a row from the others of its customer: a SHA-256. It goes when the customer is erased.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImportKey(pub [u8; 32]);

impl ImportKey {
    /// Of a row that has an id in the other system, whatever else it says.
    pub fn of_external_id(number: &CustomerNumber, external_id: &str) -> Self {
        Self::of(number, "external_id", [external_id])
    }

    /// Of a row without such an id: by its name and address, or, without one, its phone numbers.
    pub fn of_person(
        number: &CustomerNumber,
        display_name: &str,
        email: Option<&EmailAddress>,
        phone_numbers: &[PhoneNumber],
    ) -> Self {
        if let Some(email) = email {
            let email = email.comparison_key();
            return Self::of(number, "email", [display_name, &email]);
        }
        // The other system need not list them in the same order every time.
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

/// The values of a row, whatever its key: a SHA-256. It goes when the customer is erased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImportValues(pub [u8; 32]);

impl ImportValues {
    /// The values of a contact. The order of lists does not matter.
    pub fn of(
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

/// Values that hold no line break, as one text.
fn sorted_lines<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.join("\n")
}

/// A hash of parts, each with its length before it, so that no two rows run together into the same.
fn digest<'p>(parts: impl IntoIterator<Item = &'p str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Adds to a change of a customer what another row says of it. Returns the names of the columns that
/// the row fills, each with whether it agrees with the rows before it.
pub fn merge_customer(
    change: &mut CustomerChange,
    row: &CustomerChange,
) -> Vec<(&'static str, bool)> {
    let is_same = |one: &Option<EmailAddress>, other: &Option<EmailAddress>| {
        one.as_ref().map(EmailAddress::comparison_key)
            == other.as_ref().map(EmailAddress::comparison_key)
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
        .filter_map(|(column, agrees)| Some((column, agrees?)))
        .collect()
}

fn merge_equal<T: Clone + PartialEq>(kept: &mut Option<T>, new: Option<&T>) -> Option<bool> {
    merge(kept, new, PartialEq::eq)
}

/// Keeps the first value. `None`: there is no new one.
fn merge<T: Clone>(
    kept: &mut Option<T>,
    new: Option<&T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Option<bool> {
    let new = new?;
    let kept = kept.get_or_insert_with(|| new.clone());
    Some(is_same(kept, new))
}

/// Reads the id that a contact has in another system: 1 to 200 characters of one line.
///
/// # Errors
/// [`Invalid`] when empty, too long or with control characters.
pub fn parse_external_id(id: &str) -> std::result::Result<String, Invalid> {
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
        ImportKey::of_person(&number("K-1"), name, email.as_ref(), &phone_numbers)
    }

    #[test]
    fn a_person_is_known_by_name_and_address_or_else_by_the_numbers() {
        let anna = person("Anna", "anna@müller.example", &["0721 1234567"]);
        assert!(anna == person("Anna", "ANNA@xn--mller-kva.example", &[]));
        assert!(anna != person("Anna", "anna@muster.example", &["0721 1234567"]));
        assert!(anna != person("Anne", "anna@müller.example", &["0721 1234567"]));
        let called = person("Anna", "", &["0721 1234567"]);
        assert!(called == person("Anna", "", &["+49 721 1234567"]));
        assert!(called != person("Anna", "", &[]));
        let both = person("Anna", "", &["0721 1234567", "0721 1234568"]);
        assert!(both == person("Anna", "", &["0721 1234568", "0721 1234567"]));
        assert!(both != called);
    }

    #[test]
    fn rows_of_one_customer_agree_or_name_the_column() {
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
    fn an_external_id_is_of_one_customer_and_no_name() {
        let key = ImportKey::of_external_id(&number("K-1"), "17");
        assert!(key == ImportKey::of_external_id(&number("K-1"), "17"));
        assert!(key != ImportKey::of_external_id(&number("K-11"), "7"));
        assert!(key != ImportKey::of_external_id(&number("K-2"), "17"));
        assert!(key != person("17", "", &[]));
    }
}
