//! Rows and lines beyond the limit.

use std::fs;

use rstest::rstest;

use super::{REJECTED, assert_output, sandbox_with_samples};
use crate::process::Backend;

/// Larger than the limit of a row.
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
#[case::of_a_plain_cell("contacts.csv", HEADER, row, (3, "contacts.rejects.csv"), "")]
#[case::of_a_cell_in_quotes("contacts.csv", HEADER, row, (3, "contacts.rejects.csv"), "\"")]
#[case::of_a_card("contacts.vcf", "", card, (7, "contacts.rejects.vcf"), "")]
#[tokio::test]
async fn too_large_row_is_the_only_rejected_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] name: &str,
    #[case] header: &str,
    #[case] row: fn(&str) -> String,
    #[case] (line, rejects): (usize, &str),
    #[case] quote: &str,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let long = format!("{quote}{}{quote}", "x".repeat(BYTES));
    let file = [header, &row("Anna Zwei"), &row(&long), &row("Anna Drei")].concat();
    fs::write(sandbox.path().join(name), file).unwrap();
    let ended = sandbox.run(&["import", name]);
    assert_output(
        &ended,
        REJECTED,
        "2 imported, 0 already on file, 1 rejected",
    );
    assert_output(&ended, REJECTED, &format!("{REASON}\n    line {line}\n"));
    let rejects = sandbox.path().join(rejects);
    let text = fs::read_to_string(&rejects).unwrap();
    assert!(text.contains(REASON));
    assert!(text.len() < BYTES / 2, "{}", text.len());

    // It is rejected again until it is corrected.
    let again = sandbox.run(&["import", rejects.to_str().unwrap()]);
    assert_output(
        &again,
        REJECTED,
        "0 imported, 0 already on file, 1 rejected",
    );
}
