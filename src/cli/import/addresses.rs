//! E-mail addresses in the forms of links and mail programs.

use contact_service::{domain::email_address::EmailAddress, error::Violation};
use percent_encoding::percent_decode_str;

/// Parses an address, which may be a link or follow a name.
pub(super) fn parse_address(text: &str) -> Result<EmailAddress, Violation> {
    EmailAddress::parse(&bare_address(text))
}

/// Extracts the address from `mailto:anna@example.com?subject=x` or `Anna <anna@example.com>`.
pub(super) fn bare_address(text: &str) -> String {
    let text = text.trim();
    let in_brackets = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'));
    let text = in_brackets.map_or(text, |(_, address)| address.trim());
    let Some(address) = without_scheme(text, "mailto:") else {
        return text.to_owned();
    };
    let address = address.split('?').next().unwrap_or_default();
    percent_decode_str(address).decode_utf8_lossy().into_owned()
}

pub(super) fn without_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}
