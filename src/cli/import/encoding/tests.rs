//! Files in every encoding that is detected or named.

use rstest::rstest;

use super::*;

const TEXT: &str = "Käthe Groß; 5 €\r\nJörg";

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

/// Returns the text of a file, decoded line by line, and the name of its encoding.
fn decode(bytes: &[u8], named: Option<&'static Encoding>) -> (String, &'static str) {
    let source = SourceFile::new(bytes.to_vec(), named);
    let decoder = source.decoder(lines(&source.bytes));
    let texts: Vec<_> = lines(&source.bytes)
        .map(|line| decoder.decode(line))
        .collect();
    (texts.join("\n"), source.encoding_name(decoder))
}

fn utf_16(text: &str, unit_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit_bytes).collect()
}

#[rstest]
#[case::utf_8(TEXT.as_bytes().to_vec(), "UTF-8")]
#[case::utf_8_with_its_mark([UTF_8_MARK, TEXT.as_bytes()].concat(), "UTF-8")]
#[case::utf_16_le(utf_16(&format!("\u{FEFF}{TEXT}"), u16::to_le_bytes), "UTF-16LE")]
#[case::utf_16_be(utf_16(&format!("\u{FEFF}{TEXT}"), u16::to_be_bytes), "UTF-16BE")]
#[case::utf_16_le_without_mark(utf_16(TEXT, u16::to_le_bytes), "UTF-16LE")]
#[case::utf_16_be_without_mark(utf_16(TEXT, u16::to_be_bytes), "UTF-16BE")]
#[case::windows(b"K\xE4the Gro\xDF; 5 \x80\r\nJ\xF6rg".to_vec(), "windows-1252")]
fn encodings_of_spreadsheets_are_detected(#[case] bytes: Vec<u8>, #[case] encoding: &str) {
    assert_eq!(decode(&bytes, None), (TEXT.to_owned(), encoding));
}

#[rstest]
#[case::line_of_another_encoding(b"K\xC3\xA4the\nJ\xF6rg\nAnna", "Käthe\nJ\u{FFFD}rg\nAnna")]
#[case::most_lines_broken(b"\xC3\xA4\nJ\xF6rg\nJ\xF6rg", "ä\nJ\u{FFFD}rg\nJ\u{FFFD}rg")]
#[case::character_cut_short(b"M\xC3\xBCller\xC3", "M\u{FFFD}\u{FFFD}ller\u{FFFD}")]
#[case::both_in_one_line(b"J\xF6rg M\xC3\xBCller", "J\u{FFFD}rg M\u{FFFD}\u{FFFD}ller")]
#[case::cp850(
    b"M\x81ller\nJ\x84ger\nWei\xE1",
    "M\u{FFFD}ller\nJ\u{FFFD}ger\nWei\u{FFFD}"
)]
#[case::cp850_sharp_s_alone(b"Wei\xE1", "Wei\u{FFFD}")]
#[case::two_encodings(b"M\xFCller\nM\x81ller\nWei\xE1", "Müller\nM\u{FFFD}ller\nWei\u{FFFD}")]
#[case::mac_roman(
    b"M\x9Fller\nGro\xA7\nJ\x8Ager",
    "M\u{FFFD}ller\nGro\u{FFFD}\nJ\u{FFFD}ger"
)]
#[case::windows_1250(b"Dvo\xF8\xE1k\nM\xFCller", "Dvo\u{FFFD}\u{FFFD}k\nMüller")]
#[case::windows_1252_undefined(b"M\xFCller\nA\x81", "Müller\nA\u{FFFD}")]
#[case::turkish(
    b"M\xFCller\nG\xFCl Y\xFDld\xFDz",
    "Müller\nG\u{FFFD}l Y\u{FFFD}ld\u{FFFD}z"
)]
#[case::baltic(b"M\xE2ra M\xFCller", "M\u{FFFD}ra M\u{FFFD}ller")]
#[case::cyrillic(b"\xDF\xED", "\u{FFFD}\u{FFFD}")]
#[case::koi8(b"\xD1\xCE \xE4\xD5", "\u{FFFD}\u{FFFD} \u{FFFD}\u{FFFD}")]
#[case::greek(b"\xC4\xDC\xF6\xED\xE7", "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}")]
#[case::euro_of_latin_9(b"M\xFCller 5 \xA4", "M\u{FFFD}ller 5 \u{FFFD}")]
fn uncertain_characters_are_not_decoded(#[case] bytes: &[u8], #[case] text: &str) {
    assert_eq!(decode(bytes, None).0, text);
}

