//! The MIME structure of a bounce, parsed with bounded work and memory: anyone can send a message to
//! the bounce address.
//!
//! Multiparts are split by hand. `mail-parser` also parses the parts of returned messages, recursively,
//! and skips what follows a returned message that consists of another message.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use mail_parser::{
    ContentType, Header, HeaderName, MessageParser,
    decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode},
};

/// Only the returned message is larger, and it comes last.
const MAX_BYTES: usize = 1024 * 1024;
/// Each level is searched for its boundary.
const MAX_DEPTH: usize = 128;

/// Headers with the address that a message was delivered to. `Return-Path` is the sender.
/// `Envelope-To` is written by Exim.
const DELIVERY_HEADERS: [&str; 4] = ["To", "Delivered-To", "X-Original-To", "Envelope-To"];

/// A message and its parts. Returned messages are parts, too; their own parts are not.
#[derive(Debug)]
pub(super) struct Email<'a> {
    root: Part<'a>,
    parts: Vec<Part<'a>>,
}

/// A message or one of its parts.
#[derive(Debug)]
pub(super) struct Part<'a> {
    headers: Vec<Header<'a>>,
    body: &'a [u8],
}

impl<'a> Email<'a> {
    /// Parses the beginning of a message. Returns `None` if it has no header.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let message = message.trim_ascii_start();
        let message = message.get(..MAX_BYTES).unwrap_or(message);
        let mut parser = MessageParser::new()
            .header_content_type(HeaderName::ContentType)
            .header_date(HeaderName::Date);
        for name in DELIVERY_HEADERS {
            parser = parser.header_address(HeaderName::parse(name)?);
        }
        let root = Part::parse(&parser, message);
        if root.headers.is_empty() {
            return None;
        }
        let mut parts = Vec::new();
        let mut remaining = root.entities(0);
        while let Some(Entity { bytes, depth }) = remaining.pop() {
            let part = Part::parse(&parser, bytes);
            remaining.extend(part.entities(depth));
            parts.push(part);
        }
        Some(Self { root, parts })
    }

    /// Returns the message itself as a part.
    pub(super) const fn root(&self) -> &Part<'a> {
        &self.root
    }

    /// Returns all parts in their order, beginning with the message itself.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        std::iter::once(&self.root).chain(&self.parts)
    }

    /// Returns the time in the header `Date`.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        let mut headers = self.root.headers.iter();
        let date = headers.find_map(|header| header.value.as_datetime())?;
        to_utc(*date)
    }

    /// Returns the addresses that the message was delivered to.
    pub(super) fn delivery_addresses(&self) -> impl Iterator<Item = &str> {
        let headers = self.root.headers.iter();
        let addresses = headers.filter_map(|header| header.value.as_address());
        addresses.flat_map(|list| list.iter().filter_map(|address| address.address()))
    }

    /// Returns the value of a header of the message, without line breaks.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let text = self.root.header(name)?.value.as_text();
        text.map(|text| text.replace(['\r', '\n'], " "))
    }
}

impl<'a> Part<'a> {
    fn parse(parser: &MessageParser, bytes: &'a [u8]) -> Self {
        let (header, body) = split_header(bytes);
        let parsed = parser.parse_headers(header);
        let first = parsed.and_then(|message| message.parts.into_iter().next());
        Self {
            headers: first.map(|part| part.headers).unwrap_or_default(),
            body,
        }
    }

    /// Returns true if the media type is one of `types`, in lower case. A part without a type is
    /// plain text (RFC 2045, 5.2).
    pub(super) fn is(&self, types: &[&str]) -> bool {
        let Some(content_type) = self.content_type() else {
            return types.contains(&"text/plain");
        };
        let subtype = content_type.subtype().unwrap_or_default();
        let media_type = format!("{}/{subtype}", content_type.ctype());
        types
            .iter()
            .any(|name| media_type.eq_ignore_ascii_case(name))
    }

    /// Returns true for a multipart/report of this type (RFC 6522).
    pub(super) fn is_report(&self, report_type: &str) -> bool {
        let stated = self
            .content_type()
            .and_then(|value| value.attribute("report-type"));
        self.is(&["multipart/report"])
            && stated.is_some_and(|stated| stated.eq_ignore_ascii_case(report_type))
    }

    /// Returns the decoded text. Its charset is not converted: the fields of reports are in ASCII or
    /// UTF-8.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content()).into_owned()
    }

    fn content(&self) -> Cow<'a, [u8]> {
        let encoding = self.header("Content-Transfer-Encoding");
        let encoding = encoding.and_then(|header| header.value.as_text());
        let encoding = encoding.unwrap_or_default();
        let decoded = if encoding.eq_ignore_ascii_case("base64") {
            base64_decode(self.body)
        } else if encoding.eq_ignore_ascii_case("quoted-printable") {
            quoted_printable_decode(self.body)
        } else {
            None
        };
        // A wrong encoding is common in returned messages.
        decoded.map_or(Cow::Borrowed(self.body), Cow::Owned)
    }

    fn header(&self, name: &str) -> Option<&Header<'a>> {
        let mut headers = self.headers.iter();
        headers.find(|header| header.name.as_str().eq_ignore_ascii_case(name))
    }

    fn content_type(&self) -> Option<&ContentType<'a>> {
        self.header("Content-Type")?.value.as_content_type()
    }

    /// Returns the parts of a multipart, the last one first.
    fn entities(&self, depth: usize) -> Vec<Entity<'a>> {
        let multipart = self
            .content_type()
            .filter(|value| depth < MAX_DEPTH && value.ctype().eq_ignore_ascii_case("multipart"));
        let boundary = multipart.and_then(|value| value.attribute("boundary"));
        let mut entities = boundary.map_or_else(Vec::new, |text| split_multipart(self.body, text));
        entities.reverse();
        let depth = depth + 1;
        let entities = entities.into_iter();
        entities.map(|bytes| Entity { bytes, depth }).collect()
    }
}

/// A part that is not parsed yet, and the number of multiparts around it.
#[derive(Debug)]
struct Entity<'a> {
    bytes: &'a [u8],
    depth: usize,
}

/// Parses a date in the form of RFC 5322, such as that of `Last-Attempt-Date`.
pub(super) fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    to_utc(mail_parser::DateTime::parse_rfc822(text)?)
}

fn to_utc(date: mail_parser::DateTime) -> Option<DateTime<Utc>> {
    let timestamp = date.is_valid().then(|| date.to_timestamp())?;
    DateTime::from_timestamp(timestamp, 0)
}

/// Splits at the first empty line.
fn split_header(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
    }
    bytes.split_at_checked(length).unwrap_or((bytes, &[]))
}

/// Returns the parts between the lines with the boundary (RFC 2046, 5.1.1). The last line may be
/// missing, as in a truncated message.
fn split_multipart<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut offset = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let end = offset;
        offset += line.len();
        let Some(is_last) = delimiter(line, boundary) else {
            continue;
        };
        parts.extend(start.and_then(|start| body.get(start..end)));
        if is_last {
            return parts;
        }
        start = Some(offset);
    }
    parts.extend(start.and_then(|start| body.get(start..)));
    parts
}

/// Returns `Some(true)` for the last line with the boundary, and `None` for a line without it.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line
        .strip_prefix(b"--")?
        .strip_prefix(boundary.as_bytes())?;
    match rest.trim_ascii_end() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
