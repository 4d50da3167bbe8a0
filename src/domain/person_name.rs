//! The parts of a person's name (rule 4).

use crate::{domain::text, error::Violation};

const MAX_TITLE_CHARS: usize = 40;
const MAX_GIVEN_NAME_CHARS: usize = 70;
const MAX_FAMILY_NAME_CHARS: usize = 80;

/// The salutation of a person in letters and e-mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Salutation {
    /// Not known.
    #[default]
    Unspecified,
    /// "Herr", "Mr".
    Herr,
    /// "Frau", "Ms".
    Frau,
    /// None of both: the name alone.
    Neutral,
}

/// The parts of a person's name. An empty text means that the part is not known.
///
/// Together the parts are no longer than a display name may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonName {
    /// The salutation.
    pub salutation: Salutation,
    /// The academic title, such as `Dr.`.
    pub title: String,
    /// The given name.
    pub given_name: String,
    /// The family name.
    pub family_name: String,
}

impl PersonName {
    /// Returns the display name that the parts compose: `Dr. Anna Schmidt`. Empty without parts.
    pub fn display_name(&self) -> String {
        let parts = [&self.title, &self.given_name, &self.family_name];
        let known = parts.into_iter().filter(|part| !part.is_empty());
        known.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// Parses an academic title: up to 40 characters on one line.
///
/// # Errors
/// [`Violation`] if it is too long or contains control characters.
pub fn parse_title(text: &str) -> Result<String, Violation> {
    text::optional_line(text, MAX_TITLE_CHARS)
}

/// Parses a given name: up to 70 characters on one line.
///
/// # Errors
/// [`Violation`] if it is too long or contains control characters.
pub fn parse_given_name(text: &str) -> Result<String, Violation> {
    text::optional_line(text, MAX_GIVEN_NAME_CHARS)
}

/// Parses a family name: up to 80 characters on one line.
///
/// # Errors
/// [`Violation`] if it is too long or contains control characters.
pub fn parse_family_name(text: &str) -> Result<String, Violation> {
    text::optional_line(text, MAX_FAMILY_NAME_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_name_is_composed_of_the_known_parts() {
        let name = |title: &str, given: &str, family: &str| {
            let name = PersonName {
                salutation: Salutation::Frau,
                title: parse_title(title).unwrap(),
                given_name: parse_given_name(given).unwrap(),
                family_name: parse_family_name(family).unwrap(),
            };
            name.display_name()
        };
        assert_eq!(name("Dr.", "Anna", " Schmidt "), "Dr. Anna Schmidt");
        assert_eq!(name("", "Anna", ""), "Anna");
        assert_eq!(name("", "", ""), "");
    }

    #[test]
    fn longest_parts_compose_a_valid_display_name() {
        let name = PersonName {
            title: parse_title(&"t".repeat(40)).unwrap(),
            given_name: parse_given_name(&"g".repeat(70)).unwrap(),
            family_name: parse_family_name(&"f".repeat(80)).unwrap(),
            ..PersonName::default()
        };
        assert!(crate::domain::contact::parse_display_name(&name.display_name()).is_ok());
        assert!(parse_family_name(&"f".repeat(81)).is_err());
    }
}
