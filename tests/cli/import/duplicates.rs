//! Rows of one file with the same key.

use std::fs;

use rstest::rstest;

use super::{
    REJECTED, assert_output, import,
    malformed_rows::Cells,
    rejects,
    row_counts::{RowCounts, execute},
    sandbox_with_samples, write,
};
use crate::process::Backend;

/// A contact without an address and number, such as a department.
fn department(types: &str) -> Cells {
    let row = Cells::valid("K-1003", "Support").with(1, types).with(7, "");
    row.with(4, "").with(5, "").with(6, "nein")
}

#[rstest]
#[tokio::test]
async fn same_key_with_other_values_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let anna = Cells::valid("K-1003", "Anna").with(7, "");
    let (called, with_id) = (anna.clone().with(4, ""), anna.clone().with(10, "17"));
    let called = called.with(6, "nein");
    let rows = [
        department("Technik"),
        department("Buchhaltung"),
        department("Buchhaltung"),
        anna.clone(),
        // The same values in another spelling.
        anna.clone()
            .with(4, "ANNA@zq7k.example")
            .with(5, "+49 721 1234567"),
        anna.clone().with(5, "0721 1234568"),
        called.clone(),
        called.with(3, "en"),
        with_id.clone(),
        with_id.with(2, "Berta"),
        department("Technik"),
    ];
    write(&sandbox, &rows.map(|row| row.line()));
    let expected = [
        (3, "display_name as line 2"),
        (4, "display_name as line 2"),
        (7, "display_name and email as line 5"),
        (9, "display_name and phone_numbers as line 8"),
        (11, "external_id as line 10"),
    ]
    .map(|(line, key)| (line, format!("row: the same {key}, with other values")));

    let dry = import(&sandbox, &["--dry-run"]);
    assert_output(
        &dry,
        REJECTED,
        "4 would be imported, 2 already on file, 5 rejected",
    );
    assert_eq!(rejects(&sandbox), expected);
    let ended = import(&sandbox, &[]);
    assert_output(
        &ended,
        REJECTED,
        "4 imported, 2 already on file, 5 rejected",
    );
    assert_eq!(rejects(&sandbox), expected);
    let after = RowCounts::of(&sandbox).await;
    after.assert_gained(before, 4);
    // The outcome does not depend on earlier runs.
    let again = import(&sandbox, &[]);
    assert_output(
        &again,
        REJECTED,
        "0 imported, 6 already on file, 5 rejected",
    );
    assert_eq!(rejects(&sandbox), expected);
    assert_eq!(RowCounts::of(&sandbox).await, after);
    let forget = "DELETE FROM contact_imports WHERE contact_id IN \
                  (SELECT contact_id FROM contacts WHERE display_name = 'Support')";
    execute(&sandbox, forget).await;
    let again = import(&sandbox, &[]);
    assert_output(
        &again,
        REJECTED,
        "1 imported, 5 already on file, 5 rejected",
    );
    assert_eq!(rejects(&sandbox), expected);
}

/// Between the two are more rows than one transaction imports.
#[tokio::test]
async fn duplicates_in_different_transactions_are_found() {
    let sandbox = sandbox_with_samples(Backend::Sqlite).await;
    let others = (0..45).map(|number| Cells::valid("K-1003", &format!("Anna {number}")));
    let mut rows = vec![department("Technik").line()];
    rows.extend(others.map(|row| row.with(7, "").line()));
    rows.push(department("Standard").line());
    write(&sandbox, &rows);
    assert_output(
        &import(&sandbox, &[]),
        REJECTED,
        "46 imported, 0 already on file, 1 rejected",
    );
    let reason = "row: the same display_name as line 2, with other values";
    assert_eq!(rejects(&sandbox), [(48, reason.to_owned())]);
}

/// The file of rejected rows does not contain the first row.
#[tokio::test]
async fn changed_duplicate_is_rejected_until_corrected() {
    let sandbox = sandbox_with_samples(Backend::Sqlite).await;
    write(
        &sandbox,
        &["Standard", "Technik"].map(|types| department(types).line()),
    );
    assert_output(
        &import(&sandbox, &[]),
        REJECTED,
        "1 imported, 0 already on file, 1 rejected",
    );
    let [file, rejected] =
        ["contacts.csv", "contacts.rejects.csv"].map(|name| sandbox.path().join(name));
    fs::rename(rejected, file).unwrap();
    assert_output(
        &import(&sandbox, &[]),
        REJECTED,
        "0 imported, 0 already on file, 1 rejected",
    );
    let reason = "row: was imported before with other values";
    assert_eq!(rejects(&sandbox), [(2, reason.to_owned())]);
}
