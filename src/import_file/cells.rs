//! A row's cells as values of the domain, with all that is wrong with them at once.

use contact_service::{
    app::{ContactRow, NewContact},
    domain::{
        contact::{ContactChange, Locale, MAX_PHONE_NUMBERS, parse_display_name},
        contact_import::{ImportKey, parse_external_id},
        contact_types::{ContactType, ContactTypes},
        customer::CustomerNumber,
        email_address::EmailAddress,
        phone_number::PhoneNumber,
        restrictions::{MAX_ORDER_TYPES, OrderTypeCode, parse_note},
    },
    error::{FieldViolation, Invalid},
};
use csv::StringRecord;

use super::{
    columns::{Column, Header, plain},
    decoding::UNREADABLE,
};

/// What stands between several values of a cell. A line break is none of any value either.
const BETWEEN: [char; 5] = [',', ';', '|', '\n', '\r'];

/// English and German names of types, as [`plain`] leaves them.
const TYPES: &[(&str, ContactType)] = &[
    ("standard", ContactType::Standard),
    ("accounting", ContactType::Accounting),
    ("buchhaltung", ContactType::Accounting),
    ("technical", ContactType::Technical),
    ("technik", ContactType::Technical),
    ("technischeransprechpartner", ContactType::Technical),
    ("technischeansprechpartnerin", ContactType::Technical),
    ("owner", ContactType::Owner),
    ("inhaber", ContactType::Owner),
    ("inhaberin", ContactType::Owner),
    ("authorizedsignatory", ContactType::AuthorizedSignatory),
    ("zeichnungsberechtigter", ContactType::AuthorizedSignatory),
    ("zeichnungsberechtigte", ContactType::AuthorizedSignatory),
    ("dataprotection", ContactType::DataProtection),
    ("datenschutz", ContactType::DataProtection),
    ("datenschutzbeauftragter", ContactType::DataProtection),
    ("datenschutzbeauftragte", ContactType::DataProtection),
    ("other", ContactType::Other),
    ("sonstige", ContactType::Other),
    ("sonstiges", ContactType::Other),
];
const YES: &[&str] = &["ja", "j", "yes", "y", "true", "wahr", "1", "x"];
const NO: &[&str] = &["", "nein", "n", "no", "false", "falsch", "0"];

/// A contact type, if `name` is one.
pub(super) fn contact_type(name: &str) -> Option<ContactType> {
    let name = plain(name);
    let known = TYPES.iter().find(|(known, _)| *known == name);
    known.map(|(_, contact_type)| *contact_type)
}

/// The customer number of a row, if it is one.
pub(super) fn customer_number(header: &Header, record: &StringRecord) -> Option<CustomerNumber> {
    CustomerNumber::parse(header.cell(record, Column::CustomerNumber)).ok()
}

