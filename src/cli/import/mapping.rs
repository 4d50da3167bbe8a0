//! `--map 'Vorname+Nachname=display_name'`: maps columns of a file to columns of the import.

use std::str::FromStr;

use csv::StringRecord;

use super::columns::{Column, plain};

/// The target of ignored columns.
const IGNORED: &str = "-";
/// The source name for all unknown columns.
const ALL_OTHERS: &str = "*";
const FORM: &str = "must be COLUMN=NAME, COLUMN+COLUMN=NAME, COLUMN=- or *=-, such as Vorname+Nachname=display_name";

/// Maps columns of a file to a column of the import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Names of columns, separated by `+`.
    names: String,
    /// `None`: the columns are ignored.
    target: Option<Column>,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A column name of the file may contain an equals sign, a target does not.
        let (names, target) = text.rsplit_once('=').ok_or(FORM)?;
        let (names, target) = (names.trim().to_owned(), target.trim());
        let target = if target == IGNORED {
            None
        } else {
            Some(target_column(target)?)
        };
        if names.is_empty() || (names == ALL_OTHERS && target.is_some()) {
            return Err(FORM.to_owned());
        }
        Ok(Self { names, target })
    }
}

fn target_column(name: &str) -> Result<Column, String> {
    let column = Column::parse(name);
    let column = column.filter(|column| !matches!(column, Column::Line | Column::Reason));
    column.ok_or_else(|| {
        let known = Column::ALL.map(Column::name).join(", ");
        format!("{name:?} must be - or one of {known}")
    })
}

/// The fields of a row by column, from `--map` and the names of the header.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// The fields of each column, in the order in which their values are joined.
    pub(super) fields: Vec<(Column, Vec<usize>)>,
    /// The display name is a column `Name`, which may hold a part of the name only.
    pub(super) has_plain_name: bool,
    /// Names that are neither known nor mapped.
    pub(super) unknown: Vec<String>,
    /// An error in the header or in the mappings.
    pub(super) conflict: Option<String>,
}

impl Assignment {
    /// Assigns the columns of a header. Mappings take precedence over names.
    pub(super) fn of(names: &StringRecord, mappings: &[Mapping]) -> Self {
        let mut assignment = Self::default();
        let mut used = vec![false; names.len()];
        for mapping in mappings {
            if mapping.names == ALL_OTHERS {
                continue;
            }
            match mapping.fields(names) {
                Ok(fields) => {
                    for field in &fields {
                        used.get_mut(*field).into_iter().for_each(|is| *is = true);
                    }
                    if let Some(column) = mapping.target {
                        assignment.map(column, fields);
                    }
                }
                Err(conflict) => assignment.note(conflict),
            }
        }
        let ignores_others = mappings.iter().any(|mapping| mapping.names == ALL_OTHERS);
        for (field, (name, is_used)) in names.iter().zip(used).enumerate() {
            if is_used || name.trim().is_empty() {
                continue;
            }
            match Column::parse(name) {
                Some(column) => assignment.name(column, field, names),
                None if ignores_others => {}
                None => assignment.unknown.push(name.to_owned()),
            }
        }
        assignment
    }

    /// Returns true if the column has fields.
    pub(super) fn has(&self, column: Column) -> bool {
        self.fields.iter().any(|(known, _)| *known == column)
    }

    fn map(&mut self, column: Column, fields: Vec<usize>) {
        if self.has(column) {
            let name = column.name();
            self.note(format!("--map: {name} is the target of two mappings"));
        } else {
            self.fields.push((column, fields));
        }
    }

    fn name(&mut self, column: Column, field: usize, names: &StringRecord) {
        let name = names.get(field).unwrap_or_default();
        let Some((_, fields)) = self.fields.iter_mut().find(|(known, _)| *known == column) else {
            self.fields.push((column, vec![field]));
            self.has_plain_name |= column == Column::DisplayName && plain(name) == "name";
            return;
        };
        let is_read = !matches!(column, Column::Line | Column::Reason);
        let other = fields.first().and_then(|first| names.get(*first));
        let other = other.unwrap_or_default();
        let is_same_name = plain(other) == plain(name);
        // For example a landline and a mobile number.
        if column == Column::PhoneNumbers && !is_same_name {
            fields.push(field);
        } else if is_read {
            let (this, column) = (field + 1, column.name());
            self.note(format!(
                "the header has the column {column} twice, as {other:?} and as {name:?} in column \
                 {this}: ignore or join one with --map"
            ));
        }
    }

