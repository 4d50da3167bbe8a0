//! Rejected rows are written unchanged, and rejected again until they are corrected.

use proptest::{collection::vec, proptest, sample::select};
use rstest::rstest;

use super::*;
use crate::cli::import::{cells, rows::Content};

/// Returns the reason why a row is rejected without a database.
fn rejection(table: &Table, row: &Row) -> Option<String> {
    match &row.content {
        Content::Fields(fields) => cells::contact_row(&table.header, fields).err(),
        Content::Unreadable(reason) => Some(reason.clone()),
        Content::NoContact(_) => None,
    }
}

fn read(source: &SourceFile, format: &Format) -> Table {
    match format {
        Format::Csv { .. } => Table::read(source, &[]),
        Format::Vcards => vcards::read(source),
    }
    .unwrap()
}

/// Returns the file of rejected rows, if there are any.
fn written(source: &SourceFile, table: &Table) -> Option<Vec<u8>> {
    let rows = table.rows.iter();
    let rejects: Vec<_> = rows
        .filter_map(|row| {
            Some(Reject {
                row,
                reason: rejection(table, row)?,
            })
        })
        .collect();
    let mut out = Vec::new();
    write(&mut out, source, table, &rejects).unwrap();
    (!rejects.is_empty()).then_some(out)
}

/// Asserts that the file of rejected rows contains only rows that are rejected again.
pub(crate) fn assert_rejected_again(source: &SourceFile, table: &Table) {
    let Some(bytes) = written(source, table) else {
        return;
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let again = SourceFile::new(bytes.clone(), None);
    let read = match &table.format {
        Format::Csv { .. } => Table::read(&again, &[]).unwrap(),
        Format::Vcards => match vcards::read(&again) {
            Ok(table) => table,
            // No line is part of a card.
            Err(_) => return,
        },
    };
    for row in &read.rows {
        let is_rejected = rejection(&read, row).is_some();
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
fn row_is_written_byte_for_byte(#[case] file: &[u8], #[case] row: &[u8]) {
    let source = SourceFile::new(file.to_vec(), None);
    let table = Table::read(&source, &[]).unwrap();
    let out = written(&source, &table).unwrap();
    assert!(out.ends_with(row), "{}", String::from_utf8_lossy(&out));
    assert_rejected_again(&source, &table);
    let again = SourceFile::new(out.clone(), None);
    let table = read(&again, &table.format);
    let second = written(&again, &table).unwrap();
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
fn rejects_of_a_utf_16_file_are_utf_16() {
    let text = "\u{FEFF}Kundennummer\tTyp\tName\r\nK-1\t\tJörg";
    let bytes: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let source = SourceFile::new(bytes, None);
    let table = Table::read(&source, &[]).unwrap();
    let out = written(&source, &table).unwrap();
    let units: Vec<_> = out
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let expected = "\u{FEFF}line\treason\tKundennummer\tTyp\tName\r\n\
                    2\t\"types: must hold at least one type\"\tK-1\t\tJörg\r\n";
    assert_eq!(String::from_utf16(&units).unwrap(), expected);
}

#[test]
fn rejected_card_holds_its_line_and_reason() {
    let card = "BEGIN:VCARD\nFN;CHARSET=latin1:J\u{F6}rg\n tail\nEND:VCARD";
    let stray = "END:VCARD";
    let file = format!("{stray}\n{card}\nBEGIN:VCARD\nFN:Anna\n");
    let bytes: Vec<u8> = file
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let source = SourceFile::new(bytes, None);
    let table = vcards::read(&source).unwrap();
    let mut out = written(&source, &table).unwrap();
    for _ in 0..2 {
        let again = SourceFile::new(out, None);
        let table = vcards::read(&again).unwrap();
        let lines: Vec<_> = table.rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 4, 10]);
        assert_rejected_again(&again, &table);
        out = written(&again, &table).unwrap();
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
    fn rejected_rows_are_rejected_again(tokens in vec(select(TOKENS), 1..40)) {
        let bytes = [b"Kundennummer;Typ;Name;Telefon\n".to_vec(), tokens.concat()].concat();
        let source = SourceFile::new(bytes, None);
        let table = Table::read(&source, &[]).unwrap();
        assert_rejected_again(&source, &table);
    }
}
