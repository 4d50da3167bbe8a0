//! Rows of one file that are known as the same.

use std::fs;

use rstest::rstest;

use super::{
    REFUSED, assert_says,
    breaks::Cells,
    import, place_with_samples, refused,
    stock::{Stock, execute},
    write,
};
use crate::process::Backend;

/// Nobody's address or number, as of a department.
fn department(types: &str) -> Cells {
    let row = Cells::good("K-1003", "Support").with(1, types).with(7, "");
    row.with(4, "").with(5, "").with(6, "nein")
}

#[rstest]
#[tokio::test]
async fn a_row_with_the_key_of_an_earlier_one_and_other_values_is_refused(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let anna = Cells::good("K-1003", "Anna").with(7, "");
    let (called, with_id) = (anna.clone().with(4, ""), anna.clone().with(10, "17"));
    let called = called.with(6, "nein");
    let rows = [
        department("Technik"),
        department("Buchhaltung"),
        department("Buchhaltung"),
        anna.clone(),
        // The same, written in another way.
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
    write(&place, &rows.map(|row| row.line()));
    let expected = [
        (3, "display_name as line 2"),
        (4, "display_name as line 2"),
        (7, "display_name and email as line 5"),
        (9, "display_name and phone_numbers as line 8"),
        (11, "external_id as line 10"),
    ]
    .map(|(line, key)| (line, format!("row: the same {key}, with other values")));

    let dry = import(&place, &["--dry-run"]);
    assert_says(
        &dry,
        REFUSED,
        "4 would be taken, 2 already there, 5 refused",
    );
    assert_eq!(refused(&place), expected);
    let ended = import(&place, &[]);
    assert_says(&ended, REFUSED, "4 taken, 2 already there, 5 refused");
    assert_eq!(refused(&place), expected);
    let after = Stock::of(&place).await;
    after.assert_gained(before, 4);
    // Whether its first row was taken, and what became of it, makes no difference.
    let again = import(&place, &[]);
    assert_says(&again, REFUSED, "0 taken, 6 already there, 5 refused");
    assert_eq!(refused(&place), expected);
    assert_eq!(Stock::of(&place).await, after);
    let forget = "DELETE FROM contact_imports WHERE contact_id IN \
                  (SELECT contact_id FROM contacts WHERE display_name = 'Support')";
    execute(&place, forget).await;
    let again = import(&place, &[]);
    assert_says(&again, REFUSED, "1 taken, 5 already there, 5 refused");
    assert_eq!(refused(&place), expected);
}

/// More rows than one transaction takes stand between the two.
#[tokio::test]
async fn rows_far_from_one_another_are_compared_all_the_same() {
    let place = place_with_samples(Backend::Sqlite).await;
    let others = (0..45).map(|number| Cells::good("K-1003", &format!("Anna {number}")));
    let mut rows = vec![department("Technik").line()];
    rows.extend(others.map(|row| row.with(7, "").line()));
    rows.push(department("Standard").line());
    write(&place, &rows);
    assert_says(
        &import(&place, &[]),
        REFUSED,
        "46 taken, 0 already there, 1 refused",
    );
    let reason = "row: the same display_name as line 2, with other values";
    assert_eq!(refused(&place), [(48, reason.to_owned())]);
}

/// The file of rejected rows does not hold the first one.
#[tokio::test]
async fn a_row_with_other_values_is_rejected_until_it_is_changed() {
    let place = place_with_samples(Backend::Sqlite).await;
    write(
        &place,
        &["Standard", "Technik"].map(|types| department(types).line()),
    );
    assert_says(
        &import(&place, &[]),
        REFUSED,
        "1 taken, 0 already there, 1 refused",
    );
    let [file, rejected] =
        ["contacts.csv", "contacts.refused.csv"].map(|name| place.path().join(name));
    fs::rename(rejected, file).unwrap();
    assert_says(
        &import(&place, &[]),
        REFUSED,
        "0 taken, 0 already there, 1 refused",
    );
    let reason = "row: was imported before with other values";
    assert_eq!(refused(&place), [(2, reason.to_owned())]);
}
