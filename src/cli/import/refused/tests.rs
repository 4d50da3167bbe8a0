//! Rejected rows are written as they stood, and rejected again until they are changed.

use proptest::{collection::vec, proptest, sample::select};
use rstest::rstest;

use super::*;
use crate::cli::import::{cells, rows::Content};

/// Why a row is rejected, whatever is on file.
fn why(sheet: &Sheet, row: &Row) -> Option<String> {
    match &row.content {
        Content::Fields(fields) => cells::contact_row(&sheet.header, fields).err(),
        Content::Damaged(damage) => Some(damage.clone()),
        Content::NoContact(_) => None,
    }
}

fn read(source: &Source, format: &Format) -> Sheet {
    match format {
        Format::Csv { .. } => Sheet::read(source, &[]),
        Format::Cards => vcards::read(source),
    }
    .unwrap()
}

/// The rejected rows of a file, as they are written.
fn written(source: &Source, sheet: &Sheet) -> Option<Vec<u8>> {
    let rows = sheet.rows.iter();
    let refused: Vec<_> = rows
        .filter_map(|row| {
            Some(Refused {
                row,
                reason: why(sheet, row)?,
            })
        })
        .collect();
    let mut out = Vec::new();
    write(&mut out, source, sheet, &refused).unwrap();
    (!refused.is_empty()).then_some(out)
}

/// That each rejected row is rejected again, alone and with the others, and nothing else is.
pub(in crate::cli::import) fn assert_rejected_again(source: &Source, sheet: &Sheet) {
    let Some(bytes) = written(source, sheet) else {
        return;
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let again = Source::new(bytes.clone(), None);
    let read = match &sheet.format {
        Format::Csv { .. } => Sheet::read(&again, &[]).unwrap(),
        Format::Cards => match vcards::read(&again) {
            Ok(sheet) => sheet,
            // Nothing but lines that are no part of a card.
            Err(_) => return,
        },
    };
    for row in &read.rows {
        let is_rejected = why(&read, row).is_some();
        let is_skipped = matches!(row.content, Content::NoContact(_));
        assert!(is_rejected || is_skipped, "{row:?} of {text:?}");
    }
}

#[rstest]
#[case::escaped_quotes(
    b"Kundennummer;Typ;Name\r\n\"K-1\";\"Standard\";\"Firma \\\"Blau\\\" GmbH\"\r\n",
    b"2;\"row: a quote is not closed, or is within a field\";\"K-1\";\"Standard\";\"Firma \\\"Blau\\\" GmbH\"\r\n"
)]
#[case::broken_utf_8(
    b"Kundennummer;Typ;Name\nK-1;Standard;K\xC3\xA4the\nK-1;;J\xF6rg\n",
    b";K-1;;J\xF6rg\r\n"
)]
#[case::windows(b"Kundennummer,Typ,Name\rK-1,,J\xF6rg", b",K-1,,J\xF6rg\r\n")]
#[case::of_an_earlier_run(
    b"line;reason;Kundennummer;Typ;Name\n17;\"types: \"\"x;\"\"\";K-1;;\"Anna\"\n",
    b"2;\"types: must hold at least one type\";K-1;;\"Anna\"\r\n"
)]
fn a_row_is_written_as_it_stood(#[case] file: &[u8], #[case] row: &[u8]) {
    let source = Source::new(file.to_vec(), None);
    let sheet = Sheet::read(&source, &[]).unwrap();
    let out = written(&source, &sheet).unwrap();
    assert!(out.ends_with(row), "{}", String::from_utf8_lossy(&out));
    assert_rejected_again(&source, &sheet);
    let again = Source::new(out.clone(), None);
    let sheet = read(&again, &sheet.format);
    let second = written(&again, &sheet).unwrap();
    // Except for the line.
    let after_line = |out: &[u8]| {
        out.iter()
            .rev()
            .take(row.len() - 2)
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(after_line(&out), after_line(&second));
}

#[test]
fn a_file_in_utf_16_gets_one_in_utf_16() {
    let text = "\u{FEFF}Kundennummer\tTyp\tName\r\nK-1\t\tJörg";
    let bytes: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let source = Source::new(bytes, None);
    let sheet = Sheet::read(&source, &[]).unwrap();
    let out = written(&source, &sheet).unwrap();
    let units: Vec<_> = out
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let expected = "\u{FEFF}line\treason\tKundennummer\tTyp\tName\r\n\
                    2\t\"types: must hold at least one type\"\tK-1\t\tJörg\r\n";
    assert_eq!(String::from_utf16(&units).unwrap(), expected);
}

#[test]
fn a_card_has_its_line_and_reason_in_it() {
    let card = "BEGIN:VCARD\nFN;CHARSET=latin1:J\u{F6}rg\n tail\nEND:VCARD";
    let stray = "END:VCARD";
    let file = format!("{stray}\n{card}\nBEGIN:VCARD\nFN:Anna\n");
    let bytes: Vec<u8> = file
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let source = Source::new(bytes, None);
    let sheet = vcards::read(&source).unwrap();
    let mut out = written(&source, &sheet).unwrap();
    for _ in 0..2 {
        let again = Source::new(out, None);
        let sheet = vcards::read(&again).unwrap();
        let lines: Vec<_> = sheet.rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 4, 10]);
        assert_rejected_again(&again, &sheet);
        out = written(&again, &sheet).unwrap();
        let text = String::from_utf8_lossy(&out);
        assert_eq!(
            text.matches("X-IMPORT-REASON:row: is no").count(),
            2,
            "{text}"
        );
        assert!(
            text.contains("BEGIN:VCARD\r\nX-IMPORT-LINE:4\r\n"),
            "{text}"
        );
        assert!(out.windows(8).any(|part| part == b"J\xF6rg\n ta"), "{text}");
    }
}

const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\"",
    b"\"\"",
    b";",
    b";",
    b";",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"K-1",
    b"Standard",
    b"Anna",
    b"K-1;Standard;Anna",
    b"\\\"",
    b"\xC3\xBC",
    b"\xFC",
    b"\x81",
    b"=",
    b",",
];

proptest! {
    #[test]
    fn what_is_rejected_is_rejected_again(tokens in vec(select(TOKENS), 1..40)) {
        let bytes = [b"Kundennummer;Typ;Name;Telefon\n".to_vec(), tokens.concat()].concat();
        let source = Source::new(bytes, None);
        let sheet = Sheet::read(&source, &[]).unwrap();
        assert_rejected_again(&source, &sheet);
    }
}
