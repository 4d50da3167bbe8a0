//! Domain names and address literals, as the sender and the name in EHLO hold them.

use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Converts a domain name to lower-case ASCII (IDNA), without the dot of the root. Returns `None`
/// for any other text.
pub(super) fn to_ascii_domain(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, DnsLength::Verify);
    ascii.ok().map(std::borrow::Cow::into_owned)
}

/// Returns true for an address literal (RFC 5321, 4.1.3).
pub(super) fn is_address_literal(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let Some(inner) = inner else {
        return false;
    };
    let is_ipv6 = inner
        .get(..5)
        .is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    if is_ipv6 {
        inner
            .get(5..)
            .is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
    } else {
        inner.parse::<Ipv4Addr>().is_ok()
    }
}
