//! A property of a vCard and its value as text, independent of the encoding and folding of its lines.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use encoding_rs::Encoding;

use super::{
    head::{Head, ends_soft, is_folded, without_blank},
    lines::Spelled,
};
use crate::cli::import::encoding::{Decoder, UNREADABLE, decode_named, utf_8};

/// Base64 with optional padding, which some programs omit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A property whose lines are joined in the first way that can be decoded.
pub(super) struct Property {
    pub(super) head: Head,
    value: Vec<u8>,
    /// Stray lines follow, or the transfer encoding is invalid.
    is_damaged: bool,
}

/// The way in which the lines of a property are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// Versions 3 and 4: a blank at the beginning of a line is not part of the value.
    WithoutBlanks,
    /// Version 2.1: the blank is part of the value.
    WithBlanks,
    /// Quoted-printable that was folded within `=C3`: the equals sign is no soft line break.
    WithSigns,
}

impl Property {
    /// Reads the lines of a property of a card of version 2.1 or a later one.
    pub(super) fn read(spelled: &Spelled<'_>, is_version_2: bool) -> Option<Self> {
        let (head, _) = Head::parse(&spelled.pieces)?;
        let joins = if is_version_2 {
            &[Join::WithBlanks, Join::WithoutBlanks, Join::WithSigns][..]
        } else {
            &[Join::WithoutBlanks, Join::WithSigns]
        };
        let mut readings = joins.iter().filter_map(|join| {
            let text = joined(&spelled.pieces, *join, head.is_quoted_printable());
            // A fold may be within the head.
            let (_, start) = Head::parse(&[&text])?;
            Some(transfer_decoded(
                &head,
                text.get(start..).unwrap_or_default(),
            ))
        });
        let first = readings.next()?;
        let is_good = |reading: &(Vec<u8>, bool)| reading.1 && utf_8(&reading.0).is_some();
        let is_folded = spelled.pieces.len() > 1;
        let better = if is_folded && !is_good(&first) {
            readings.find(is_good)
        } else {
            None
        };
        let (value, is_valid) = better.unwrap_or(first);
        Some(Self {
            value,
            is_damaged: !is_valid || !spelled.strays.is_empty(),
            head,
        })
    }

    /// Returns the bytes that are evidence of the encoding of the file, unless a charset is declared.
    pub(super) fn evidence(&self) -> Option<&[u8]> {
        let has_charset = self.head.values("CHARSET").next().is_some();
        (!has_charset).then_some(self.value.as_slice())
    }

    /// Returns the value, or U+FFFD if it is not certain.
    pub(super) fn text(&self, decoder: Decoder, is_converted: bool) -> String {
        let is_encoded = self.head.is_quoted_printable() || self.head.is_base64();
        let charset = self.head.values("CHARSET").next();
        let text = match charset.filter(|_| is_encoded || !is_converted) {
            Some(charset) => self.in_charset(charset),
            // Transfer-encoded bytes of a UTF-16 file were not converted with it.
            None if is_encoded && is_converted => {
                let text = utf_8(&self.value).map(str::to_owned);
                text.unwrap_or_else(|| UNREADABLE.into())
            }
            None => decoder.decode(&self.value).into_owned(),
        };
        let is_certain = !self.is_damaged && (is_encoded || !looks_encoded(&text));
        if is_certain { text } else { UNREADABLE.into() }
    }

    /// Decodes the value in its declared charset; UTF-8 bytes in a single-byte charset are not certain.
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

/// Removes the transfer encoding of a value. Returns true if it was valid.
fn transfer_decoded(head: &Head, value: &[u8]) -> (Vec<u8>, bool) {
    if head.is_quoted_printable() {
        return quoted_printable_decoded(value);
    }
    if !head.is_base64() {
        return (value.to_vec(), true);
    }
    let digits = value.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<_> = digits.copied().collect();
    let decoded = BASE64.decode(digits);
    decoded.map_or_else(|_| (Vec::new(), false), |bytes| (bytes, true))
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
    // A soft line break at the end has no continuation.
    if is_quoted_printable && ends_soft(&text) {
        text.truncate(text.trim_ascii_end().len());
        text.pop();
    }
    text
}

/// Decodes quoted-printable. Returns true if two digits follow each equals sign; others are kept.
fn quoted_printable_decoded(value: &[u8]) -> (Vec<u8>, bool) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut is_valid) = (Vec::with_capacity(value.len()), true);
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let pair = (digit(after.first()), digit(after.get(1)));
        if let (b'=', (Some(high), Some(low))) = (byte, pair) {
            bytes.push(u8::try_from(16 * high + low).unwrap_or_default());
            rest = after.get(2..).unwrap_or_default();
        } else {
            is_valid &= *byte != b'=';
            bytes.push(*byte);
            rest = after;
        }
    }
    (bytes, is_valid)
}

/// Detects multi-byte characters in quoted-printable that no parameter declares.
fn looks_encoded(text: &str) -> bool {
    text.contains('=') && text.is_ascii() && {
        let (decoded, _) = quoted_printable_decoded(text.as_bytes());
        !decoded.is_ascii() && utf_8(&decoded).is_some()
    }
}