    fn note(&mut self, conflict: String) {
        self.conflict.get_or_insert(conflict);
    }
}

impl Mapping {
    /// Returns the fields of the mapped columns.
    ///
    /// # Errors
    /// The first name that the header does not contain exactly once.
    fn fields(&self, names: &StringRecord) -> Result<Vec<usize>, String> {
        if let Ok(field) = find(names, &self.names) {
            return Ok(vec![field]);
        }
        let each = self.names.split('+');
        let fields = each.map(|name| match find(names, name.trim()) {
            Ok(field) => Ok(field),
            Err(0) => Err(format!("--map: the header has no column {name:?}")),
            Err(_) => Err(format!("--map: the header has the column {name:?} twice")),
        });
        fields.collect()
    }
}

/// Returns the index of a name, or the number of its occurrences if that is not 1.
fn find(names: &StringRecord, name: &str) -> Result<usize, usize> {
    let exact: Vec<_> = indexes(names, |known| known == name);
    let found = if exact.is_empty() && !plain(name).is_empty() {
        indexes(names, |known| plain(known) == plain(name))
    } else {
        exact
    };
    match found.as_slice() {
        [index] => Ok(*index),
        indexes => Err(indexes.len()),
    }
}

fn indexes(names: &StringRecord, is_it: impl Fn(&str) -> bool) -> Vec<usize> {
    let names = names.iter().enumerate();
    names
        .filter(|(_, name)| is_it(name.trim()))
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn assignment(names: &str, mappings: &[&str]) -> Assignment {
        let mappings: Vec<_> = mappings.iter().map(|text| text.parse().unwrap()).collect();
        let names: StringRecord = names.split(',').collect::<Vec<_>>().into();
        Assignment::of(&names, &mappings)
    }

    #[test]
    fn columns_are_joined_renamed_and_ignored() {
        let found = assignment(
            "Konto,Nachname,Vorname,Fax,A+B=C,x",
            &[
                "Vorname + nachname=display_name",
                "Konto=Kundennummer",
                "Fax=-",
                "A+B=C=email",
                "*=-",
            ],
        );
        assert_eq!(found.conflict, None);
        assert_eq!(found.unknown, [""; 0]);
        let expected = [
            (Column::DisplayName, vec![2, 1]),
            (Column::CustomerNumber, vec![0]),
            (Column::Email, vec![4]),
        ];
        assert_eq!(found.fields, expected);
    }

    #[test]
    fn phone_numbers_of_several_columns_are_merged() {
        let found = assignment("Telefon,Name,Mobil", &[]);
        assert_eq!(found.fields[0], (Column::PhoneNumbers, vec![0, 2]));
    }

    #[rstest]
    #[case("Name,Typ", "Fax=-", "--map: the header has no column \"Fax\"")]
    #[case(
        "Name,Fax,Fax",
        "Fax=email",
        "--map: the header has the column \"Fax\" twice"
    )]
    #[case(
        "Name,Firma",
        "Firma=Name",
        "column display_name twice, as \"Firma\" and as \"Name\""
    )]
    #[case("Mail,Telefon,Telefon", "Mail=-", "column phone_numbers twice")]
    fn conflict_is_reported(#[case] names: &str, #[case] mapping: &str, #[case] why: &str) {
        let conflict = assignment(names, &[mapping]).conflict.unwrap();
        assert!(conflict.contains(why), "{conflict}");
    }

    #[rstest]
    #[case("Vorname", "must be COLUMN=NAME")]
    #[case("=email", "must be COLUMN=NAME")]
    #[case("*=email", "must be COLUMN=NAME")]
    #[case("Vorname=line", "\"line\" must be - or one of customer_number, types")]
    #[case("Vorname=zq7k", "\"zq7k\" must be - or one of customer_number, types")]
    fn malformed_mapping_is_rejected(#[case] text: &str, #[case] why: &str) {
        let rejected = text.parse::<Mapping>().unwrap_err();
        assert!(rejected.contains(why), "{rejected}");
    }
}
