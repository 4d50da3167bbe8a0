//! The token of a confirmation link.

use std::fmt;

use sha2::{Digest, Sha256};

use super::recovery::{self, SECRET_BYTES};
use crate::domain::ids::CustomerNumber;

/// SHA-256 of the random bits of a token.
pub type TokenHash = [u8; 32];

/// The fragment of a mailed link: the customer number, so that the lookup stays within one
/// customer, a dot, and 256 random bits in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmationToken {
    /// The customer whose contact entered the address.
    pub customer_number: CustomerNumber,
    secret: [u8; SECRET_BYTES],
}

impl ConfirmationToken {
    /// Creates a token from fresh random bits.
    pub fn new(customer_number: CustomerNumber, secret: [u8; SECRET_BYTES]) -> Self {
        Self {
            customer_number,
            secret,
        }
    }

    /// Extracts the first token from a text: a bare token, or a link or sentence that contains
    /// one, including the damage done by mail clients, link trackers and copying by hand. `None` for a
    /// text without a complete token.
    pub fn parse(text: &str) -> Option<Self> {
        let (customer_number, secret) = recovery::find_token(text)?;
        Some(Self::new(customer_number, secret))
    }

    /// Returns the customer number of the token that [`parse`](Self::parse) finds. For a text
    /// without a token it is the text before the first dot, or empty if there is no dot.
    pub fn customer_number_in(text: &str) -> String {
        match recovery::find_token(text) {
            Some((customer_number, _)) => customer_number.as_str().to_owned(),
            None => recovery::number_before_dot(text).to_owned(),
        }
    }

    /// Returns the text for the link's fragment. It is a secret.
    pub fn reveal(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}.", self.customer_number.as_str());
        for byte in self.secret {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Returns the SHA-256 of the random bits, the only part of them that is stored.
    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.secret).into()
    }
}

/// Hides the token, which authorizes its bearer to confirm, from log lines that print `{:?}`.
impl fmt::Debug for ConfirmationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmationToken(…)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn token() -> ConfirmationToken {
        let mut secret = [0xa7; SECRET_BYTES];
        secret[0] = 0x0f;
        ConfirmationToken::new(CustomerNumber::parse("K-1001").unwrap(), secret)
    }

    #[test]
    fn token_is_parsed_from_its_revealed_text() {
        let text = token().reveal();
        assert_eq!(text, format!("K-1001.0f{}", "a7".repeat(31)));
        assert_eq!(ConfirmationToken::parse(&text).unwrap(), token());
        assert_eq!(ConfirmationToken::customer_number_in(&text), "K-1001");
        assert_eq!(ConfirmationToken::customer_number_in("nothing"), "");
    }

    #[test]
    fn debug_output_hides_the_token() {
        assert_eq!(format!("{:?}", token()), "ConfirmationToken(…)");
    }
}
