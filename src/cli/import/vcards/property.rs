//! A property of a vCard: its name, its parameters, and its value as text, whatever the encodings and
//! folds of its lines.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use encoding_rs::Encoding;

use super::lines::{Spelled, ends_soft, is_folded};
use crate::cli::import::decoding::{Decoder, UNREADABLE, decode_named, utf_8};

/// Some programs leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The part before the colon, in upper case where case is insignificant.
pub(super) struct Head {
    pub(super) group: String,
    pub(super) name: String,
    /// Names and values; version 2.1 leaves the name `TYPE` or `ENCODING` out.
    params: Vec<(String, String)>,
}

/// A property whose value is bytes, in the first of its readings that can be decoded.
pub(super) struct Property {
    pub(super) head: Head,
    value: Vec<u8>,
    /// Lines follow that continue nothing, or the transfer encoding is broken.
    is_damaged: bool,
}

/// How the lines of a property are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// As versions 3 and 4 write: a blank at the beginning of a line is no part of the value.
    WithoutBlanks,
    /// As version 2.1 writes: it is a part of it.
    WithBlanks,
    /// Quoted-printable that was folded within `=C3`, after the equals sign.
    WithSigns,
}

impl Head {
    /// Returns true if a line begins with a name and its separator, a colon or semicolon.
    pub(super) fn is_there(line: &[u8]) -> bool {
        let (name, rest) = Self::split_name(line);
        let rest = rest.trim_ascii_start();
        !name.is_empty() && matches!(rest.first(), Some(b':' | b';'))
    }

    /// The name at the beginning of a line, without its group, and the rest.
    pub(super) fn split_name(line: &[u8]) -> (&str, &[u8]) {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let end = line.iter().take_while(|byte| is_of_name(byte)).count();
        let (name, rest) = line.split_at_checked(end).unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or_default();
        (name.rsplit_once('.').map_or(name, |(_, name)| name), rest)
    }

    /// The head of a property and the place where its value begins, if its lines hold a colon.
    pub(super) fn of(pieces: &[&[u8]]) -> Option<(Self, usize)> {
        let mut text: Cow<'_, [u8]> = Cow::Borrowed(pieces.first()?);
        let mut rest = pieces.iter().skip(1);
        let end = loop {
            if let Some(end) = unquoted(&text, b':').next() {
                break end;
            }
            let next = rest.next()?;
            text.to_mut().extend(without_blank(next));
        };
        let head = text.get(..end)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for place in unquoted(head, b';').chain([end]) {
            let part = head.get(start..place).unwrap_or_default();
            parts.push(String::from_utf8_lossy(part).trim().to_owned());
            start = place + 1;
        }
        let mut parts = parts.into_iter();
        let name = parts.next()?.to_ascii_uppercase();
        let (group, name) = name.rsplit_once('.').unwrap_or(("", &name));
        Some((
            Self {
                group: group.to_owned(),
                name: name.to_owned(),
                params: parts.map(|part| param(&part)).collect(),
            },
            end + 1,
        ))
    }

    /// The values of a parameter, in capitals.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.params.iter().filter(move |(known, _)| known == name);
        named.flat_map(|(_, value)| value.split(',').map(str::trim))
    }

    /// The types, which version 2.1 writes without `TYPE=`.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.values("TYPE").chain(self.values(""))
    }

    pub(super) fn has_type(&self, name: &str) -> bool {
        self.types().any(|known| known == name)
    }

    pub(super) fn is_quoted_printable(&self) -> bool {
        self.is_encoded_as(&["QUOTED-PRINTABLE", "Q", "QP"])
    }

    fn is_base64(&self) -> bool {
        self.is_encoded_as(&["BASE64", "B"])
    }

    /// A bare parameter must be the whole name: `B` alone may be a type.
    fn is_encoded_as(&self, names: &[&str]) -> bool {
        let mut encodings = self.values("ENCODING");
        encodings.any(|value| names.contains(&value))
            || self
                .values("")
                .any(|value| value.len() > 2 && names.contains(&value))
    }
}

/// The name and the value of a parameter, in capitals and without quotes.
fn param(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or(("", text));
    let value = value.replace('"', "").trim().to_uppercase();
    (name.trim().to_ascii_uppercase(), value)
}

/// The places of a byte outside of quotes.
fn unquoted(text: &[u8], wanted: u8) -> impl Iterator<Item = usize> {
    let mut is_quoted = false;
    let places = text.iter().enumerate().filter(move |(_, byte)| {
        is_quoted ^= **byte == b'"';
        **byte == wanted && !is_quoted
    });
    places.map(|(place, _)| place)
}

