//! Rows as spreadsheets write them, valid and malformed.

use rstest::rstest;

use super::*;

const HEADER: &str = "Kundennummer;Typ;Name\n";

fn read(text: &str) -> Result<Table, String> {
    Table::read(&SourceFile::new(text.into(), None), &[])
}

fn rows(text: &str) -> Vec<Row> {
    read(text).unwrap().rows
}

fn fields(row: &Row) -> Vec<&str> {
    match &row.content {
        Content::Fields(fields) => fields.iter().collect(),
        Content::Unreadable(_) | Content::NoContact(_) => Vec::new(),
    }
}

/// Returns the line of each row, its fields or else its bytes, and the kind of its parse error.
fn summary<'t>(text: &'t str, rows: &'t [Row]) -> Vec<(u64, Vec<&'t str>, &'static str)> {
    let summary_of = |row: &'t Row| match &row.content {
        Content::Fields(fields) => (row.line, fields.iter().collect(), ""),
        Content::NoContact(_) => (row.line, Vec::new(), "no contact"),
        Content::Unreadable(reason) => {
            let kind = if reason == BAD_QUOTES {
                "quotes"
            } else if reason.contains("no name") {
                "nameless"
            } else {
                "width"
            };
            (row.line, vec![&text[row.raw.clone()]], kind)
        }
    };
    rows.iter().map(summary_of).collect()
}

#[rstest]
#[case::semicolons("customer_number;types;display_name\nK-1;STANDARD;Groß, Anna\n")]
#[case::commas("customer_number,types,display_name\nK-1,STANDARD,\"Groß, Anna\"\n")]
#[case::tabs("customer_number\ttypes\tdisplay_name\nK-1\tSTANDARD\tGroß, Anna\n")]
#[case::bars("customer_number|types|display_name\nK-1|STANDARD|Groß, Anna\n")]
#[case::declared_by_excel("sep=;\r\ncustomer_number;types;display_name\r\nK-1;STANDARD;Groß, Anna")]
#[case::after_empty_lines("\n\ncustomer_number;types;display_name\n\nK-1;STANDARD;Groß, Anna")]
#[case::after_titles(
    "Kunden, 2026\n\n\"a\"b\nKunde;Kd-Nr\nKd-Nr;Rolle;Name\nK-1;STANDARD;Groß, Anna"
)]
fn the_delimiter_is_found_in_the_header(#[case] text: &str) {
    let rows = rows(text);
    assert_eq!(fields(&rows[0]), ["K-1", "STANDARD", "Groß, Anna"]);
    assert_eq!(rows.len(), 1);
}

#[rstest]
#[case("\n")]
#[case("\r\n")]
#[case("\r")]
fn line_of_a_row_is_where_it_begins(#[case] line_break: &str) {
    let text = format!("{HEADER}K-1;a;\"b\nc\"\n;;\n\nK-2;\"\";\"d \"\"e\"\"\"\nK-3;f;g");
    let text = text.replace('\n', line_break);
    assert_eq!(
        summary(&text, &rows(&text)),
        [
            (2, vec!["K-1", "a", &format!("b{line_break}c")], ""),
            (6, vec!["K-2", "", "d \"e\""], ""),
            (7, vec!["K-3", "f", "g"], ""),
        ]
    );
}

#[test]
fn unclosed_quote_rejects_its_own_row_only() {
    let text = format!(
        "{HEADER}K-1;\"a;b\nK-2;\"a\";b\nK-3;a \"b\";c\nK-4;a;\"b\" c\nK-5;a;\"b\nK-6;a;b\n"
    );
    assert_eq!(
        summary(&text, &rows(&text)),
        [
            (2, vec!["K-1;\"a;b"], "quotes"),
            (3, vec!["K-2", "a", "b"], ""),
            (4, vec!["K-3", "a \"b\"", "c"], ""),
            (5, vec!["K-4;a;\"b\" c"], "quotes"),
            (6, vec!["K-5;a;\"b"], "quotes"),
            (7, vec!["K-6", "a", "b"], ""),
        ]
    );
}

#[test]
fn wrong_number_of_fields_rejects_its_own_row_only() {
    let text = format!(
        "{HEADER}K-1;a\nK-2;a;\"b\nK-3;a;b\";c\nK-4;a;b;c\n;\n\"\nK-5;a;b\n\
         K-6;\"a\nK-7;a;b\"\nK-8;\"a\nb\"\n"
    );
    assert_eq!(
        summary(&text, &rows(&text)),
        [
            (2, vec!["K-1", "a"], ""),
            // Read as one record, they have four fields.
            (3, vec!["K-2;a;\"b"], "width"),
            (4, vec!["K-3;a;b\";c"], "width"),
            (5, vec!["K-4;a;b;c"], "width"),
            (7, vec!["\""], "quotes"),
            (8, vec!["K-5", "a", "b"], ""),
            // Read as one record, the second line has fields of its own.
            (9, vec!["K-6;\"a"], "width"),
            (10, vec!["K-7", "a", "b\""], ""),
            (11, vec!["K-8", "a\nb"], ""),
        ]
    );
    let Content::Unreadable(reason) = &rows(&text)[3].content else {
        panic!("it has four fields");
    };
    assert_eq!(reason, "row: has 4 fields, the header has 3");
}

