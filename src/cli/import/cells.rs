//! The cells of a row as domain values, with all violations of the row at once.

use std::{borrow::Cow, fmt::Display};

use contact_service::{
    app::{FileRow, NewContact},
    domain::{
        contact::{ContactChange, Locale, MAX_PHONE_NUMBERS, parse_display_name},
        contact_import::{ImportKey, parse_external_id},
        contact_types::ContactTypes,
        customer::CustomerChange,
        ids::CustomerNumber,
        phone_number::PhoneNumber,
        restrictions::{MAX_ORDER_TYPES, OrderTypeCode, parse_note},
    },
    error::Violation,
};
use csv::StringRecord;

use super::{
    addresses::parse_address,
    columns::Column,
    encoding::UNREADABLE,
    header::Header,
    names::display_name,
    type_names::{self, contact_type},
};

/// Separators of several values in a cell.
const SEPARATORS: [char; 5] = [',', ';', '|', '\n', '\r'];
const YES: &[&str] = &["ja", "j", "yes", "y", "true", "wahr", "1", "x", "on", "an"];
const NO: &[&str] = &["nein", "n", "no", "false", "falsch", "0", "off", "aus", "-"];
const IN_SCIENTIFIC_NOTATION: &str =
    "is in scientific notation, in which a spreadsheet drops digits: export the column as text";

/// Returns the customer number of a row, if it is valid.
pub(super) fn customer_number(header: &Header, record: &StringRecord) -> Option<CustomerNumber> {
    let cell = header.cell(record, Column::CustomerNumber);
    CustomerNumber::parse(without_apostrophe(&cell)).ok()
}

/// Parses a row.
///
/// # Errors
/// All violations, each after the name of its column.
pub(super) fn contact_row(header: &Header, record: &StringRecord) -> Result<FileRow, String> {
    let mut cells = Cells::new(header, record);
    cells.reject_unreadable();
    let number = cells.customer_number();
    let types = cells.types();
    let display_name = cells.display_name();
    let email = cells.optional(Column::Email, parse_address);
    let external_id = cells.optional(Column::ExternalId, parse_external_id);
    let phone_numbers = cells.list(Column::PhoneNumbers, MAX_PHONE_NUMBERS, PhoneNumber::parse);
    let allowed = Column::AllowedOrderTypes;
    let denied = Column::DeniedOrderTypes;
    let fields = ContactChange {
        types: None,
        display_name: None,
        locale: cells.parse(Column::Locale, locale),
        phone_numbers: Some(phone_numbers.clone()),
        invoice_email_enabled: cells.parse(Column::InvoiceEmailEnabled, yes_or_no),
        restrictions_note: cells.parse(Column::RestrictionsNote, parse_note),
        allowed_order_types: Some(cells.list(allowed, MAX_ORDER_TYPES, OrderTypeCode::parse)),
        denied_order_types: Some(cells.list(denied, MAX_ORDER_TYPES, OrderTypeCode::parse)),
    };
    let customer = cells.customer_change();
    let violations = cells.violations;
    let (Some(customer_number), Some(display_name), true) =
        (number, display_name, violations.is_empty())
    else {
        return Err(summary(&violations));
    };
    let key = match external_id {
        Some(id) => ImportKey::from_external_id(&customer_number, &id),
        None => ImportKey::from_person(
            &customer_number,
            &display_name,
            email.as_ref(),
            &phone_numbers,
        ),
    };
    let contact = NewContact {
        customer_number,
        types,
        display_name,
        fields,
        email,
        phone_password: None,
        request: None,
        validate_only: false,
    };
    Ok(FileRow {
        key,
        contact,
        customer,
    })
}

/// Returns the reason to reject a row that has the key of an earlier one and other values.
pub(super) fn contradiction(header: &Header, record: &StringRecord, earlier: u64) -> String {
    let has_value = |column| !header.cell(record, column).is_empty();
    let key = if has_value(Column::ExternalId) {
        "external_id"
    } else if has_value(Column::Email) {
        "display_name and email"
    } else if has_value(Column::PhoneNumbers) {
        "display_name and phone_numbers"
    } else {
        "display_name"
    };
    format!("row: the same {key} as line {earlier}, with other values")
}

/// Returns all violations, each a field and a description, in one line.
pub(super) fn summary(violations: &[(String, String)]) -> String {
    let each = violations.iter();
    let each = each.map(|(field, description)| format!("{field}: {description}"));
    each.collect::<Vec<_>>().join("; ")
}

/// A parser of a cell. Its error is the reason for which the cell is rejected.
type Parse<T, E> = fn(&str) -> Result<T, E>;

struct Cells<'r> {
    header: &'r Header,
    record: &'r StringRecord,
    violations: Vec<(String, String)>,
}

