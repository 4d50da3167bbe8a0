//! The columns of a file, by their English and German names.

use std::ops::RangeInclusive;

use csv::StringRecord;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    CustomerNumber,
    Types,
    DisplayName,
    Locale,
    Email,
    PhoneNumbers,
    InvoiceEmailEnabled,
    RestrictionsNote,
    AllowedOrderTypes,
    DeniedOrderTypes,
    ExternalId,
    /// Written with refused rows, and not looked at.
    Line,
    /// As well.
    Reason,
}

impl Column {
    /// All that say something of a contact, in the order of the documentation.
    pub(super) const OF_CONTACTS: [Self; 11] = [
        Self::CustomerNumber,
        Self::Types,
        Self::DisplayName,
        Self::Locale,
        Self::Email,
        Self::PhoneNumbers,
        Self::InvoiceEmailEnabled,
        Self::RestrictionsNote,
        Self::AllowedOrderTypes,
        Self::DeniedOrderTypes,
        Self::ExternalId,
    ];
    const REQUIRED: [Self; 3] = [Self::CustomerNumber, Self::Types, Self::DisplayName];

    /// The name that reasons use.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CustomerNumber => "customer_number",
            Self::Types => "types",
            Self::DisplayName => "display_name",
            Self::Locale => "locale",
            Self::Email => "email",
            Self::PhoneNumbers => "phone_numbers",
            Self::InvoiceEmailEnabled => "invoice_email_enabled",
            Self::RestrictionsNote => "restrictions_note",
            Self::AllowedOrderTypes => "allowed_order_types",
            Self::DeniedOrderTypes => "denied_order_types",
            Self::ExternalId => "external_id",
            Self::Line => "line",
            Self::Reason => "reason",
        }
    }

    /// Other names, without what [`plain`] leaves out.
    const fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::CustomerNumber => &["kundennummer", "kundennr", "kdnr", "customer"],
            Self::Types => &["type", "typ", "typen", "contacttypes", "kontakttyp"],
            Self::DisplayName => &["name", "ansprechpartner", "anzeigename"],
            Self::Locale => &["language", "sprache"],
            Self::Email => &["emailaddress", "emailadresse", "mail", "mailadresse"],
            Self::PhoneNumbers => &[
                "phonenumber",
                "phone",
                "phones",
                "telefon",
                "telefonnummer",
                "telefonnummern",
                "tel",
                "rufnummer",
                "rufnummern",
            ],
            Self::InvoiceEmailEnabled => &[
                "invoiceemail",
                "rechnungperemail",
                "rechnungsemail",
                "emailrechnung",
            ],
            Self::RestrictionsNote => &["restrictions", "einschränkungen", "einschraenkungen"],
            Self::AllowedOrderTypes => &["erlaubteauftragsarten"],
            Self::DeniedOrderTypes => &["gesperrteauftragsarten"],
            Self::ExternalId => &["externeid", "fremdid"],
            Self::Line | Self::Reason => &[],
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let name = plain(name);
        let all = Self::OF_CONTACTS.into_iter();
        all.chain([Self::Line, Self::Reason]).find(|column| {
            plain(column.name()) == name || column.other_names().contains(&name.as_str())
        })
    }
}

/// A name without capitals, blanks and punctuation.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Where in a record each column stands.
pub(super) struct Header {
    /// `None` where the first line has no name: spreadsheets write separators for columns that were
    /// used once.
    columns: Vec<Option<Column>>,
    /// As the file writes it.
    pub(super) record: StringRecord,
}

