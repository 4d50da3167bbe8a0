//! Restrictions of a contact on phone orders, as data (rule 20).

use crate::{domain::text, error::Invalid};

/// The longest free text, in characters.
pub const MAX_NOTE_CHARS: usize = 1_000;
/// The most order types in one of the two lists.
pub const MAX_ORDER_TYPES: usize = 100;
const MAX_CODE_LENGTH: usize = 64;

/// The code of an order type, such as `server_reboot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTypeCode(String);

impl OrderTypeCode {
    /// Reads 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=MAX_CODE_LENGTH).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(format!(
                "must have 1 to {MAX_CODE_LENGTH} of A-Z, a-z, 0-9, '.', '_' and '-'"
            )))
        }
    }

    /// A value that storage once took from `as_str`.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The code as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a contact may not order by phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// A free text that no program can judge; empty: none.
    pub note: String,
    /// The only order types allowed; empty: all.
    pub allowed_order_types: Vec<OrderTypeCode>,
    /// The order types denied.
    pub denied_order_types: Vec<OrderTypeCode>,
}

/// Reads the free text of restrictions; blanks around it go, so that blanks alone
/// are no note that an agent would have to judge.
///
/// # Errors
/// [`Invalid`] beyond 1,000 characters or with control characters.
pub fn parse_note(note: &str) -> Result<String, Invalid> {
    text::free_text(note.trim(), MAX_NOTE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short_ascii_words() {
        for good in [
            "server_reboot",
            "SERVER-REBOOT",
            "domain.transfer",
            "a",
            "9",
        ] {
            assert_eq!(OrderTypeCode::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", " ", "a b", "ä", "a\0", "a\n", long.as_str()] {
            assert!(OrderTypeCode::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rule_20_a_note_has_at_most_1000_characters() {
        assert_eq!(parse_note(" \n ").unwrap(), "");
        assert!(parse_note(&"ä".repeat(1_000)).is_ok());
        assert!(parse_note(&"ä".repeat(1_001)).is_err());
    }
}