impl<'r> Cells<'r> {
    const fn new(header: &'r Header, record: &'r StringRecord) -> Self {
        Self {
            header,
            record,
            violations: Vec::new(),
        }
    }

    fn cell(&self, column: Column) -> Cow<'r, str> {
        self.header.cell(self.record, column)
    }

    fn violation(&mut self, field: impl Into<String>, description: impl Display) {
        self.violations
            .push((field.into(), description.to_string()));
    }

    fn reject_unreadable(&mut self) {
        for column in Column::ALL {
            if self.cell(column).contains(UNREADABLE) {
                let reason = "cannot be decoded with certainty: use --encoding or correct it";
                self.violation(column.name(), reason);
            }
        }
    }

    fn parse<T, E: Display>(&mut self, column: Column, parse: Parse<T, E>) -> Option<T> {
        self.parse_text(column, &self.cell(column), parse)
    }

    fn parse_text<T, E: Display>(
        &mut self,
        column: Column,
        text: &str,
        parse: Parse<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.violation(column.name(), reason);
                None
            }
        }
    }

    fn optional<T, E: Display>(&mut self, column: Column, parse: Parse<T, E>) -> Option<T> {
        let has_value = !self.cell(column).is_empty();
        has_value.then(|| self.parse(column, parse)).flatten()
    }

    fn customer_number(&mut self) -> Option<CustomerNumber> {
        let cell = self.cell(Column::CustomerNumber);
        if is_scientific(&cell) {
            self.violation(Column::CustomerNumber.name(), IN_SCIENTIFIC_NOTATION);
            return None;
        }
        let text = without_apostrophe(&cell);
        self.parse_text(Column::CustomerNumber, text, CustomerNumber::parse)
    }

    fn display_name(&mut self) -> Option<String> {
        let name = display_name(self.header, self.record);
        self.parse_text(Column::DisplayName, &name, parse_display_name)
    }

    fn types(&mut self) -> ContactTypes {
        let mut types = Vec::new();
        let names = type_names::split(&self.cell(Column::Types));
        if names.is_empty() {
            self.violation("types", Violation::TypesMissing);
        }
        for (index, name) in names.iter().enumerate() {
            match contact_type(name) {
                Some(known) => types.push(known),
                None => self.violation(format!("types[{index}]"), Violation::UnknownContactType),
            }
        }
        types.into_iter().collect()
    }

    /// Returns the distinct values in their order.
    fn list<T: PartialEq>(
        &mut self,
        column: Column,
        max: usize,
        parse: Parse<T, Violation>,
    ) -> Vec<T> {
        let cell = self.cell(column);
        let (mut values, mut violations) = (Vec::new(), Vec::new());
        for (index, text) in split_list(&cell).into_iter().enumerate() {
            let parsed = if is_scientific(text) {
                Err(IN_SCIENTIFIC_NOTATION.to_owned())
            } else {
                parse(without_apostrophe(text)).map_err(|violation| violation.to_string())
            };
            match parsed {
                Ok(value) if values.contains(&value) => {}
                Ok(value) => values.push(value),
                Err(reason) => {
                    violations.push((format!("{}[{index}]", column.name()), reason));
                }
            }
        }
        if values.len() + violations.len() > max {
            violations = vec![(column.name().to_owned(), format!("must hold at most {max}"))];
        }
        self.violations.append(&mut violations);
        values
    }

    /// Returns the fields of a customer that the import creates; empty cells set nothing.
    fn customer_change(&mut self) -> CustomerChange {
        let phone_number = |text: &str| {
            if is_scientific(text) {
                return Err(IN_SCIENTIFIC_NOTATION.to_owned());
            }
            let number = PhoneNumber::parse(without_apostrophe(text));
            number.map_err(|violation| violation.to_string())
        };
        CustomerChange {
            email: self
                .optional(Column::ContactDataEmail, parse_address)
                .map(Some),
            phone_number: self
                .optional(Column::ContactDataPhoneNumber, phone_number)
                .map(Some),
            locale: self.optional(Column::ContactDataLocale, locale),
            security_notices: self.optional(Column::SecurityNotices, yes_or_no),
            planned_maintenance: self.optional(Column::PlannedMaintenance, yes_or_no),
            outages: self.optional(Column::Outages, yes_or_no),
        }
    }
}

