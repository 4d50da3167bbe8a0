//! The ways in which a caller proves who they are (rules 13, 29), and the form of one-time codes.

use std::fmt;

use crate::error::Violation;

/// The way in which a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// By the phone password of the contact.
    PhonePassword,
    /// By a one-time code that was mailed to the contact.
    CodeByEmail,
    /// By a one-time code that the portal showed to the contact.
    CodeFromPortal,
}

impl AuthenticationMethod {
    const ALL: [Self; 3] = [Self::PhonePassword, Self::CodeByEmail, Self::CodeFromPortal];

    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PhonePassword => "phone_password",
            Self::CodeByEmail => "code_by_email",
            Self::CodeFromPortal => "code_from_portal",
        }
    }

    /// Returns the method of this stored name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// The number of digits of a code.
const CODE_DIGITS: usize = 6;
const CODES: u64 = 1_000_000;
/// With blanks and hyphens.
const MAX_SPOKEN_CHARS: usize = 32;

/// A one-time code: 6 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimeCode(String);

/// Hides the code from log lines that print `{:?}`.
impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode(…)")
    }
}

impl OneTimeCode {
    /// Parses a code as a caller reads it out: blanks and hyphens are ignored.
    ///
    /// # Errors
    /// [`Violation`] if it has other characters, or not 6 digits.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        if text.is_empty() {
            return Err(Violation::Required);
        }
        let is_too_long = text.chars().nth(MAX_SPOKEN_CHARS).is_some();
        let digits: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect();
        let is_code = digits.len() == CODE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        if is_code && !is_too_long {
            Ok(Self(digits))
        } else {
            Err(Violation::NotACode)
        }
    }

    /// Creates the code of a secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let (first, _) = seed.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let number = u64::from_be_bytes(*first) % CODES;
        Self(format!("{number:0CODE_DIGITS$}"))
    }

    /// Returns the digits. They are a secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The HMAC of a one-time code, which is stored in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHash {
    /// The version of the service key.
    pub key_version: u32,
    /// HMAC-SHA256 of contact and code.
    pub mac: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_with_blanks_and_hyphens() {
        for text in [
            "012345",
            "012 345",
            " 01-23-45 ",
            "0 1 2 3 4 5",
            "012\u{A0}345",
        ] {
            assert_eq!(
                OneTimeCode::parse(text).unwrap().expose(),
                "012345",
                "{text}"
            );
        }
        let long = format!("012345{}", " ".repeat(30));
        for text in [
            "12345",
            "1234567",
            "12345a",
            "１２３４５６",
            "",
            long.as_str(),
        ] {
            assert!(OneTimeCode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_of_secrets_have_six_digits() {
        for first in 0..=u8::MAX {
            let code = OneTimeCode::from_seed(&[first; 32]);
            assert!(OneTimeCode::parse(code.expose()).is_ok());
        }
        assert_eq!(OneTimeCode::from_seed(&[0; 32]).expose(), "000000");
        assert_eq!(
            format!("{:?}", OneTimeCode::from_seed(&[0; 32])),
            "OneTimeCode(…)"
        );
    }
}
