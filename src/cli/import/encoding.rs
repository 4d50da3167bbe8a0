//! The encoding of a file.
//!
//! A byte order mark or `--encoding` names it. Without either, text is read as UTF-8, or as
//! windows-1252 if that is certain. Text of uncertain encoding becomes U+FFFD, so that its row is
//! rejected instead of imported garbled.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Write},
    path::Path,
};

use encoding_rs::{
    Encoding, ISO_8859_15, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1252, WINDOWS_1254,
    WINDOWS_1257,
};

use super::long_lines;
use crate::cli::startup_error::StartupError;

/// Limit of a file, which is held in memory: the rows of a customer need not be adjacent.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// The first bytes of a workbook.
const ZIP: &[u8] = b"PK\x03\x04";
const UTF_8_MARK: &[u8] = b"\xEF\xBB\xBF";
const UTF_16_MARK: char = '\u{FEFF}';
/// The replacement character: marks bytes that cannot be decoded with certainty.
pub(super) const UNREADABLE: char = '\u{FFFD}';
/// Letters that few languages except German use, and that no other encoding of spreadsheets has at
/// the bytes of windows-1252.
const GERMAN: &str = "äöüÄÖÜßé";

/// Encodings that could be mistaken for windows-1252.
const SIMILAR: [&Encoding; 4] = [WINDOWS_1250, WINDOWS_1254, WINDOWS_1257, ISO_8859_15];

/// A file in memory.
pub(super) struct SourceFile {
    /// The text in an encoding in which line breaks, separators and quotes are ASCII bytes.
    pub(super) bytes: Vec<u8>,
    named: Option<Named>,
}

/// The encoding named by a mark or an option.
#[derive(Clone, Copy)]
struct Named {
    encoding: &'static Encoding,
    /// The bytes were converted to UTF-8 from this encoding.
    is_converted: bool,
}

/// Decodes the texts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// The named encoding, for every byte.
    Named(&'static Encoding),
    /// UTF-8, detected by its byte pattern.
    Utf8,
    /// windows-1252, where it is certain.
    Windows1252 {
        /// Texts without a letter of [`GERMAN`] are certain as well.
        is_proven: bool,
    },
    /// ASCII; nothing else is certain.
    Unknown,
}

/// Evidence of a file's encoding, collected from its texts.
#[derive(Clone, Copy, Default)]
pub(super) struct Evidence {
    has_utf_8: bool,
    has_german: bool,
    others: Others,
}

/// Texts that are neither UTF-8 nor have a German letter: the worst of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Others {
    /// ASCII.
    #[default]
    Ascii,
    /// Certain if the encoding is windows-1252.
    Likely,
    /// Not windows-1252, or not certain to be.
    Doubtful,
}

/// Reads a file. Rejects one that is too large, empty, a workbook, or not in the named encoding.
pub(super) fn read(
    path: &Path,
    encoding: Option<&'static Encoding>,
) -> Result<SourceFile, StartupError> {
    let failed = |error: io::Error| StartupError::unreadable(path, &error);
    let unusable = |reason: String| StartupError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(failed)?;
    let find = |start: &[u8]| find_encoding(start, encoding);
    let (bytes, length) = long_lines::read(file, MAX_BYTES, find).map_err(failed)?;
    if length > MAX_BYTES {
        let max = MAX_BYTES / (1024 * 1024);
        return Err(unusable(format!("is larger than {max} MiB: split it")));
    }
    if bytes.starts_with(ZIP) {
        return Err(unusable(
            "is an Excel workbook or another archive: save it as \"CSV UTF-8\", and import that"
                .to_owned(),
        ));
    }
    if let Some(named) = encoding.filter(|named| is_contradicted(named, &bytes)) {
        let named = named.name();
        return Err(unusable(format!(
            "holds UTF-8 text and is not {named}: leave out --encoding"
        )));
    }
    let source = SourceFile::new(bytes, encoding);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    if source.bytes.iter().all(is_blank) {
        return Err(unusable("is empty".to_owned()));
    }
    Ok(source)
}

/// Finds an encoding by one of its names.
///
/// # Errors
/// The list of supported encodings.
pub(super) fn parse_encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label_no_replacement(name.as_bytes())
        .filter(|encoding| *encoding != encoding_rs::X_USER_DEFINED)
        .ok_or_else(|| {
            "supported are utf-8, utf-16le, utf-16be, windows-1250 to windows-1258, windows-874, \
             iso-8859-1 to iso-8859-16, macintosh, koi8-r, koi8-u, ibm866, gbk, gb18030, big5, \
             shift_jis, euc-jp, iso-2022-jp and euc-kr; convert a file in another one, such as \
             cp437 or cp850, first: iconv -f CP850 -t UTF-8"
                .to_owned()
        })
}

