//! Rows and lines that are far larger than those of any contact.

use std::fs;

use rstest::rstest;

use super::{REFUSED, assert_says, place_with_samples};
use crate::process::Backend;

/// Larger than a row may be.
const BYTES: usize = 3 * 1024 * 1024;
const REASON: &str = "row: must be at most 1 MiB; a longer line is cut off here";
const HEADER: &str = "customer_number;types;display_name;email\n";
const CARD: &str = "BEGIN:VCARD\nVERSION:3.0\nROLE:Technik\nX-CUSTOMER-NUMBER:K-1001\n";

fn row(name: &str) -> String {
    format!("K-1001;TECHNICAL;{name};\n")
}

fn card(name: &str) -> String {
    format!("{CARD}FN:{name}\nEND:VCARD\n")
}

#[rstest]
#[case::of_a_plain_cell("contacts.csv", HEADER, row, (3, "contacts.refused.csv"), "")]
#[case::of_a_cell_in_quotes("contacts.csv", HEADER, row, (3, "contacts.refused.csv"), "\"")]
#[case::of_a_card("contacts.vcf", "", card, (7, "contacts.refused.vcf"), "")]
#[tokio::test]
async fn only_the_row_that_is_too_large_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] name: &str,
    #[case] header: &str,
    #[case] row: fn(&str) -> String,
    #[case] (line, refused): (usize, &str),
    #[case] quote: &str,
) {
    let place = place_with_samples(backend).await;
    let long = format!("{quote}{}{quote}", "x".repeat(BYTES));
    let file = [header, &row("Anna Zwei"), &row(&long), &row("Anna Drei")].concat();
    fs::write(place.path().join(name), file).unwrap();
    let ended = place.run(&["import", name]);
    assert_says(&ended, REFUSED, "2 taken, 0 already there, 1 refused");
    assert_says(&ended, REFUSED, &format!("{REASON}\n    line {line}\n"));
    let refused = place.path().join(refused);
    let text = fs::read_to_string(&refused).unwrap();
    assert!(text.contains(REASON));
    assert!(text.len() < BYTES / 2, "{}", text.len());

    // It is rejected again until it is corrected, and nothing else comes from it.
    let again = place.run(&["import", refused.to_str().unwrap()]);
    assert_says(&again, REFUSED, "0 taken, 0 already there, 1 refused");
}
