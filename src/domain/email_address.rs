//! E-mail addresses, in the form in which they are kept and compared (rule 12).

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::error::Invalid;

/// The longest address that SMTP carries (RFC 5321, 4.5.3.1.3 less the brackets).
const MAX_LENGTH: usize = 254;
const MAX_LOCAL_LENGTH: usize = 64;

/// An address that mail can be sent to: the local part as written, the domain
/// in lower-case ASCII.
///
/// Two addresses are the same when their [`comparison_key`](Self::comparison_key)s
/// are; `==` is deliberately absent.
#[derive(Clone)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address such as `Anna.Schmidt@müller.example`.
    ///
    /// Taken are dot-atoms of ASCII before the `@` and a domain name with at least
    /// one dot behind it; quoted local parts, address literals and comments are not.
    ///
    /// # Errors
    /// [`Invalid`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        // A domain may be longer before its conversion to ASCII, but not without bounds.
        if text.len() > 4 * MAX_LENGTH {
            return Err(Invalid::new(format!(
                "must have at most {MAX_LENGTH} characters"
            )));
        }
        let (local, domain) = text
            .rsplit_once('@')
            .ok_or_else(|| Invalid::new("must be an e-mail address, such as anna@example.com"))?;
        check_local_part(local)?;
        let domain = normalize_domain(domain)?;
        let address = format!("{local}@{domain}");
        if address.len() > MAX_LENGTH {
            return Err(Invalid::new(format!(
                "must have at most {MAX_LENGTH} characters"
            )));
        }
        Ok(Self(address))
    }

    /// A value that storage once took from `as_str`.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The address as it is kept, shown and mailed to.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two addresses are compared by: the kept form without case.
    pub fn comparison_key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether both mean the same mailbox.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// An address is personal data: it must not get into a log by way of `{:?}`.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

fn check_local_part(local: &str) -> Result<(), Invalid> {
    if local.is_empty() || local.len() > MAX_LOCAL_LENGTH {
        return Err(Invalid::new(format!(
            "must have 1 to {MAX_LOCAL_LENGTH} characters before the @"
        )));
    }
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
    if !local.split('.').all(is_atom) {
        return Err(Invalid::new(
            "must have only ASCII letters, digits and !#$%&'*+-/=?^_`{|}~ before the @, in parts joined by single dots",
        ));
    }
    Ok(())
}

/// `atext` of RFC 5322, 3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn normalize_domain(domain: &str) -> Result<String, Invalid> {
    let not_a_domain = || Invalid::new("must have a domain name behind the @, such as example.com");
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| not_a_domain())?;
    let (_, top_level) = ascii.rsplit_once('.').ok_or_else(not_a_domain)?;
    if top_level.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_a_domain());
    }
    Ok(ascii.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_local_part_and_folds_the_domain() {
        for (given, kept) in [
            ("Anna.Schmidt@Example.COM", "Anna.Schmidt@example.com"),
            ("anna@MÜLLER.example", "anna@xn--mller-kva.example"),
            ("  o'neil+tag@a-b.example ", "o'neil+tag@a-b.example"),
            ("a@xn--mller-kva.example", "a@xn--mller-kva.example"),
        ] {
            assert_eq!(EmailAddress::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn rule_12_compares_without_case() {
        let one = EmailAddress::parse("Anna@müller.example").unwrap();
        let two = EmailAddress::parse("aNNA@XN--MLLER-KVA.EXAMPLE").unwrap();
        assert!(one.is_same_as(&two));
        assert_eq!(one.comparison_key(), two.comparison_key());
        assert!(!one.is_same_as(&EmailAddress::parse("ann@müller.example").unwrap()));
    }

    #[test]
    fn refuses_what_mail_cannot_be_sent_to() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.example", "abcdefghi.".repeat(26));
        for bad in [
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
            assert!(EmailAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_does_not_show_the_address() {
        let address = EmailAddress::parse("canary@example.com").unwrap();
        assert!(!format!("{address:?}").contains("canary"));
    }
}