/// Excel writes the separators of columns that were used once, and not in all rows.
#[test]
fn trailing_empty_cells_may_be_missing_or_surplus() {
    let text = "Kundennummer;;Typ;Name;;; \n\
        K-1;;a;b;;;\nK-2; ;a;b\nK-3;;a;b;;c;\nK-4;c;a;b\nK-5;;a\nK-6;;a;b;;;; \n;;;;;;\n\
        K-7;;a;b;;;;c\n";
    assert_eq!(
        summary(text, &rows(text)),
        [
            (2, vec!["K-1", "", "a", "b", "", "", ""], ""),
            (3, vec!["K-2", " ", "a", "b"], ""),
            (4, vec!["K-3;;a;b;;c;"], "nameless"),
            (5, vec!["K-4;c;a;b"], "nameless"),
            (6, vec!["K-5", "", "a"], ""),
            (7, vec!["K-6", "", "a", "b", "", "", "", " "], ""),
            (9, vec!["K-7;;a;b;;;;c"], "width"),
        ]
    );
}

#[test]
fn dos_end_of_file_characters_are_no_row() {
    let text = format!("{HEADER}K-1;a;b\r\n\x1A\x1A");
    assert_eq!(
        summary(&text, &rows(&text)),
        [(2, vec!["K-1", "a", "b"], "")]
    );
}

#[test]
fn uncertain_text_in_rejected_rows_keeps_the_doubt() {
    let name = |before: &[u8], row: &[u8]| {
        let header = b"Kundennummer;Typ;Name;Ort\nK-1;a;M\xFCller;\n";
        let file = [before, header, row, b"\nK-3;a;G\xF3mez;"].concat();
        let source = SourceFile::new(file, None);
        let table = Table::read(&source, &["*=-".parse().unwrap()]).unwrap();
        fields(table.rows.last().unwrap())[2].to_owned()
    };
    assert_eq!(name(b"", b"K-2;a;b;Y\xFDld\xFDz"), "Gómez");
    assert_eq!(name(b"Y\xFDld\xFDz\n", b""), "Gómez");
    assert_eq!(name(b"", b"K-2;a;Y\xFDld\xFDz;b"), "G\u{FFFD}mez");
    assert_eq!(name(b"", b"K-2;a;\"Y\xFDld\xFDz;b"), "G\u{FFFD}mez");
}

#[test]
fn quoted_field_longer_than_the_limit_is_rejected() {
    let long = "x".repeat(LONGEST_FIELD);
    let text = format!("{HEADER}K-1;a;\"{long}\"\n");
    assert_eq!(summary(&text, &rows(&text))[0].2, "quotes");
}

#[test]
fn file_with_only_a_header_has_no_rows() {
    assert_eq!(rows(HEADER.trim()), []);
    assert!(read("").is_err());
}

#[rstest]
#[case::no_header("K-1;x;y\n", "line 1 lacks the column(s) customer_number")]
#[case::best_line(
    "Kunden\nKundennummer;Name;Mail\nK-1;x\n",
    "line 2 lacks the column(s) types"
)]
#[case::unknown("\nKundennummer;Typ;Name;Fax\n", "line 2: unknown column(s): \"Fax\"")]
fn error_names_the_line_that_resembles_a_header_most(#[case] text: &str, #[case] why: &str) {
    let problem = read(text).err().unwrap();
    assert!(problem.contains(why), "{problem}");
}

#[test]
fn undecodable_header_is_rejected_despite_ignored_columns() {
    let file = b"Kundennummer;Typ;Name;Einschr\xE4nkungen\nK-1;Standard;K\xC3\xA4the;x\n";
    let source = SourceFile::new(file.to_vec(), None);
    let problem = Table::read(&source, &["*=-".parse().unwrap()])
        .err()
        .unwrap();
    assert!(
        problem.contains("name the file's encoding with --encoding"),
        "{problem}"
    );
}

#[test]
fn too_large_record_of_many_lines_is_rejected_as_a_whole() {
    let field = format!(";\"{}\n\"", "x".repeat(LONGEST_FIELD / 2));
    let record = format!("K-1;STANDARD;Anna{}", field.repeat(40));
    let rows = rows(&format!("{HEADER}{record}\nK-2;STANDARD;Berta\n"));
    assert_eq!(rows[0].content, Content::Unreadable(TOO_LARGE.to_owned()));
    assert_eq!(rows[0].raw.len(), record.len());
    assert_eq!(fields(&rows[1]), ["K-2", "STANDARD", "Berta"]);
    assert_eq!(rows.len(), 2);
}

#[rstest]
#[case::in_a_cell("K-1;STANDARD;\"", "\";x\n")]
#[case::of_rows("K-1;STANDARD;Anna\n", "K-2;STANDARD;Berta\n")]
fn file_with_too_many_lines_is_rejected(#[case] start: &str, #[case] end: &str) {
    let text = [HEADER, start, &"x\n".repeat(MAX_ROWS), end].concat();
    let problem = Table::read(&SourceFile::new(text.into(), None), &[]).err();
    assert_eq!(
        problem.as_deref(),
        Some("has more than 1,000,000 lines: split it")
    );
}
