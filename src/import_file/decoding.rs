//! The bytes of a file as text: UTF-8, UTF-16 with its mark, or Windows-1252. What cannot be
//! read becomes U+FFFD, so that only its row is refused.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use crate::command_files::cannot;

/// The file is read whole: rows of a customer need not be neighbours.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// How a workbook begins, whatever its name says.
const ZIP: &[u8] = b"PK\x03\x04";
/// Stands where bytes cannot be read.
pub(super) const UNREADABLE: char = '\u{FFFD}';

/// A file as text.
pub(super) struct Decoded {
    pub(super) text: String,
    /// How it was read, by the name that browsers use.
    pub(super) encoding: &'static str,
    /// Whether it was written for programs that take a file without a mark for another encoding.
    pub(super) is_marked: bool,
}

/// # Errors
/// A line that says why the file cannot be read, or that it is too large, empty or a workbook.
pub(super) fn read(path: &Path) -> Result<Decoded, String> {
    let failed = |error: io::Error| cannot("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        let most = MAX_BYTES / (1024 * 1024);
        let path = path.display();
        return Err(format!(
            "{path} is larger than {most} MiB: take it in parts"
        ));
    }
    if bytes.starts_with(ZIP) {
        let path = path.display();
        return Err(format!(
            "{path} is an Excel workbook or another archive: save it as \"CSV UTF-8\", and import that"
        ));
    }
    let decoded = decode(bytes);
    if decoded.text.trim().is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(decoded)
}

fn decode(bytes: Vec<u8>) -> Decoded {
    if let Some((encoding, mark_length)) = Encoding::for_bom(&bytes) {
        let text = bytes.get(mark_length..).unwrap_or_default();
        let (text, _) = encoding.decode_without_bom_handling(text);
        return Decoded {
            text: text.into_owned(),
            encoding: encoding.name(),
            is_marked: true,
        };
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            return Decoded {
                text,
                encoding: UTF_8.name(),
                is_marked: false,
            };
        }
        Err(error) => error.into_bytes(),
    };
    let is_utf_8 = is_mostly_utf_8(&bytes);
    let encoding = if is_utf_8 { UTF_8 } else { WINDOWS_1252 };
    let (text, _) = encoding.decode_without_bom_handling(&bytes);
    Decoded {
        text: text.into_owned(),
        encoding: encoding.name(),
        is_marked: !is_utf_8,
    }
}

/// The names of the columns tell, where one goes beyond ASCII; else the greater part of such lines. The
/// others are broken then. Hardly any text passes for UTF-8 that is not.
fn is_mostly_utf_8(bytes: &[u8]) -> bool {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let is_utf_8 = |line: &&[u8]| std::str::from_utf8(line).is_ok();
    if let Some(header) = lines().next().filter(|line| !line.is_ascii()) {
        return is_utf_8(&header);
    }
    let beyond_ascii = lines().filter(|line| !line.is_ascii());
    let (good, bad): (Vec<_>, Vec<_>) = beyond_ascii.partition(is_utf_8);
    !good.is_empty() && good.len() >= bad.len()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TEXT: &str = "Käthe Groß; 5 €\r\nJörg";

    fn utf_16(unit_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(TEXT.encode_utf16());
        units.flat_map(unit_bytes).collect()
    }

    #[rstest]
    #[case::utf_8(TEXT.as_bytes().to_vec(), "UTF-8", false)]
    #[case::utf_8_with_its_mark([b"\xEF\xBB\xBF", TEXT.as_bytes()].concat(), "UTF-8", true)]
    #[case::utf_16_le(utf_16(u16::to_le_bytes), "UTF-16LE", true)]
    #[case::utf_16_be(utf_16(u16::to_be_bytes), "UTF-16BE", true)]
    #[case::windows(b"K\xE4the Gro\xDF; 5 \x80\r\nJ\xF6rg".to_vec(), "windows-1252", true)]
    fn the_encodings_of_spreadsheets_are_read(
        #[case] bytes: Vec<u8>,
        #[case] encoding: &str,
        #[case] is_marked: bool,
    ) {
        let decoded = decode(bytes);
        assert_eq!(decoded.text, TEXT);
        assert_eq!(decoded.encoding, encoding);
        assert_eq!(decoded.is_marked, is_marked);
    }

    #[rstest]
    #[case::by_most_lines(b"Name\nK\xC3\xA4the\nJ\xF6rg\nAnna", "Name\nKäthe\nJ\u{FFFD}rg\nAnna")]
    #[case::by_the_header(
        b"Gr\xC3\xB6\xC3\x9Fe\nJ\xF6rg\nJ\xF6rg",
        "Größe\nJ\u{FFFD}rg\nJ\u{FFFD}rg"
    )]
    #[case::windows_by_the_header(b"Gr\xF6\xDFe\n\xC3\xA4\n\xC3\xA4", "Größe\nÃ¤\nÃ¤")]
    fn a_broken_line_does_not_change_how_others_are_read(#[case] bytes: &[u8], #[case] text: &str) {
        assert_eq!(decode(bytes.to_vec()).text, text);
    }

    #[test]
    fn half_a_character_of_utf_16_is_unreadable_and_nothing_else() {
        let mut bytes = utf_16(u16::to_le_bytes);
        bytes.extend([0x00, 0xD8, b'a', 0, b'b']);
        let text = decode(bytes).text;
        assert_eq!(text, format!("{TEXT}\u{FFFD}a\u{FFFD}"));
    }
}