impl Property {
    /// Reads the lines of a property of a card of version 2.1 or a later one.
    pub(super) fn read(spelled: &Spelled<'_>, is_version_2: bool) -> Option<Self> {
        let (head, _) = Head::of(&spelled.pieces)?;
        let joins = if is_version_2 {
            &[Join::WithBlanks, Join::WithoutBlanks, Join::WithSigns][..]
        } else {
            &[Join::WithoutBlanks, Join::WithSigns]
        };
        let mut readings = joins.iter().filter_map(|join| {
            let text = joined(&spelled.pieces, *join, head.is_quoted_printable());
            // A fold may be within the head.
            let (_, start) = Head::of(&[&text])?;
            Some(head.transferred(text.get(start..).unwrap_or_default()))
        });
        let first = readings.next()?;
        let is_good = |reading: &(Vec<u8>, bool)| reading.1 && utf_8(&reading.0).is_some();
        let is_folded = spelled.pieces.len() > 1;
        let better = if is_folded && !is_good(&first) {
            readings.find(is_good)
        } else {
            None
        };
        let (value, is_clean) = better.unwrap_or(first);
        Some(Self {
            value,
            is_damaged: !is_clean || !spelled.strays.is_empty(),
            head,
        })
    }

    /// The bytes that say something about the encoding of the file.
    pub(super) fn evidence(&self) -> Option<&[u8]> {
        let is_silent = self.head.values("CHARSET").next().is_some();
        (!is_silent).then_some(self.value.as_slice())
    }

    /// The value, with U+FFFD where it is not certain.
    pub(super) fn text(&self, decoder: Decoder, is_converted: bool) -> String {
        let is_encoded = self.head.is_quoted_printable() || self.head.is_base64();
        let charset = self.head.values("CHARSET").next();
        let text = match charset.filter(|_| is_encoded || !is_converted) {
            Some(charset) => self.in_charset(charset),
            // Encoded bytes are not those of a file that is UTF-16.
            None if is_encoded && is_converted => {
                let text = utf_8(&self.value).map(str::to_owned);
                text.unwrap_or_else(|| UNREADABLE.into())
            }
            None => decoder.decode(&self.value).into_owned(),
        };
        let is_certain = !self.is_damaged && (is_encoded || !looks_encoded(&text));
        if is_certain { text } else { UNREADABLE.into() }
    }

    /// A charset that its own bytes contradict is not certain.
    fn in_charset(&self, charset: &str) -> String {
        let named = Encoding::for_label_no_replacement(charset.as_bytes());
        let Some(encoding) = named else {
            return UNREADABLE.into();
        };
        let is_utf_8 = !self.value.is_ascii() && utf_8(&self.value).is_some();
        if is_utf_8 && encoding.is_single_byte() {
            return UNREADABLE.into();
        }
        decode_named(encoding, &self.value)
    }
}

impl Head {
    /// The value without its transfer encoding, and whether it follows the rules of that.
    fn transferred(&self, value: &[u8]) -> (Vec<u8>, bool) {
        if self.is_quoted_printable() {
            return without_signs(value);
        }
        if !self.is_base64() {
            return (value.to_vec(), true);
        }
        let digits = value.iter().filter(|byte| !byte.is_ascii_whitespace());
        let digits: Vec<_> = digits.copied().collect();
        let decoded = BASE64.decode(digits);
        decoded.map_or_else(|_| (Vec::new(), false), |bytes| (bytes, true))
    }
}

/// Joins the lines of a property.
fn joined(pieces: &[&[u8]], join: Join, is_quoted_printable: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in pieces {
        let is_continuing = !text.is_empty();
        let is_after_sign = is_quoted_printable && ends_soft(&text) && join != Join::WithSigns;
        if is_after_sign {
            text.truncate(text.trim_ascii_end().len());
            text.pop();
        }
        if !is_continuing || !is_folded(piece) {
            text.extend_from_slice(piece);
        } else if join == Join::WithBlanks && !is_after_sign {
            text.push(b' ');
            text.extend(without_blank(piece));
        } else {
            text.extend(without_blank(piece));
        }
    }
    // A soft line break before the next property continues nothing.
    if is_quoted_printable && ends_soft(&text) {
        text.truncate(text.trim_ascii_end().len());
        text.pop();
    }
    text
}

/// A line without the blank that folds it.
fn without_blank(piece: &[u8]) -> &[u8] {
    let strip = |blank: &[u8]| piece.strip_prefix(blank);
    strip(b" ").or_else(|| strip(b"\t")).unwrap_or(piece)
}

/// Quoted-printable as bytes, and whether each equals sign has its digits; else it is itself.
fn without_signs(value: &[u8]) -> (Vec<u8>, bool) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut is_clean) = (Vec::with_capacity(value.len()), true);
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let pair = (digit(after.first()), digit(after.get(1)));
        if let (b'=', (Some(high), Some(low))) = (byte, pair) {
            bytes.push(u8::try_from(16 * high + low).unwrap_or_default());
            rest = after.get(2..).unwrap_or_default();
        } else {
            is_clean &= *byte != b'=';
            bytes.push(*byte);
            rest = after;
        }
    }
    (bytes, is_clean)
}

/// Detects multi-byte characters in quoted-printable that no parameter declares.
fn looks_encoded(text: &str) -> bool {
    text.contains('=') && text.is_ascii() && {
        let (decoded, _) = without_signs(text.as_bytes());
        !decoded.is_ascii() && utf_8(&decoded).is_some()
    }
}
