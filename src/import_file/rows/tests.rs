//! Rows as spreadsheets write them, and as they break.

use rstest::rstest;

use super::*;

const HEADER: &str = "Kundennummer;Typ;Name\n";

fn rows(text: &str) -> Vec<Row> {
    Sheet::read(text).unwrap().rows
}

/// Line, fields, and what is said of its damage, of each row.
fn told(rows: &[Row]) -> Vec<(u64, Vec<&str>, &str)> {
    let told = |row: &'_ Row| -> &'static str {
        match &row.damage {
            None => "",
            Some(damage) if damage == BAD_QUOTES => "quotes",
            Some(damage) if damage.contains("no name") => "nameless",
            Some(_) => "width",
        }
    };
    rows.iter()
        .map(|row| (row.line, row.fields.iter().collect(), told(row)))
        .collect()
}

#[rstest]
#[case::semicolons("customer_number;types;display_name\nK-1;STANDARD;Groß, Anna\n")]
#[case::commas("customer_number,types,display_name\nK-1,STANDARD,\"Groß, Anna\"\n")]
#[case::tabs("customer_number\ttypes\tdisplay_name\nK-1\tSTANDARD\tGroß, Anna\n")]
#[case::as_excel_is_told("sep=;\r\ncustomer_number;types;display_name\r\nK-1;STANDARD;Groß, Anna")]
#[case::behind_empty_lines("\n\ncustomer_number;types;display_name\n\nK-1;STANDARD;Groß, Anna")]
fn the_delimiter_is_found_in_the_header(#[case] text: &str) {
    let rows = rows(text);
    let fields: Vec<_> = rows[0].fields.iter().collect();
    assert_eq!(fields, ["K-1", "STANDARD", "Groß, Anna"]);
    assert_eq!(rows.len(), 1);
}

#[rstest]
#[case("\n")]
#[case("\r\n")]
#[case("\r")]
fn a_row_is_known_by_the_line_where_it_begins(#[case] line_break: &str) {
    let text = format!("{HEADER}K-1;a;\"b\nc\"\n;;\n\nK-2;\"\";\"d \"\"e\"\"\"\nK-3;f;g");
    let text = text.replace('\n', line_break);
    assert_eq!(
        told(&rows(&text)),
        [
            (2, vec!["K-1", "a", &format!("b{line_break}c")], ""),
            (6, vec!["K-2", "", "d \"e\""], ""),
            (7, vec!["K-3", "f", "g"], ""),
        ]
    );
}

#[test]
fn a_quote_that_is_not_closed_takes_no_other_row_along() {
    let text = format!(
        "{HEADER}K-1;\"a;b\nK-2;\"a\";b\nK-3;a \"b\";c\nK-4;a;\"b\" c\nK-5;a;\"b\nK-6;a;b\n"
    );
    assert_eq!(
        told(&rows(&text)),
        [
            (2, vec!["K-1", "a;b"], "quotes"),
            (3, vec!["K-2", "a", "b"], ""),
            (4, vec!["K-3", "a \"b\"", "c"], ""),
            (5, vec!["K-4", "a", "b c"], "quotes"),
            (6, vec!["K-5", "a", "b"], "quotes"),
            (7, vec!["K-6", "a", "b"], ""),
        ]
    );
}

#[test]
fn a_wrong_number_of_fields_takes_no_other_row_along() {
    let text = format!("{HEADER}K-1;a\nK-2;a;\"b\nK-3;a;b\";c\nK-4;a;b;c\n;\n\"\nK-5;a;b\n");
    assert_eq!(
        told(&rows(&text)),
        [
            (2, vec!["K-1", "a"], "width"),
            // Taken as one, they have four fields.
            (3, vec!["K-2", "a", "b"], "width"),
            (4, vec!["K-3", "a", "b\"", "c"], "width"),
            (5, vec!["K-4", "a", "b", "c"], "width"),
            (7, vec![""], "quotes"),
            (8, vec!["K-5", "a", "b"], ""),
        ]
    );
    let damage = rows(&text)[0].damage.clone().unwrap();
    assert_eq!(damage, "row: has 2 fields, the header has 3");
}

/// Excel writes the separators of columns that were used once, and not in all rows.
#[test]
fn columns_without_a_name_may_be_there_and_hold_nothing() {
    let text = "Kundennummer;;Typ;Name;;; \n\
        K-1;;a;b;;;\nK-2; ;a;b\nK-3;;a;b;;c;\nK-4;c;a;b\nK-5;;a\nK-6;;a;b;;;;\n;;;;;;\n";
    assert_eq!(
        told(&rows(text)),
        [
            (2, vec!["K-1", "", "a", "b", "", "", ""], ""),
            (3, vec!["K-2", " ", "a", "b"], ""),
            (4, vec!["K-3", "", "a", "b", "", "c", ""], "nameless"),
            (5, vec!["K-4", "c", "a", "b"], "nameless"),
            (6, vec!["K-5", "", "a"], "width"),
            (7, vec!["K-6", "", "a", "b", "", "", "", ""], "width"),
        ]
    );
    let damage = rows(text)[2].damage.clone().unwrap();
    assert_eq!(damage, "row: field 6 has a value, and its column no name");
}

#[test]
fn a_long_field_ends_somewhere() {
    let long = "x".repeat(LONGEST_FIELD);
    let text = format!("{HEADER}K-1;a;\"{long}\"\n");
    assert_eq!(told(&rows(&text))[0].2, "quotes");
}

#[test]
fn a_file_without_rows_has_none() {
    assert_eq!(rows(HEADER.trim()), []);
    assert!(Sheet::read("").is_err());
}
