//! The header row of a file, which names its columns.

use std::borrow::Cow;

use csv::StringRecord;

use super::{
    columns::Column,
    encoding::UNREADABLE,
    mapping::{Assignment, Mapping},
};

/// Required columns; one of each list must be present.
const REQUIRED: [&[Column]; 3] = [
    &[Column::CustomerNumber],
    &[Column::Types],
    &[Column::DisplayName, Column::FamilyName, Column::GivenName],
];

const UNCLEAR_NAME: &str = "the columns \"Name\" and family_name: say which name the first one is \
    with --map Name=given_name or --map Name=display_name";

/// The position of each column in a row.
#[derive(Debug)]
pub(super) struct Header {
    fields: Vec<(Column, Vec<usize>)>,
    /// The display name is a column `Name` without a mapping.
    pub(super) has_plain_name: bool,
    /// The number of fields of a row.
    width: usize,
    /// Fields without a name: spreadsheets write separators for columns that were used before.
    nameless: Vec<usize>,
    /// The first columns are the line and reason of rejected rows.
    pub(super) has_reasons: bool,
}

impl Header {
    /// Parses the names of a header.
    ///
    /// # Errors
    /// The columns that are missing, unknown or duplicated.
    pub(super) fn read(names: &StringRecord, mappings: &[Mapping]) -> Result<Self, String> {
        let assignment = Assignment::of(names, mappings);
        let missing: Vec<_> = missing(&assignment).collect();
        // A line that is no header may hold personal data, which the message must not repeat.
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!("lacks the column(s) {missing}"));
        }
        if let Some(conflict) = assignment.conflict {
            return Err(conflict);
        }
        if !assignment.unknown.is_empty() {
            let unknown: Vec<_> = assignment
                .unknown
                .iter()
                .map(|n| format!("{n:?}"))
                .collect();
            let unknown = unknown.join(", ");
            return Err(format!(
                "unknown column(s): {unknown}; rename or ignore them with --map, all with --map '*=-'"
            ));
        }
        let has = |column| assignment.has(column);
        if assignment.has_plain_name && has(Column::FamilyName) && !has(Column::GivenName) {
            return Err(UNCLEAR_NAME.to_owned());
        }
        let is_at = |column, index| {
            let mut found = assignment.fields.iter();
            found.any(|(known, fields)| *known == column && fields.contains(&index))
        };
        let has_reasons = is_at(Column::Line, 0) && is_at(Column::Reason, 1);
        let nameless = |(index, name): (usize, &str)| {
            let is_read = assignment.fields.iter().any(|(_, f)| f.contains(&index));
            (name.trim().is_empty() && !is_read).then_some(index)
        };
        Ok(Self {
            width: names.len(),
            nameless: names.iter().enumerate().filter_map(nameless).collect(),
            fields: assignment.fields,
            has_plain_name: assignment.has_plain_name,
            has_reasons,
        })
    }

    /// Returns a header with all columns, for vCards.
    pub(super) fn with_all_columns() -> Self {
        let fields = Column::ALL.into_iter().enumerate();
        Self {
            fields: fields
                .map(|(index, column)| (column, vec![index]))
                .collect(),
            width: Column::ALL.len(),
            nameless: Vec::new(),
            has_plain_name: false,
            has_reasons: false,
        }
    }

    /// Accepts a header with all required columns, even if it is invalid otherwise.
    ///
    /// # Errors
    /// The number of known columns.
    pub(super) fn recognize(names: &StringRecord, mappings: &[Mapping]) -> Result<(), usize> {
        let assignment = Assignment::of(names, mappings);
        if missing(&assignment).next().is_none() {
            Ok(())
        } else {
            Err(Self::count_known(names, mappings))
        }
    }

    /// Returns the number of names that are known columns.
    pub(super) fn count_known(names: &StringRecord, mappings: &[Mapping]) -> usize {
        let assignment = Assignment::of(names, mappings);
        assignment
            .fields
            .iter()
            .map(|(_, fields)| fields.len())
            .sum()
    }

    /// The number of fields of a row; missing ones are empty.
    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of the first field with a value and without a column name, from 1.
    pub(super) fn nameless_value(&self, record: &StringRecord) -> Option<usize> {
        let has_value = |index: &usize| record.get(*index).is_some_and(|f| !f.trim().is_empty());
        let index = self.nameless.iter().copied().find(has_value);
        index.map(|index| index + 1)
    }

    /// Returns true if a column `Name` holds family names, because another one holds given names.
    pub(super) fn has_family_as_name(&self) -> bool {
        let has = |column| self.fields.iter().any(|(known, _)| *known == column);
        self.has_plain_name && has(Column::GivenName) && !has(Column::FamilyName)
    }

    /// Returns true if the value of any column cannot be decoded.
    pub(super) fn has_unreadable(&self, record: &StringRecord) -> bool {
        let mut columns = Column::ALL.into_iter();
        columns.any(|column| self.cell(record, column).contains(UNREADABLE))
    }

    /// Returns the trimmed value of a column; empty if the file lacks it. The values of joined columns
    /// are separated by a blank, those of lists by a line break.
    pub(super) fn cell<'r>(&self, record: &'r StringRecord, column: Column) -> Cow<'r, str> {
        let found = self.fields.iter().find(|(known, _)| *known == column);
        let fields = found.map_or(&[][..], |(_, fields)| fields);
        let mut values = fields
            .iter()
            .filter_map(|field| record.get(*field))
            .map(|value| without_formula(value.trim()))
            .filter(|value| !value.is_empty());
        let first = values.next().unwrap_or_default();
        let rest: Vec<_> = values.collect();
        if rest.is_empty() {
            return first.into();
        }
        let separator = if column.is_list() { "\n" } else { " " };
        let all: Vec<_> = [first].into_iter().chain(rest).collect();
        all.join(separator).into()
    }
}

