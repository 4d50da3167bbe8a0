//! Names: the parts that other systems store, and the display names that they compose.

use contact_service::domain::person_name::Salutation;
use csv::StringRecord;

use super::{columns::Column, header::Header};

/// The parts of a person's name; missing ones are empty.
#[derive(Clone, Copy, Default)]
pub(super) struct NameParts<'n> {
    pub(super) salutation: &'n str,
    pub(super) title: &'n str,
    pub(super) given: &'n str,
    /// Further given names.
    pub(super) additional: &'n str,
    pub(super) family: &'n str,
    /// Text after the name, such as `jun.`
    pub(super) suffix: &'n str,
}

/// The name of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamedPerson {
    /// From its own column, or composed of the parts.
    pub(super) display_name: String,
    pub(super) salutation: Salutation,
    pub(super) title: String,
    pub(super) given: String,
    pub(super) family: String,
}

/// Salutations of persons; others, such as `Firma`, are ignored.
const SALUTATIONS: &[(&str, &str)] = &[
    ("herr", "Herr"),
    ("herrn", "Herr"),
    ("hr", "Herr"),
    ("frau", "Frau"),
    ("fr", "Frau"),
    ("familie", "Familie"),
    ("mr", "Mr"),
    ("mrs", "Mrs"),
    ("ms", "Ms"),
    ("miss", "Miss"),
];

/// Returns the name of a row. A column `Name` may hold the name without its title, or the family name
/// only.
pub(super) fn name(header: &Header, record: &StringRecord) -> NamedPerson {
    let cell = |column| header.cell(record, column);
    let name = cell(Column::DisplayName);
    let [salutation, title, given, family] = [
        Column::Salutation,
        Column::Title,
        Column::GivenName,
        Column::FamilyName,
    ]
    .map(cell);
    let parts = NameParts {
        salutation: &salutation,
        title: &title,
        given: &given,
        family: &family,
        ..NameParts::default()
    };
    let mut family = parts.family;
    let display_name = if name.is_empty() {
        compose(&parts)
    } else if header.has_family_as_name() && (given.is_empty() || !holds(&name, &given)) {
        family = &name;
        compose(&NameParts { family, ..parts })
    } else if header.has_plain_name && !holds(&name, &title) {
        compose(&NameParts {
            title: &title,
            given: &name,
            ..NameParts::default()
        })
    } else {
        name.clone().into_owned()
    };
    let (in_title, title) = split_salutation(parts.title);
    let salutation = split_salutation(parts.salutation).0.or(in_title);
    NamedPerson {
        salutation: salutation.map_or(Salutation::Unspecified, of_person),
        title: title.to_owned(),
        given: parts.given.to_owned(),
        family: family.to_owned(),
        display_name,
    }
}

/// Returns the salutation that is written like this; that of a family is none of a person.
fn of_person(written: &str) -> Salutation {
    match written {
        "Herr" | "Mr" => Salutation::Herr,
        "Frau" | "Mrs" | "Ms" | "Miss" => Salutation::Frau,
        _ => Salutation::Unspecified,
    }
}

/// Returns true if all words of a part are in the name.
fn holds(name: &str, part: &str) -> bool {
    let mut words = part.split_whitespace();
    words.all(|word| name.split([' ', ',']).any(|known| known == word))
}

/// Composes a display name: `Dr. Anna Groß`, or `Frau Dr. Groß` without a given name.
pub(super) fn compose(parts: &NameParts<'_>) -> String {
    // vCards have no property for the salutation: some programs write it before the title.
    let (found, title) = split_salutation(parts.title);
    let salutation = split_salutation(parts.salutation).0.or(found);
    let is_needed = parts.given.is_empty() && !parts.family.is_empty();
    let salutation = salutation.filter(|_| is_needed).unwrap_or_default();
    let in_order = [
        salutation,
        title,
        parts.given,
        parts.additional,
        parts.family,
        parts.suffix,
    ];
    let given: Vec<_> = in_order
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.given.is_empty() && parts.family.is_empty() && parts.additional.is_empty() {
        return String::new();
    }
    given.join(" ")
}

