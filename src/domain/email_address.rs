//! E-mail addresses, normalized for storage and comparison (rule 12).

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::error::Violation;

/// The maximum length of an address in SMTP (RFC 5321, 4.5.3.1.3, without the angle brackets).
const MAX_LENGTH: usize = 254;
const MAX_LOCAL_LENGTH: usize = 64;

/// An e-mail address: the local part as entered, the domain in lower-case ASCII.
///
/// Addresses are compared by [`is_same_as`](Self::is_same_as), which ignores case; `==` is
/// deliberately not implemented.
#[derive(Clone)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses an address such as `Anna.Schmidt@müller.example`.
    ///
    /// Accepts an ASCII dot-atom as the local part and a domain name with at least one dot. Rejects
    /// quoted local parts, address literals and comments.
    ///
    /// # Errors
    /// [`Violation`] with the reason.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Violation::Required);
        }
        // A domain may be longer before its conversion to ASCII.
        if text.len() > 4 * MAX_LENGTH {
            return Err(Violation::TooLong { max: MAX_LENGTH });
        }
        let (local, domain) = text.rsplit_once('@').ok_or(Violation::NotAnEmailAddress)?;
        check_local_part(local)?;
        let domain = normalize_domain(domain)?;
        let address = format!("{local}@{domain}");
        if address.len() > MAX_LENGTH {
            return Err(Violation::TooLong { max: MAX_LENGTH });
        }
        Ok(Self(address))
    }

    /// Wraps a value that was stored from [`as_str`](Self::as_str), without validation.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the normalized address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address with its domain in Unicode, for people; `None` if that is the same (rule 12).
    pub fn to_unicode(&self) -> Option<String> {
        let (local, domain) = self.0.rsplit_once('@')?;
        let (unicode, valid) = Uts46::new().to_unicode(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
        );
        (valid.is_ok() && unicode != domain).then(|| format!("{local}@{unicode}"))
    }

    /// Returns the address in lower case, which is equal for equal mailboxes.
    pub fn comparison_key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Returns true if both addresses mean the same mailbox.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// Hides the address, which is personal data, from log lines that print `{:?}`.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

fn check_local_part(local: &str) -> Result<(), Violation> {
    if local.is_empty() || local.len() > MAX_LOCAL_LENGTH {
        return Err(Violation::LocalPartLength {
            max: MAX_LOCAL_LENGTH,
        });
    }
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
    if !local.split('.').all(is_atom) {
        return Err(Violation::LocalPartCharacters);
    }
    Ok(())
}

/// `atext` of RFC 5322, 3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn normalize_domain(domain: &str) -> Result<String, Violation> {
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| Violation::NotADomain)?;
    let (_, top_level) = ascii.rsplit_once('.').ok_or(Violation::NotADomain)?;
    if top_level.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Violation::NotADomain);
    }
    Ok(ascii.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_part_is_kept_and_domain_is_normalized() {
        for (text, normalized) in [
            ("Anna.Schmidt@Example.COM", "Anna.Schmidt@example.com"),
            ("anna@MÜLLER.example", "anna@xn--mller-kva.example"),
            ("  o'neil+tag@a-b.example ", "o'neil+tag@a-b.example"),
            ("a@xn--mller-kva.example", "a@xn--mller-kva.example"),
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), normalized);
        }
    }

    #[test]
    fn rule_12_comparison_ignores_case() {
        let first = EmailAddress::parse("Anna@müller.example").unwrap();
        let second = EmailAddress::parse("aNNA@XN--MLLER-KVA.EXAMPLE").unwrap();
        assert!(first.is_same_as(&second));
        assert_eq!(first.comparison_key(), second.comparison_key());
        assert!(!first.is_same_as(&EmailAddress::parse("ann@müller.example").unwrap()));
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.example", "abcdefghi.".repeat(26));
        for invalid in [
            "",
            "anna",
            "@example.com",
            "anna@",
            "anna@localhost",
            "anna@127.0.0.1",
            "anna@[127.0.0.1]",
            "a b@example.com",
            "a..b@example.com",
            ".a@example.com",
            "a.@example.com",
            "a@b@example.com",
            "anna@example.com\r\nBcc: x@example.com",
            "anna@exa mple.com",
            "anna@-a.example",
            "anna@a_b.example",
            "jörg@example.com",
            "\"anna\"@example.com",
            "anna@example.com.",
            "anna@example..com",
            "a\0@example.com",
            long_local.as_str(),
            long.as_str(),
        ] {
            assert!(EmailAddress::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_address() {
        let address = EmailAddress::parse("marker@example.com").unwrap();
        assert!(!format!("{address:?}").contains("marker"));
    }
}