impl Header {
    /// # Errors
    /// A line that says which column is missing, unknown or there twice.
    pub(super) fn read(record: StringRecord) -> Result<Self, String> {
        let known: Vec<_> = record.iter().map(Column::parse).collect();
        let missing: Vec<_> = Column::REQUIRED
            .into_iter()
            .filter(|column| !known.contains(&Some(*column)))
            .map(Column::name)
            .collect();
        // A first line that is no header holds values, which are not repeated.
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!("the first line lacks the column(s) {missing}"));
        }
        let unknown: Vec<_> = record
            .iter()
            .zip(&known)
            .filter(|(name, column)| column.is_none() && !name.trim().is_empty())
            .map(|(name, _)| format!("{name:?}"))
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return Err(format!("the first line has unknown column(s): {unknown}"));
        }
        for (index, column) in known.iter().enumerate() {
            if let Some(column) = column
                && known
                    .iter()
                    .skip(index + 1)
                    .flatten()
                    .any(|other| other == column)
            {
                let name = column.name();
                return Err(format!("the first line has the column {name} twice"));
            }
        }
        let columns = known;
        Ok(Self { columns, record })
    }

    /// All columns of contacts by their own names.
    pub(super) fn of_contacts() -> Self {
        Self {
            columns: Column::OF_CONTACTS.map(Some).to_vec(),
            record: Column::OF_CONTACTS.map(Column::name).to_vec().into(),
        }
    }

    /// How many fields of a first line name a column.
    pub(super) fn count_known(record: &StringRecord) -> usize {
        record.iter().filter_map(Column::parse).count()
    }

    /// The columns of the file in their order; those of refused rows among them.
    pub(super) fn columns(&self) -> &[Option<Column>] {
        &self.columns
    }

    /// How many fields a row may have: Excel leaves out separators at the end of rows that have
    /// nothing in columns without a name.
    pub(super) fn widths(&self) -> RangeInclusive<usize> {
        let last = self.columns.iter().rposition(Option::is_some);
        last.map_or(0, |last| last + 1)..=self.columns.len()
    }

    /// The place of a value that belongs to no column, counted from 1.
    pub(super) fn nameless_value(&self, record: &StringRecord) -> Option<usize> {
        let mut fields = self.columns.iter().zip(record);
        let place = fields.position(|(column, field)| column.is_none() && !field.trim().is_empty());
        place.map(|place| place + 1)
    }

    /// What stands in a column, without the blanks around it; nothing where there is no such one.
    pub(super) fn cell<'r>(&self, record: &'r StringRecord, column: Column) -> &'r str {
        let index = self.columns.iter().position(|known| *known == Some(column));
        let cell = index.and_then(|index| record.get(index));
        cell.unwrap_or_default().trim()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn header(names: &str) -> Result<Header, String> {
        Header::read(names.split(',').collect::<Vec<_>>().into())
    }

    #[test]
    fn names_are_english_or_german_in_any_order_and_writing() {
        let header = header("Sprache,E-Mail-Adresse,NAME,Kunden-Nr.,Typ,line,reason").unwrap();
        let record = vec!["de", " anna@example.com ", "Anna", "K-1", "Technik"].into();
        for (column, cell) in [
            (Column::CustomerNumber, "K-1"),
            (Column::Types, "Technik"),
            (Column::DisplayName, "Anna"),
            (Column::Email, "anna@example.com"),
            (Column::PhoneNumbers, ""),
            (Column::Reason, ""),
        ] {
            assert_eq!(header.cell(&record, column), cell, "{column:?}");
        }
    }

    #[test]
    fn every_name_means_one_column() {
        for column in Column::OF_CONTACTS {
            assert_eq!(Column::parse(column.name()), Some(column));
            for name in column.other_names() {
                assert_eq!(plain(name), *name);
                assert_eq!(Column::parse(name), Some(column));
            }
        }
    }

    #[rstest]
    #[case::no_header(
        "K-1,STANDARD,Anna",
        "lacks the column(s) customer_number, types, display_name"
    )]
    #[case::a_missing_one("customer_number,types,email", "lacks the column(s) display_name")]
    #[case::unknown_ones("Typ,Name,Kundennummer,Fax,Ort", "unknown column(s): \"Fax\", \"Ort\"")]
    #[case::one_twice("Typ,Name,Kundennummer,name", "has the column display_name twice")]
    fn a_first_line_that_does_not_fit_is_refused(#[case] names: &str, #[case] why: &str) {
        let refused = header(names).err().unwrap();
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("Anna"), "{refused}");
    }
}