impl SourceFile {
    /// Wraps the bytes of a file. A byte order mark takes precedence over `named`.
    pub(super) fn new(mut bytes: Vec<u8>, named: Option<&'static Encoding>) -> Self {
        let encoding = find_encoding(&bytes, named);
        if let Some((_, mark_length)) = Encoding::for_bom(&bytes) {
            bytes.drain(..mark_length);
        }
        let Some(encoding) = encoding else {
            let named = None;
            return Self { bytes, named };
        };
        let is_converted = encoding != UTF_8 && !encoding.is_single_byte();
        if is_converted {
            let (text, _) = encoding.decode_without_bom_handling(&bytes);
            bytes = text.into_owned().into_bytes();
        }
        Self {
            bytes,
            named: Some(Named {
                encoding,
                is_converted,
            }),
        }
    }

    /// Returns the decoder of `texts` of the file.
    pub(super) fn decoder<'t>(&self, texts: impl IntoIterator<Item = &'t [u8]>) -> Decoder {
        match self.named {
            Some(named) if named.is_converted => Decoder::Named(UTF_8),
            Some(named) => Decoder::Named(named.encoding),
            None => {
                let mut evidence = Evidence::default();
                for text in texts {
                    evidence.add(text);
                }
                evidence.decoder()
            }
        }
    }

    /// Returns true if the bytes were converted to UTF-8, even if the text names another encoding.
    pub(super) fn is_converted(&self) -> bool {
        self.named.is_some_and(|named| named.is_converted)
    }

    /// Returns the name of the encoding that the file was read in.
    pub(super) fn encoding_name(&self, decoder: Decoder) -> &'static str {
        match (self.named, decoder) {
            (Some(named), _) => named.encoding.name(),
            (None, Decoder::Unknown) => "an unknown encoding",
            (None, Decoder::Windows1252 { .. }) => WINDOWS_1252.name(),
            (None, Decoder::Utf8 | Decoder::Named(_)) => UTF_8.name(),
        }
    }

    /// Writes the mark of the file of rejected rows. Without it, the encoding of the rejected rows
    /// alone could be detected differently.
    pub(super) fn write_mark(&self, out: &mut impl Write, decoder: Decoder) -> io::Result<()> {
        match (self.utf_16(), decoder) {
            (Some(_), _) => self.write(out, UTF_16_MARK.encode_utf8(&mut [0; 4]).as_bytes()),
            (None, Decoder::Utf8) => out.write_all(UTF_8_MARK),
            (None, Decoder::Named(encoding)) if encoding == UTF_8 => out.write_all(UTF_8_MARK),
            (None, Decoder::Named(_) | Decoder::Windows1252 { .. } | Decoder::Unknown) => Ok(()),
        }
    }

    /// Writes a part of `bytes`, or ASCII text, in the encoding of the file.
    pub(super) fn write(&self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let Some(unit_bytes) = self.utf_16() else {
            return out.write_all(bytes);
        };
        // Converted bytes are UTF-8.
        for unit in String::from_utf8_lossy(bytes).encode_utf16() {
            out.write_all(&unit_bytes(unit))?;
        }
        Ok(())
    }

    fn utf_16(&self) -> Option<fn(u16) -> [u8; 2]> {
        let encoding = self.named?.encoding;
        if encoding == UTF_16LE {
            Some(u16::to_le_bytes)
        } else if encoding == UTF_16BE {
            Some(u16::to_be_bytes)
        } else {
            None
        }
    }
}

/// Returns true for UTF-8 under the name of a single-byte encoding: hardly any other text is valid
/// UTF-8. A mark takes precedence over both.
fn is_contradicted(named: &'static Encoding, bytes: &[u8]) -> bool {
    let is_utf_8 = !bytes.is_ascii() && utf_8(bytes).is_some();
    named.is_single_byte() && is_utf_8 && Encoding::for_bom(bytes).is_none()
}

/// Returns the encoding named by a mark or an option, or detected as UTF-16.
fn find_encoding(bytes: &[u8], named: Option<&'static Encoding>) -> Option<&'static Encoding> {
    let marked = Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
    marked.or(named).or_else(|| utf_16_without_mark(bytes))
}

/// Detects UTF-16 by two ASCII characters at the beginning, each with its zero byte.
fn utf_16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes.first_chunk::<4>()?.map(|byte| byte == 0) {
        [false, true, false, true] => Some(UTF_16LE),
        [true, false, true, false] => Some(UTF_16BE),
        _ => None,
    }
}

impl Evidence {
    fn add(&mut self, text: &[u8]) {
        if text.is_ascii() {
            return;
        }
        if utf_8(text).is_some() {
            self.has_utf_8 = true;
            return;
        }
        match certain_windows_1252(text) {
            Some(text) if text.contains(is_german) => self.has_german = true,
            Some(_) => self.others = self.others.max(Others::Likely),
            None => self.others = Others::Doubtful,
        }
    }