/// Splits a cell into its values. The parameters of a URI (`tel:+49…;ext=5`) and the comma of a
/// number in scientific notation (`4,92112E+11`) do not separate values.
pub(super) fn split_list(cell: &str) -> Vec<&str> {
    let mut values = Vec::new();
    let mut start = 0;
    for (index, separator) in cell.match_indices(SEPARATORS) {
        let (before, after) = (cell.get(start..index), cell.get(index + separator.len()..));
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        let next = after.split(SEPARATORS).next().unwrap_or_default();
        let is_inside = match separator {
            ";" => is_parameter(after),
            "," => is_scientific(&format!("{before},{next}")),
            _ => false,
        };
        if !is_inside {
            values.push(before.trim());
            start = index + separator.len();
        }
    }
    values.push(cell.get(start..).unwrap_or_default().trim());
    values.retain(|value| !value.is_empty());
    values
}

/// Returns true for a URI parameter, such as `ext=5` or `phone-context=…`.
fn is_parameter(text: &str) -> bool {
    let (name, _) = text.split_once('=').unwrap_or_default();
    let is_name_char = |c: char| c.is_ascii_alphabetic() || c == '-';
    !name.is_empty() && name.chars().all(is_name_char)
}

/// Returns true for scientific notation, such as `4,92112E+11`.
fn is_scientific(text: &str) -> bool {
    let Some((digits, exponent)) = text.trim().split_once(['E', 'e']) else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = digits.split_once([',', '.']).unwrap_or((digits, ""));
    exponent.strip_prefix('+').is_some_and(is_number)
        && whole.len() == 1
        && is_number(whole)
        && is_number(fraction)
}

/// Removes the leading apostrophe with which spreadsheets mark a number as text.
fn without_apostrophe(text: &str) -> &str {
    text.strip_prefix('\'').unwrap_or(text).trim_start()
}

/// Parses a language, such as `DE`, `de-AT`, `Deutsch` or `English`.
pub(super) fn locale(text: &str) -> Result<Locale, Violation> {
    let language = text.split(['-', '_']).next().unwrap_or_default();
    let language = language.trim().to_lowercase();
    Locale::parse(match language.as_str() {
        "deutsch" | "german" => "de",
        "englisch" | "english" => "en",
        other => other,
    })
}

fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    let text: &str = &text.to_lowercase();
    if YES.contains(&text) {
        Ok(true)
    } else if text.is_empty() || NO.contains(&text) {
        Ok(false)
    } else {
        Err("must be yes or no (ja or nein)")
    }
}

#[cfg(test)]
mod tests {
    use contact_service::domain::contact_types::ContactType;
    use rstest::rstest;

    use super::*;

    fn read(cells: &[(&str, &str)]) -> Result<FileRow, String> {
        let mut names = vec!["customer_number", "types", "display_name"];
        let mut values = vec!["K-1", "STANDARD", "Anna"];
        for (name, value) in cells {
            if let Some(index) = names.iter().position(|known| known == name) {
                values[index] = value;
            } else {
                names.push(name);
                values.push(value);
            }
        }
        let header = Header::read(&names.into(), &[]).unwrap();
        contact_row(&header, &values.into())
    }

    #[test]
    fn full_row_is_parsed() {
        let row = read(&[
            ("types", "Technik|Buchhaltung, Authorized signatory"),
            ("locale", "en-GB"),
            ("email", "Anna@Müller.example"),
            (
                "phone_numbers",
                "0721 1234567 | +49 721 1234567\n0151 23456789",
            ),
            ("invoice_email_enabled", "Ja"),
            ("restrictions_note", "Nur bis\n500 Euro"),
            ("denied_order_types", "cancellation;domain_transfer"),
        ]);
        let contact = row.ok().unwrap().contact;
        let types = [
            ContactType::Accounting,
            ContactType::Technical,
            ContactType::AuthorizedSignatory,
        ];
        assert_eq!(contact.types, types.into_iter().collect());
        assert_eq!(contact.fields.locale, Some(Locale::English));
        assert_eq!(
            contact.email.unwrap().as_str(),
            "Anna@xn--mller-kva.example"
        );
        let numbers = contact.fields.phone_numbers.unwrap();
        let numbers: Vec<_> = numbers.iter().map(PhoneNumber::as_str).collect();
        assert_eq!(numbers, ["+497211234567", "+4915123456789"]);
        assert_eq!(contact.fields.invoice_email_enabled, Some(true));
        assert_eq!(contact.fields.denied_order_types.unwrap().len(), 2);
    }

