//! The provider as customers see it on the confirmation page and in e-mails: name, contact line,
//! logo, accent color, and the time zone of its times.

mod color;
mod logo;

use chrono_tz::Tz;

pub use self::{color::Color, logo::Logo};
use crate::error::Invalid;

const MAX_NAME_CHARS: usize = 60;
const MAX_CONTACT_CHARS: usize = 200;
/// The zone of times in e-mails, whose readers' zones are unknown.
const DEFAULT_TIME_ZONE: Tz = Tz::Europe__Berlin;

/// The appearance of the provider.
#[derive(Clone, Debug)]
pub struct Brand {
    /// The name, a single line.
    pub name: BrandName,
    /// The ways to reach the provider, a single line; `None` omits it.
    pub contact: Option<BrandContact>,
    /// The accent color.
    pub color: Color,
    /// The logo; `None` shows the name instead.
    pub logo: Option<Logo>,
    /// The zone of times in e-mails.
    pub time_zone: Tz,
}

impl Brand {
    /// Creates a brand with the default color and zone, and without a logo.
    pub fn new(name: BrandName) -> Self {
        Self {
            name,
            contact: None,
            color: Color::default(),
            logo: None,
            time_zone: DEFAULT_TIME_ZONE,
        }
    }
}

/// The name of the provider: a line of up to 60 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrandName(String);

impl BrandName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`Invalid`] for an empty or long text, and for one with line ends, control characters or
    /// characters that change the direction of the text around them.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        line(text, MAX_NAME_CHARS).map(Self)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ways to reach the provider: a line of up to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrandContact(String);

impl BrandContact {
    /// Parses a line such as `0211 1234-0, kontakt@example.com`.
    ///
    /// # Errors
    /// Those of [`BrandName::parse`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        line(text, MAX_CONTACT_CHARS).map(Self)
    }

    /// Returns the line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses the name of a zone in the IANA database, such as `Europe/Berlin`.
///
/// # Errors
/// [`Invalid`] for any other text.
pub fn parse_time_zone(text: &str) -> Result<Tz, Invalid> {
    let form = "must be a time zone of the IANA database, such as Europe/Berlin";
    text.trim().parse().map_err(|_| Invalid::new(form))
}

fn line(text: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > max_chars {
        let why = format!("must be a line of 1 to {max_chars} characters");
        return Err(Invalid::new(why));
    }
    if text.chars().any(breaks_a_line) {
        let why = "must not contain line ends, control characters or marks of text direction";
        return Err(Invalid::new(why));
    }
    Ok(text.to_owned())
}

/// Returns true for characters that end a line, or reorder the text around them.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_umlauts_quotes_and_emoji() {
        let longest = "ü".repeat(MAX_NAME_CHARS);
        for name in [
            "Müller \"Hosting\" & Söhne",
            "Wolke 👩‍💻",
            "株式会社",
            &longest,
        ] {
            assert_eq!(
                BrandName::parse(&format!(" {name} ")).unwrap().as_str(),
                name
            );
        }
    }

    #[test]
    fn names_that_are_no_line_are_rejected() {
        let long = "x".repeat(MAX_NAME_CHARS + 1);
        for name in [
            "",
            "  ",
            &long,
            "a\r\nBcc: evil@evil.example",
            "a\nb",
            "a\0b",
            "a\tb",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{85}b",
        ] {
            assert!(BrandName::parse(name).is_err(), "{name:?}");
        }
        assert!(BrandContact::parse(&"x".repeat(MAX_CONTACT_CHARS)).is_ok());
        assert!(BrandContact::parse(&"x".repeat(MAX_CONTACT_CHARS + 1)).is_err());
    }

    #[test]
    fn time_zones_are_those_of_the_iana_database() {
        for name in ["Europe/Berlin", " Europe/Zurich ", "America/New_York"] {
            assert_eq!(parse_time_zone(name).unwrap().name(), name.trim());
        }
        for name in ["", "Berlin", "CEST", "UTC+1", "+01:00", "Europe/Bonn"] {
            assert!(parse_time_zone(name).is_err(), "{name:?}");
        }
    }
}