/// Returns the names of missing required columns.
fn missing(assignment: &Assignment) -> impl Iterator<Item = &'static str> {
    let needed = REQUIRED.into_iter();
    needed
        .filter(|columns| !columns.iter().any(|column| assignment.has(*column)))
        .filter_map(|columns| columns.first())
        .map(|column| column.name())
}

/// Removes the formula of `="0211"`, with which exports make spreadsheets keep the zero.
fn without_formula(value: &str) -> &str {
    let inner = value.strip_prefix("=\"").and_then(|v| v.strip_suffix('"'));
    inner.map_or(value, str::trim)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn header(names: &str, mappings: &[&str]) -> Result<Header, String> {
        let mappings: Vec<_> = mappings.iter().map(|text| text.parse().unwrap()).collect();
        Header::read(&names.split(',').collect::<Vec<_>>().into(), &mappings)
    }

    #[test]
    fn names_may_be_english_or_german_in_any_order() {
        let names = "Sprache,E-Mail-Adresse,NAME,Kunden-Nr.,Typ,line,reason";
        let header = header(names, &[]).unwrap();
        let record = vec!["de", " anna@example.com ", "Anna", "=\"0211\"", "Technik"].into();
        for (column, cell) in [
            (Column::CustomerNumber, "0211"),
            (Column::Types, "Technik"),
            (Column::DisplayName, "Anna"),
            (Column::Email, "anna@example.com"),
            (Column::PhoneNumbers, ""),
            (Column::Reason, ""),
        ] {
            assert_eq!(header.cell(&record, column), cell, "{column:?}");
        }
        assert!(!header.has_reasons);
    }

    #[test]
    fn joined_columns_are_one_text_and_joined_lists_are_not() {
        let names = "Nr,Nachname,Titel,Vorname,Typ,Telefon,Mobil";
        let mappings = ["Titel+Vorname+Nachname=display_name", "Nr=customer_number"];
        let header = header(names, &mappings).unwrap();
        let record = vec!["1", "Groß", " ", "Anna ", "x", "0721 1", "0151 2"].into();
        assert_eq!(header.cell(&record, Column::DisplayName), "Anna Groß");
        assert_eq!(header.cell(&record, Column::PhoneNumbers), "0721 1\n0151 2");
    }

    #[rstest]
    #[case::no_header(
        "K-1,STANDARD,Anna",
        "lacks the column(s) customer_number, types, display_name"
    )]
    #[case::a_missing_one("customer_number,types,email", "lacks the column(s) display_name")]
    #[case::unknown_ones("Typ,Name,Kundennummer,Fax,Ort", "unknown column(s): \"Fax\", \"Ort\"")]
    #[case::unclear_name("Typ,Name,Kundennummer,Nachname", "--map Name=given_name")]
    #[case::one_twice(
        "Typ,Name,Kundennummer,name",
        "the column display_name twice, as \"Name\" and as \"name\" in column 4"
    )]
    fn unsuitable_header_is_rejected(#[case] names: &str, #[case] why: &str) {
        let rejected = header(names, &[]).unwrap_err();
        assert!(rejected.contains(why), "{rejected}");
        assert!(!rejected.contains("Anna"), "{rejected}");
    }

    #[test]
    fn parts_of_a_name_replace_the_display_name() {
        for names in ["Kundennummer,Typ,Nachname", "Client ID,Role,First Name"] {
            assert!(header(names, &[]).is_ok(), "{names}");
        }
    }
}
