//! The addresses of delivery reports: an address type and an address, in one of several encodings.

use super::fields::without_comments;
use crate::domain::email_address::EmailAddress;

/// The types whose addresses are e-mail addresses. RFC 3464 knows `rfc822`, RFC 6533 `utf-8`; some
/// gateways write `smtp`.
const EMAIL_TYPES: [&str; 3] = ["rfc822", "utf-8", "smtp"];
/// The beginning of an escaped character.
const ESCAPE: &str = "\\x{";

/// Parses the value of `Final-Recipient` (RFC 3464, 2.3.2), such as `rfc822; anna@example.com`.
/// Returns `None` for addresses of other types and for those that the service does not store.
pub(super) fn final_recipient(value: &str) -> Option<EmailAddress> {
    EmailAddress::parse(&unescape(&generic(value)?)).ok()
}

/// Parses the value of `Original-Recipient` (RFC 3464, 2.3.1), which copies the parameter ORCPT of
/// RFC 3461. Servers disagree on whether its encoding is removed.
pub(super) fn original_recipient(value: &str) -> Option<EmailAddress> {
    let text = unescape(&generic(value)?);
    let decoded = decode_xtext(&text).and_then(|text| EmailAddress::parse(&text).ok());
    decoded.or_else(|| EmailAddress::parse(&text).ok())
}

/// Parses an address with or without angle brackets, as in feedback reports and text bounces.
pub(super) fn plain(text: &str) -> Option<EmailAddress> {
    EmailAddress::parse(&without_brackets(text)).ok()
}

/// Returns the address without its type, comments and angle brackets.
fn generic(value: &str) -> Option<String> {
    // RFC 3464 requires a type, but old servers omit it.
    let Some((kind, address)) = value.split_once(';') else {
        return Some(without_brackets(value));
    };
    let kind = without_comments(kind);
    let is_email = EMAIL_TYPES
        .iter()
        .any(|name| kind.eq_ignore_ascii_case(name));
    is_email.then(|| without_brackets(address))
}

fn without_brackets(text: &str) -> String {
    let text = without_comments(text);
    let inner = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
        .map(|(_, inner)| inner.trim().to_owned());
    inner.unwrap_or(text)
}

/// Decodes `\x{F6}` (RFC 6533, 3). Other backslashes are kept; no valid address has one.
fn unescape(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        decoded.push_str(before);
        rest = after;
        if let Some((c, after)) = code_point(after) {
            decoded.push(c);
            rest = after;
        } else {
            decoded.push_str(ESCAPE);
        }
    }
    decoded.push_str(rest);
    decoded
}

/// Parses up to six hexadecimal digits and a brace. Returns the character and the rest.
fn code_point(text: &str) -> Option<(char, &str)> {
    // The search is limited: a text can consist of beginnings of escapes.
    let length = text.bytes().take(7).position(|byte| byte == b'}')?;
    let (digits, rest) = text.split_at_checked(length)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
    Some((char::from_u32(code)?, rest.strip_prefix('}')?))
}

/// Decodes xtext (RFC 3461, 4), where `+2B` is a plus. Returns `None` if the text is not encoded:
/// the tag of `anna+30@example.com` is none, because encoders keep digits and letters.
fn decode_xtext(text: &str) -> Option<String> {
    let mut pieces = text.split('+');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    let mut is_encoded = false;
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        if !digits.bytes().all(is_hex) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=' | b'@') {
            return None;
        }
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
        is_encoded = true;
    }
    is_encoded.then(|| String::from_utf8(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::typed("rfc822; anna@example.com", "anna@example.com")]
    #[case::without_space("RFC822;Anna@EXAMPLE.com", "Anna@example.com")]
    #[case::without_type("anna@example.com", "anna@example.com")]
    #[case::in_brackets("rfc822;<anna@example.com>", "anna@example.com")]
    #[case::with_a_name("rfc822; Anna Beispiel <anna@example.com>", "anna@example.com")]
    #[case::with_a_comment("rfc822 (mail); anna@example.com (Anna)", "anna@example.com")]
    #[case::of_a_gateway("SMTP;anna@example.com", "anna@example.com")]
    #[case::with_a_tag("rfc822; anna+2Bx@example.com", "anna+2Bx@example.com")]
    #[case::in_utf_8("utf-8; anna@müller.example", "anna@xn--mller-kva.example")]
    #[case::escaped(r"utf-8; anna@m\x{FC}ller.example", "anna@xn--mller-kva.example")]
    #[case::escaped_plus(r"utf-8; anna\x{2B}x@example.com", "anna+x@example.com")]
    fn final_recipient_is_parsed(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(final_recipient(value).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case::decoded_plus("rfc822;anna+2Bnews@example.com", "anna+news@example.com")]
    #[case::decoded_equals("rfc822;anna+3Dx@example.com", "anna=x@example.com")]
    #[case::decoded_at("rfc822;anna+40example.com", "anna@example.com")]
    #[case::tag_of_digits("rfc822;anna+30@example.com", "anna+30@example.com")]
    #[case::tag_like_a_space("rfc822;anna+20@example.com", "anna+20@example.com")]
    #[case::tag_of_letters("rfc822;anna+news@example.com", "anna+news@example.com")]
    #[case::short_tag("rfc822;anna+2@example.com", "anna+2@example.com")]
    #[case::lower_case_tag("rfc822;anna+2b@example.com", "anna+2b@example.com")]
    #[case::two_tags("rfc822;anna+2B2024+2Bx@example.com", "anna+2024+x@example.com")]
    #[case::escaped(r"utf-8;anna@m\x{fc}ller.example", "anna@xn--mller-kva.example")]
    fn original_recipient_is_decoded(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(original_recipient(value).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("rfc822;")]
    #[case("rfc822; <>")]
    #[case("x400; /C=DE/A=BEISPIEL/S=ANNA")]
    #[case("unknown; anna@example.com")]
    #[case("rfc822; anna")]
    #[case("rfc822; \"anna b\"@example.com")]
    #[case("CN=Anna Beispiel/O=Beispiel")]
    #[case(r"utf-8; j\x{F6}rg@example.com")]
    #[case(r"utf-8; anna@m\x{110000}ller.example")]
    #[case(r"utf-8; anna@m\x{")]
    #[case(r"utf-8; anna@m\x{+41}ller.example")]
    fn other_addresses_are_rejected(#[case] value: &str) {
        assert!(final_recipient(value).is_none());
        assert!(original_recipient(value).is_none());
    }
}
