//! The head of a vCard property: its group, name and parameters.

use std::borrow::Cow;

/// The part of a property before the colon, in upper case where case is insignificant.
pub(super) struct Head {
    pub(super) group: String,
    pub(super) name: String,
    /// Names and values; version 2.1 omits the names `TYPE` and `ENCODING`.
    params: Vec<(String, String)>,
}

impl Head {
    /// Returns true if a line begins with a name and its separator, a colon or semicolon.
    pub(super) fn starts(line: &[u8]) -> bool {
        let (name, rest) = Self::split_name(line);
        let rest = rest.trim_ascii_start();
        !name.is_empty() && matches!(rest.first(), Some(b':' | b';'))
    }

    /// Splits a line into the name at its beginning, without the group, and the rest.
    pub(super) fn split_name(line: &[u8]) -> (&str, &[u8]) {
        let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let end = line.iter().take_while(|byte| is_name_byte(byte)).count();
        let (name, rest) = line.split_at_checked(end).unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or_default();
        (name.rsplit_once('.').map_or(name, |(_, name)| name), rest)
    }

    /// Parses the head of a property. Returns it with the index where the value begins; `None` if the
    /// lines have no colon.
    pub(super) fn parse(pieces: &[&[u8]]) -> Option<(Self, usize)> {
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
        for index in unquoted(head, b';').chain([end]) {
            let part = head.get(start..index).unwrap_or_default();
            parts.push(String::from_utf8_lossy(part).trim().to_owned());
            start = index + 1;
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

    /// Returns the values of a parameter, in upper case.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.params.iter().filter(move |(known, _)| known == name);
        named.flat_map(|(_, value)| value.split(',').map(str::trim))
    }

    /// Returns the types; version 2.1 omits `TYPE=`.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.values("TYPE").chain(self.values(""))
    }

    pub(super) fn has_type(&self, name: &str) -> bool {
        self.types().any(|known| known == name)
    }

    pub(super) fn is_quoted_printable(&self) -> bool {
        self.is_encoded_as(&["QUOTED-PRINTABLE", "Q", "QP"])
    }

    pub(super) fn is_base64(&self) -> bool {
        self.is_encoded_as(&["BASE64", "B"])
    }

    /// Without `ENCODING=` only the long names count: `B` may be a type.
    fn is_encoded_as(&self, names: &[&str]) -> bool {
        let mut encodings = self.values("ENCODING");
        encodings.any(|value| names.contains(&value))
            || self
                .values("")
                .any(|value| value.len() > 2 && names.contains(&value))
    }
}

/// Parses the name and the value of a parameter, in upper case and without quotes.
fn param(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or(("", text));
    let value = value.replace('"', "").trim().to_uppercase();
    (name.trim().to_ascii_uppercase(), value)
}

/// Returns the indexes of a byte outside of quotes.
fn unquoted(text: &[u8], wanted: u8) -> impl Iterator<Item = usize> {
    let mut is_quoted = false;
    let found = text.iter().enumerate().filter(move |(_, byte)| {
        is_quoted ^= **byte == b'"';
        **byte == wanted && !is_quoted
    });
    found.map(|(index, _)| index)
}

/// Removes the blank of a folded line.
pub(super) fn without_blank(piece: &[u8]) -> &[u8] {
    let strip = |blank: &[u8]| piece.strip_prefix(blank);
    strip(b" ").or_else(|| strip(b"\t")).unwrap_or(piece)
}

/// Returns true if a line ends with an equals sign; blanks after it were added in transit.
pub(super) fn ends_soft(piece: &[u8]) -> bool {
    piece.trim_ascii_end().ends_with(b"=")
}

pub(super) fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}
