//! The cells of a row as domain values, with all violations of the row at once.

use std::{borrow::Cow, fmt::Display};

use contact_service::{
    app::{ChangeOptions, FileRow, NewContact},
    domain::{
        contact::{
            Locale, MAX_PHONE_NUMBERS, parse_department, parse_display_name, parse_position,
        },
        contact_change::ContactChange,
        contact_import::{ImportKey, parse_external_id},
        contact_types::ContactTypes,
        customer::CustomerChange,
        ids::CustomerNumber,
        person_name::{parse_family_name, parse_given_name, parse_title},
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
    names,
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
    let name = names::name(header, record);
    let display_name =
        cells.parse_text(Column::DisplayName, &name.display_name, parse_display_name);
    let email = cells.optional(Column::Email, parse_address);
    let external_id = cells.optional(Column::ExternalId, parse_external_id);
    let phone_numbers = cells.list(Column::PhoneNumbers, MAX_PHONE_NUMBERS, PhoneNumber::parse);
    let allowed = Column::AllowedOrderTypes;
    let denied = Column::DeniedOrderTypes;
    let fields = ContactChange {
        salutation: Some(name.salutation),
        title: cells.parse_text(Column::Title, &name.title, parse_title),
        given_name: cells.parse_text(Column::GivenName, &name.given, parse_given_name),
        family_name: cells.parse_text(Column::FamilyName, &name.family, parse_family_name),
        job_position: cells.parse(Column::Position, parse_position),
        department: cells.parse(Column::Department, parse_department),
        locale: cells.parse(Column::Locale, locale),
        phone_numbers: Some(phone_numbers.clone()),
        invoice_email_enabled: cells.parse(Column::InvoiceEmailEnabled, yes_or_no),
        restrictions_note: cells.parse(Column::RestrictionsNote, parse_note),
        allowed_order_types: Some(cells.list(allowed, MAX_ORDER_TYPES, OrderTypeCode::parse)),
        denied_order_types: Some(cells.list(denied, MAX_ORDER_TYPES, OrderTypeCode::parse)),
        ..ContactChange::default()
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
        options: ChangeOptions::default(),
        shows_recipient_changes: false,
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
            ..CustomerChange::default()
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
mod tests;