    /// Hardly any text in another encoding is valid UTF-8: if one text is, the rest is broken UTF-8.
    /// German letters prove windows-1252, unless some text cannot be windows-1252.
    fn decoder(self) -> Decoder {
        if self.has_utf_8 {
            Decoder::Utf8
        } else if self.has_german {
            let is_proven = self.others != Others::Doubtful;
            Decoder::Windows1252 { is_proven }
        } else if self.others != Others::Ascii {
            Decoder::Unknown
        } else {
            Decoder::Utf8
        }
    }
}

impl Decoder {
    /// Treats windows-1252 as proven unless text of rejected rows is doubtful: the file of rejected
    /// rows must be read with the same result as this one.
    pub(super) fn proven_unless(self, is_in_doubt: impl FnOnce(Self) -> bool) -> Self {
        let is_open = self == Self::Windows1252 { is_proven: false };
        if is_open && !is_in_doubt(self) {
            return Self::Windows1252 { is_proven: true };
        }
        self
    }

    /// Decodes a text, with U+FFFD for characters that are not certain.
    pub(super) fn decode(self, text: &[u8]) -> Cow<'_, str> {
        if text.is_ascii() {
            return String::from_utf8_lossy(text);
        }
        match self {
            Self::Named(encoding) => decode_named(encoding, text).into(),
            Self::Utf8 => utf_8(text).map_or_else(|| undecoded(text).into(), Cow::Borrowed),
            Self::Windows1252 { is_proven } => certain_windows_1252(text)
                .filter(|text| is_proven || text.contains(is_german))
                .unwrap_or_else(|| undecoded(text))
                .into(),
            Self::Unknown => undecoded(text).into(),
        }
    }
}

/// Decodes text in a named encoding. Bytes without a character become U+FFFD.
pub(super) fn decode_named(encoding: &'static Encoding, text: &[u8]) -> String {
    let (text, _) = encoding.decode_without_bom_handling(text);
    // Bytes that an encoding does not define become control characters.
    text.chars()
        .map(|c| if is_high_control(c) { UNREADABLE } else { c })
        .collect()
}

/// Returns text as UTF-8. Letters of N'Ko are treated as windows-1252: an ß before a quotation mark
/// or a dash has the same bytes.
pub(super) fn utf_8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.contains(is_nko))
}

fn is_nko(c: char) -> bool {
    ('\u{7C0}'..='\u{7FF}').contains(&c)
}

/// Returns true for text that is neither UTF-8 nor certainly windows-1252.
pub(super) fn is_doubtful(text: &[u8]) -> bool {
    !text.is_ascii() && utf_8(text).is_none() && certain_windows_1252(text).is_none()
}

/// Decodes text as windows-1252 if the [`SIMILAR`] encodings have the same characters, no part is
/// UTF-8, and no word could be Cyrillic or Greek.
fn certain_windows_1252(text: &[u8]) -> Option<String> {
    let decode = |encoding: &'static Encoding| encoding.decode_without_bom_handling(text).0;
    let western = decode(WINDOWS_1252);
    let is_same = |encoding| {
        let other = decode(encoding);
        let mut each = western.chars().zip(other.chars());
        each.all(|(western, other)| western == other || is_high_control(other))
    };
    let is_certain = !western.contains(is_high_control)
        && SIMILAR.into_iter().all(is_same)
        && !has_foreign_word(&western);
    (is_certain && !contains_utf_8(text)).then(|| western.into_owned())
}

/// Returns true if a word of several letters has no ASCII letter. Cyrillic encodings have letters
/// at the bytes of `×` and `÷` in windows-1252.
fn has_foreign_word(text: &str) -> bool {
    let is_word_char = |c: char| c.is_alphabetic() || matches!(c, '×' | '÷');
    let mut words = text.split(|c| !is_word_char(c));
    words.any(|word| word.chars().nth(1).is_some() && !word.contains(|c: char| c.is_ascii()))
}

/// Returns true if the text holds a multi-byte UTF-8 character other than N'Ko.
fn contains_utf_8(text: &[u8]) -> bool {
    let is_multi_byte = |c: char| !c.is_ascii() && !is_nko(c);
    text.utf8_chunks()
        .any(|chunk| chunk.valid().contains(is_multi_byte))
}

/// Returns the ASCII characters of a text, and U+FFFD for other bytes.
fn undecoded(text: &[u8]) -> String {
    let to_char = |byte: &u8| {
        if byte.is_ascii() {
            char::from(*byte)
        } else {
            UNREADABLE
        }
    };
    text.iter().map(to_char).collect()
}

fn is_german(c: char) -> bool {
    GERMAN.contains(c)
}

fn is_high_control(c: char) -> bool {
    ('\u{80}'..='\u{9F}').contains(&c)
}

#[cfg(test)]
mod tests;