/// Splits a text into a salutation at its beginning and the rest.
fn split_salutation(text: &str) -> (Option<&'static str>, &str) {
    let text = text.trim();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let first = first.trim_end_matches('.').to_lowercase();
    let known = SALUTATIONS.iter().find(|(name, _)| *name == first);
    known.map_or((None, text), |(_, written)| (Some(*written), rest.trim()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Name,Vorname", "Schmidt,Anna", "Anna Schmidt")]
    #[case("Vorname,Name,Titel", "Anna,Schmidt,Dr.", "Dr. Anna Schmidt")]
    #[case("Anrede,Vorname,Name", "Frau,,Schmidt", "Frau Schmidt")]
    #[case("Name,Vorname", "Anna Schmidt,Anna", "Anna Schmidt")]
    #[case("Name,Vorname", ",Anna", "Anna")]
    #[case("Name,Vorname,Nachname", "Anna Schmidt,A,S", "Anna Schmidt")]
    #[case("Anrede,Titel,Name", "Frau,Dr.,Anna Schmidt", "Dr. Anna Schmidt")]
    #[case("Titel,Name", "Dr.,Dr. Anna Schmidt", "Dr. Anna Schmidt")]
    #[case("Titel,Name", ",Anna Schmidt", "Anna Schmidt")]
    #[case("Titel,Vorname,Anzeigename", "Dr.,Anna,Schmidt", "Schmidt")]
    #[case("Titel,Vorname,display_name", "Dr.,Anna,Schmidt", "Schmidt")]
    #[case("Titel,Vorname,Full Name", "Dr.,Anna,Schmidt", "Schmidt")]
    fn column_name_complements_the_other_columns(
        #[case] names: &str,
        #[case] values: &str,
        #[case] name: &str,
    ) {
        let of = |text: &str| {
            let text = format!("Kundennummer,Typ,{text}");
            text.split(',').collect::<StringRecord>()
        };
        let header = Header::read(&of(names), &[]).unwrap();
        assert_eq!(super::name(&header, &of(values)).display_name, name);
    }

    #[rstest]
    #[case("Name,Vorname,Anrede", "Schmidt,Anna,Frau", (Salutation::Frau, "", "Anna", "Schmidt"))]
    #[case("Anrede,Titel,Vorname,Nachname", "Herrn,Dr.,Bernd,Beck", (Salutation::Herr, "Dr.", "Bernd", "Beck"))]
    #[case("Titel,Nachname,Vorname", "Frau Prof.,Beck,", (Salutation::Frau, "Prof.", "", "Beck"))]
    #[case("Anrede,Vorname,Nachname", "Firma,,Beck GmbH", (Salutation::Unspecified, "", "", "Beck GmbH"))]
    #[case("Anrede,Vorname,Nachname", "Familie,,Beck", (Salutation::Unspecified, "", "", "Beck"))]
    #[case("display_name,Titel", "Anna Schmidt,Dr.", (Salutation::Unspecified, "Dr.", "", ""))]
    fn parts_are_kept(
        #[case] names: &str,
        #[case] values: &str,
        #[case] parts: (Salutation, &str, &str, &str),
    ) {
        let of = |text: &str| {
            let text = format!("Kundennummer,Typ,{text}");
            text.split(',').collect::<StringRecord>()
        };
        let header = Header::read(&of(names), &[]).unwrap();
        let name = super::name(&header, &of(values));
        let found = (
            name.salutation,
            name.title.as_str(),
            name.given.as_str(),
            name.family.as_str(),
        );
        assert_eq!(found, parts);
    }

    #[test]
    fn mapped_display_name_is_complete() {
        let of = |text: &str| text.split(',').collect::<StringRecord>();
        let mapping = "Name=display_name".parse().unwrap();
        let header = Header::read(&of("Kundennummer,Typ,Name,Vorname"), &[mapping]).unwrap();
        let name = super::name(&header, &of("1,x,Schmidt,Anna"));
        assert_eq!(name.display_name, "Schmidt");
    }

    #[rstest]
    #[case(["Herr", "Dr.", "Hans", "Müller"], "Dr. Hans Müller")]
    #[case(["Frau", "Dr.", "", "Müller"], "Frau Dr. Müller")]
    #[case(["Herrn", "", "", "Müller"], "Herr Müller")]
    #[case(["", "Herr Dr.", "", "Müller"], "Herr Dr. Müller")]
    #[case(["", "Herr", "Hans", "Müller"], "Hans Müller")]
    #[case(["Firma", "", "", "Müller GmbH"], "Müller GmbH")]
    #[case(["Mr.", "", "Hans", ""], "Hans")]
    #[case(["Herr", "Dr.", "", ""], "")]
    fn display_name_is_composed_of_its_parts(#[case] parts: [&str; 4], #[case] name: &str) {
        let [salutation, title, given, family] = parts;
        let parts = NameParts {
            salutation,
            title,
            given,
            family,
            ..NameParts::default()
        };
        assert_eq!(compose(&parts), name);
    }
}