#[rstest]
#[case::with_a_proof(b"M\xFCller\nG\xF3mez, \x80 5 \x84a\x93", "Müller\nGómez, € 5 „a“")]
#[case::all_of_german(
    b"\xC4. Gro\xDF, \xD6de \xDCb\xE4 Ren\xE9 \xFC",
    "Ä. Groß, Öde Übä René ü"
)]
#[case::sharp_s_before_a_dash(b"M\xFCller\nWei\xDF\x96Blau", "Müller\nWeiß–Blau")]
fn windows_1252_is_decoded_if_proven(#[case] bytes: &[u8], #[case] text: &str) {
    assert_eq!(decode(bytes, None).0, text);
}

#[rstest]
#[case("macintosh", b"M\x9Fller Gro\xA7", "Müller Groß", "macintosh")]
#[case("ISO-8859-15", b"Gro\xDF \xA4", "Groß €", "ISO-8859-15")]
#[case("latin1", b"S\xF8ren", "Søren", "windows-1252")]
#[case("windows-1250", b"Dvo\xF8\xE1k", "Dvořák", "windows-1250")]
#[case("shift_jis", b"\x83\x65", "テ", "Shift_JIS")]
#[case("utf-8", b"J\xF6rg", "J\u{FFFD}rg", "UTF-8")]
#[case("windows-1252", b"A\x81", "A\u{FFFD}", "windows-1252")]
#[case::mark_is_more_certain("macintosh", b"\xEF\xBB\xBF\xC3\xA4", "ä", "UTF-8")]
fn named_encoding_is_used(
    #[case] name: &str,
    #[case] bytes: &[u8],
    #[case] text: &str,
    #[case] encoding: &str,
) {
    let named = parse_encoding(name).unwrap();
    assert_eq!(decode(bytes, Some(named)), (text.to_owned(), encoding));
}

#[rstest]
#[case("latin1", b"K\xC3\xA4the", true)]
#[case("latin1", b"K\xE4the", false)]
#[case("latin1", b"K\xC3\xA4the J\xF6rg", false)]
#[case("latin1", b"\xEF\xBB\xBFK\xC3\xA4the", false)]
#[case("utf-8", b"K\xC3\xA4the", false)]
#[case("latin1", b"Anna", false)]
fn utf_8_contradicts_a_named_single_byte_encoding(
    #[case] name: &str,
    #[case] bytes: &[u8],
    #[case] expected: bool,
) {
    assert_eq!(
        is_contradicted(parse_encoding(name).unwrap(), bytes),
        expected
    );
}

#[rstest]
#[case("cp850")]
#[case("cp437")]
#[case("x-user-defined")]
#[case("hz-gb-2312")]
#[case("")]
fn an_unsupported_encoding_lists_those_that_are(#[case] name: &str) {
    let why = parse_encoding(name).unwrap_err();
    assert!(why.contains("windows-1250 to windows-1258"), "{why}");
}

#[test]
fn half_a_character_of_utf_16_is_unreadable_and_nothing_else() {
    let mut bytes = utf_16(&format!("\u{FEFF}{TEXT}"), u16::to_le_bytes);
    bytes.extend([0x00, 0xD8, b'a', 0, b'b']);
    assert_eq!(decode(&bytes, None).0, format!("{TEXT}\u{FFFD}a\u{FFFD}"));
}

#[rstest]
#[case::utf_16([0xFF, 0xFE, b'a', 0, 0xE4, 0])]
#[case::utf_8_with_its_mark([0xEF, 0xBB, 0xBF, b'a', 0xC3, 0xA4])]
#[case::windows([b'a', 0xE4, 0xF6, 0xFC, 0xDF, 0xE9])]
fn text_is_written_in_its_own_encoding(#[case] bytes: [u8; 6]) {
    let source = SourceFile::new(bytes.to_vec(), None);
    let decoder = source.decoder([source.bytes.as_slice()]);
    let mut written = Vec::new();
    source.write_mark(&mut written, decoder).unwrap();
    source.write(&mut written, &source.bytes).unwrap();
    assert_eq!(written, bytes);
}