    #[rstest]
    #[case(&[("customer_number", "K 1")], "customer_number: must have 1 to 32")]
    #[case(&[("display_name", " ")], "display_name: must not be empty")]
    #[case(&[("types", "")], "types: must hold at least one type")]
    #[case(&[("types", "STANDARD,Chef")], "types[1]: must be a known contact type")]
    #[case(&[("locale", "fr")], "locale: must be \"de\" or \"en\"")]
    #[case(&[("email", "zq7k@")], "email: ")]
    #[case(&[("phone_numbers", "0721 1234567|zq7k")], "phone_numbers[1]: ")]
    #[case(&[("phone_numbers", "1|2|3|4|5|6|7|8|9|10|11")], "phone_numbers: must hold at most 10")]
    #[case(&[("invoice_email_enabled", "zq7k")], "invoice_email_enabled: must be yes or no")]
    #[case(&[("allowed_order_types", "a,zq7k!")], "allowed_order_types[1]: ")]
    #[case(&[("restrictions_note", "a\u{0}")], "restrictions_note: ")]
    #[case(&[("external_id", "a\nb")], "external_id: ")]
    #[case(&[("display_name", "J\u{FFFD}rg")], "display_name: cannot be decoded")]
    #[case(&[("locale", "fr"), ("email", "zq7k")], "; ")]
    fn reason_names_the_column_and_not_the_value(
        #[case] cells: &[(&str, &str)],
        #[case] why: &str,
    ) {
        let error = read(cells).err().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("zq7k"), "{error}");
    }

    #[rstest]
    #[case("a, b;c|d\ne", &["a", "b", "c", "d", "e"])]
    #[case("4,92112E+11", &["4,92112E+11"])]
    #[case("0721 1,4,92112E+11;x", &["0721 1", "4,92112E+11", "x"])]
    #[case("tel:+49-721-1;ext=5;isub=1;tel:+49-721-2", &["tel:+49-721-1;ext=5;isub=1", "tel:+49-721-2"])]
    #[case(" ;, ", &[])]
    fn cell_is_split_into_values(#[case] cell: &str, #[case] values: &[&str]) {
        assert_eq!(split_list(cell), values);
    }

    #[rstest]
    #[case("4,92112E+11", "phone_numbers[0]: is in scientific notation")]
    #[case("4.92112e+11", "phone_numbers[0]: is in scientific notation")]
    fn scientific_notation_is_rejected(#[case] cell: &str, #[case] why: &str) {
        let error = read(&[("phone_numbers", cell)]).err().unwrap();
        assert!(error.contains(why), "{error}");
        let error = read(&[("customer_number", cell)]).err().unwrap();
        assert!(
            error.contains("customer_number: is in scientific"),
            "{error}"
        );
    }

    #[test]
    fn equal_numbers_count_once_and_links_are_accepted() {
        let numbers = "0721 1234567|+49 721 1234567|".repeat(6);
        let row = read(&[("phone_numbers", &numbers), ("email", "MAILTO:a@x.example")]);
        let contact = row.ok().unwrap().contact;
        assert_eq!(contact.fields.phone_numbers.unwrap().len(), 1);
        assert_eq!(contact.email.unwrap().as_str(), "a@x.example");
    }

    #[test]
    fn text_markers_of_spreadsheets_are_removed() {
        let row = read(&[
            ("customer_number", "'0123"),
            ("phone_numbers", "'0211 1234567"),
        ]);
        let contact = row.ok().unwrap().contact;
        assert_eq!(contact.customer_number.as_str(), "0123");
        let numbers = contact.fields.phone_numbers.unwrap();
        assert_eq!(numbers[0].as_str(), "+492111234567");
    }

    #[test]
    fn contact_data_and_settings_are_parsed() {
        let row = read(&[
            ("Kontakt-E-Mail", "info@example.com"),
            ("Stammdaten-Telefon", "0721 1234567"),
            ("Sicherheitshinweise", "nein"),
            ("Wartung", ""),
            ("Störungen", "ja"),
        ]);
        let customer = row.ok().unwrap().customer;
        assert_eq!(
            customer.email.unwrap().unwrap().as_str(),
            "info@example.com"
        );
        assert_eq!(
            customer.phone_number.unwrap().unwrap().as_str(),
            "+497211234567"
        );
        assert_eq!(customer.security_notices, Some(false));
        assert_eq!(customer.planned_maintenance, None);
        assert_eq!(customer.outages, Some(true));
        let error = read(&[("Wartung", "zq7k"), ("Kontakt-E-Mail", "zq7k")]).err();
        let error = error.unwrap();
        assert!(error.contains("contact_data_email: must be"), "{error}");
        assert!(
            error.contains("planned_maintenance: must be yes or no"),
            "{error}"
        );
    }

    #[test]
    fn key_of_a_row_depends_on_its_external_id_only() {
        let key = |cells| read(cells).ok().unwrap().key;
        let one = key(&[("external_id", "17")]);
        assert!(one == key(&[("external_id", " 17 "), ("display_name", "Berta")]));
        assert!(one != key(&[]));
        assert!(key(&[]) == key(&[("locale", "en"), ("types", "OTHER")]));
    }
}