/// Reads a row.
///
/// # Errors
/// All that is wrong with it, by the names of the columns.
pub(super) fn contact_row(header: &Header, record: &StringRecord) -> Result<ContactRow, String> {
    let mut cells = Cells::new(header, record);
    cells.refuse_unreadable();
    let number = cells.take(Column::CustomerNumber, CustomerNumber::parse);
    let types = cells.types();
    let display_name = cells.take(Column::DisplayName, parse_display_name);
    let email = cells.optional(Column::Email, EmailAddress::parse);
    let external_id = cells.optional(Column::ExternalId, parse_external_id);
    let phone_numbers = cells.list(Column::PhoneNumbers, MAX_PHONE_NUMBERS, PhoneNumber::parse);
    let allowed = Column::AllowedOrderTypes;
    let denied = Column::DeniedOrderTypes;
    let fields = ContactChange {
        types: None,
        display_name: None,
        locale: cells.take(Column::Locale, locale),
        phone_numbers: Some(phone_numbers.clone()),
        invoice_email_enabled: cells.take(Column::InvoiceEmailEnabled, yes_or_no),
        restrictions_note: cells.take(Column::RestrictionsNote, parse_note),
        allowed_order_types: Some(cells.list(allowed, MAX_ORDER_TYPES, OrderTypeCode::parse)),
        denied_order_types: Some(cells.list(denied, MAX_ORDER_TYPES, OrderTypeCode::parse)),
    };
    let violations = cells.violations;
    let (Some(customer_number), Some(display_name), true) =
        (number, display_name, violations.is_empty())
    else {
        return Err(told(&violations));
    };
    let key = match external_id {
        Some(id) => ImportKey::of_external_id(&customer_number, &id),
        None => ImportKey::of_person(
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
    Ok(ContactRow { key, contact })
}

/// What is wrong with a row that has the key of an earlier one and says something else.
pub(super) fn contradiction(header: &Header, record: &StringRecord, earlier: u64) -> String {
    let is_given = |column| !header.cell(record, column).is_empty();
    let key = if is_given(Column::ExternalId) {
        "external_id"
    } else if is_given(Column::Email) {
        "display_name and email"
    } else if is_given(Column::PhoneNumbers) {
        "display_name and phone_numbers"
    } else {
        "display_name"
    };
    format!("row: the same {key} as line {earlier}, with other values")
}

/// What is wrong with a row, in one line.
pub(super) fn told(violations: &[FieldViolation]) -> String {
    let each = violations.iter();
    let each: Vec<_> = each
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect();
    each.join("; ")
}

struct Cells<'r> {
    header: &'r Header,
    record: &'r StringRecord,
    violations: Vec<FieldViolation>,
}

impl<'r> Cells<'r> {
    const fn new(header: &'r Header, record: &'r StringRecord) -> Self {
        Self {
            header,
            record,
            violations: Vec::new(),
        }
    }

    fn refuse(&mut self, field: impl Into<String>, why: &str) {
        self.violations.push(FieldViolation::new(field, why));
    }

    fn refuse_unreadable(&mut self) {
        for column in Column::OF_CONTACTS {
            if self.header.cell(self.record, column).contains(UNREADABLE) {
                let why = "holds bytes that are not of the file's encoding";
                self.refuse(column.name(), why);
            }
        }
    }

    fn take<T>(&mut self, column: Column, parse: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(self.header.cell(self.record, column)) {
            Ok(value) => Some(value),
            Err(Invalid(why)) => {
                self.refuse(column.name(), &why);
                None
            }
        }
    }

    fn optional<T>(&mut self, column: Column, parse: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        let is_given = !self.header.cell(self.record, column).is_empty();
        is_given.then(|| self.take(column, parse)).flatten()
    }

    fn values(&self, column: Column) -> Vec<&'r str> {
        let cell = self.header.cell(self.record, column);
        let values = cell.split(BETWEEN).map(str::trim);
        values.filter(|value| !value.is_empty()).collect()
    }

    fn types(&mut self) -> ContactTypes {
        let mut types = Vec::new();
        let values = self.values(Column::Types);
        if values.is_empty() {
            self.refuse("types", "must hold at least one type");
        }
        for (index, value) in values.into_iter().enumerate() {
            match contact_type(value) {
                Some(known) => types.push(known),
                None => self.refuse(format!("types[{index}]"), "must be a known contact type"),
            }
        }
        types.into_iter().collect()
    }

    /// Each value once, in the order given.
    fn list<T: PartialEq>(
        &mut self,
        column: Column,
        most: usize,
        parse: fn(&str) -> Result<T, Invalid>,
    ) -> Vec<T> {
        let texts = self.values(column);
        let mut values = Vec::new();
        if texts.len() > most {
            self.refuse(column.name(), &format!("must hold at most {most}"));
            return values;
        }
        for (index, text) in texts.into_iter().enumerate() {
            match parse(text) {
                Ok(value) if values.contains(&value) => {}
                Ok(value) => values.push(value),
                Err(Invalid(why)) => self.refuse(format!("{}[{index}]", column.name()), &why),
            }
        }
        values
    }
}

/// Also `DE`, `de-AT`, `Deutsch`, `English`.
fn locale(text: &str) -> Result<Locale, Invalid> {
    let language = text.split(['-', '_']).next().unwrap_or_default();
    let language = language.trim().to_lowercase();
    Locale::parse(match language.as_str() {
        "deutsch" | "german" => "de",
        "englisch" | "english" => "en",
        other => other,
    })
}

fn yes_or_no(text: &str) -> Result<bool, Invalid> {
    let text = text.to_lowercase();
    let text = text.as_str();
    if YES.contains(&text) {
        Ok(true)
    } else if NO.contains(&text) {
        Ok(false)
    } else {
        Err(Invalid::new("must be yes or no (ja or nein)"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(cells: &[(&str, &str)]) -> Result<ContactRow, String> {
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
        let header = Header::read(names.into()).unwrap();
        contact_row(&header, &values.into())
    }

    #[test]
    fn a_full_row_is_read() {
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
    #[case(&[("display_name", "J\u{FFFD}rg")], "display_name: holds bytes that are not")]
    #[case(&[("locale", "fr"), ("email", "zq7k")], "; ")]
    fn a_broken_cell_is_named_and_not_repeated(#[case] cells: &[(&str, &str)], #[case] why: &str) {
        let refused = read(cells).err().unwrap();
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("zq7k"), "{refused}");
    }

    #[test]
    fn a_row_is_known_by_its_id_whatever_else_changes() {
        let key = |cells| read(cells).ok().unwrap().key;
        let one = key(&[("external_id", "17")]);
        assert!(one == key(&[("external_id", " 17 "), ("display_name", "Berta")]));
        assert!(one != key(&[]));
        assert!(key(&[]) == key(&[("locale", "en"), ("types", "OTHER")]));
    }

    #[test]
    fn every_type_has_names() {
        for known in ContactType::ALL {
            assert!(TYPES.iter().any(|(_, named)| *named == known), "{known:?}");
        }
        assert_eq!(
            contact_type("AUTHORIZED_SIGNATORY"),
            Some(ContactType::AuthorizedSignatory)
        );
        for (name, known) in [
            ("Inhaberin", ContactType::Owner),
            ("Datenschutzbeauftragter", ContactType::DataProtection),
            ("Datenschutz-Beauftragte", ContactType::DataProtection),
            ("Technischer Ansprechpartner", ContactType::Technical),
        ] {
            assert_eq!(contact_type(name), Some(known));
        }
        assert_eq!(contact_type("Chef"), None);
        for (name, _) in TYPES {
            assert_eq!(plain(name), *name);
        }
    }
}
