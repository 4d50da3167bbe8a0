//! Restrictions of a contact's phone orders (rule 20).

use crate::{domain::text, error::Violation};

/// The maximum length of a note, in characters.
pub const MAX_NOTE_CHARS: usize = 1_000;
/// The maximum number of order types in each of the two lists.
pub const MAX_ORDER_TYPES: usize = 100;
const MAX_CODE_LENGTH: usize = 64;

/// The code of an order type, such as `server_reboot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTypeCode(String);

impl OrderTypeCode {
    /// Parses a code: 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'. Codes are case-sensitive.
    ///
    /// # Errors
    /// [`Violation`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let is_valid = (1..=MAX_CODE_LENGTH).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if is_valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Violation::NotAnOrderTypeCode {
                max: MAX_CODE_LENGTH,
            })
        }
    }

    /// Wraps a value that was stored from [`as_str`](Self::as_str), without validation.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The restrictions of the orders that a contact may place by phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// A note that an agent has to interpret; empty: none.
    pub note: String,
    /// The allowed order types; empty: all.
    pub allowed_order_types: Vec<OrderTypeCode>,
    /// The denied order types.
    pub denied_order_types: Vec<OrderTypeCode>,
}

/// Parses a note. Surrounding whitespace is removed, so that a blank note requires no decision of an
/// agent.
///
/// # Errors
/// [`Violation`] if the note has more than 1,000 characters or contains control characters.
pub fn parse_note(note: &str) -> Result<String, Violation> {
    text::free_text(note.trim(), MAX_NOTE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_type_code_is_a_short_ascii_word() {
        for valid in [
            "server_reboot",
            "SERVER-REBOOT",
            "domain.transfer",
            "a",
            "9",
        ] {
            assert_eq!(OrderTypeCode::parse(valid).unwrap().as_str(), valid);
        }
        let long = "a".repeat(65);
        for invalid in ["", " ", "a b", "ä", "a\0", "a\n", long.as_str()] {
            assert!(OrderTypeCode::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn rule_20_note_has_at_most_1000_characters() {
        assert_eq!(parse_note(" \n ").unwrap(), "");
        assert!(parse_note(&"ä".repeat(1_000)).is_ok());
        assert!(parse_note(&"ä".repeat(1_001)).is_err());
    }
}
