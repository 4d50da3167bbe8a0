//! What becomes of the files of refused rows: nothing that somebody corrected is lost.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use rstest::rstest;

use super::{
    REFUSED, assert_says, breaks::Cells, import, place_with_samples, refused_files, write,
};
use crate::process::{Backend, Ended, Place};

const FILE: &str = "contacts.refused.csv";

/// A place with a file of which one row is refused, and a dry run of it.
async fn place_with_a_refused_row() -> Place {
    let place = place_with_samples(Backend::Sqlite).await;
    let wrong = Cells::good("K-1003", "Anna Zander").with(3, "fr").line();
    write(&place, &[wrong]);
    assert_says(&import(&place, &["--dry-run"]), REFUSED, "1 refused");
    place
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path().join(name)).unwrap()
}

/// As somebody would, and gives what it holds then.
fn correct(place: &Place) -> String {
    let corrected = read(place, FILE).replace(";fr;", ";en;");
    fs::write(place.path().join(FILE), &corrected).unwrap();
    corrected
}

fn says_where(ended: &Ended, name: &str) -> bool {
    let said = format!("{FILE} of an earlier run was renamed to {name}");
    ended.stdout.contains(&said)
}

#[tokio::test]
async fn a_corrected_file_gets_another_name_before_the_next_run_writes_its_own() {
    let place = place_with_a_refused_row().await;
    let written = read(&place, FILE);
    let same = import(&place, &["--dry-run"]);
    assert!(!same.stdout.contains("earlier"), "{}", same.stdout);
    assert_eq!(refused_files(&place), [FILE]);

    let first = correct(&place);
    let ended = import(&place, &[]);
    assert_says(&ended, REFUSED, "0 taken, 0 already there, 1 refused");
    assert!(
        says_where(&ended, "contacts.refused.1.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(read(&place, "contacts.refused.1.csv"), first);
    assert_eq!(read(&place, FILE), written);

    let second = correct(&place).replace("Anna", "Berta");
    fs::write(place.path().join(FILE), &second).unwrap();
    let ended = import(&place, &[]);
    assert!(
        says_where(&ended, "contacts.refused.2.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(read(&place, "contacts.refused.1.csv"), first);
    assert_eq!(read(&place, "contacts.refused.2.csv"), second);
    let ended = place.run(&["import", "contacts.refused.2.csv"]);
    assert_says(&ended, 0, "1 taken, 0 already there, 0 refused");
}

#[tokio::test]
async fn a_run_that_refuses_nothing_deletes_no_corrections() {
    let place = place_with_a_refused_row().await;
    let corrected = correct(&place);
    write(&place, &[Cells::good("K-1003", "Berta Zander").line()]);
    let ended = import(&place, &[]);
    assert_says(&ended, 0, "1 taken, 0 already there, 0 refused");
    assert!(
        says_where(&ended, "contacts.refused.1.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(refused_files(&place), ["contacts.refused.1.csv"]);
    assert_eq!(read(&place, "contacts.refused.1.csv"), corrected);
}

#[tokio::test]
async fn cards_and_rows_of_the_same_name_have_refused_files_of_their_own() {
    let place = place_with_a_refused_row().await;
    let corrected = correct(&place);
    let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Anna\r\nEND:VCARD\r\n";
    fs::write(place.path().join("contacts.vcf"), card).unwrap();
    let ended = place.run(&["import", "contacts.vcf"]);
    let said = "the refused rows are in contacts.refused.vcf";
    assert_says(&ended, REFUSED, said);
    assert_eq!(refused_files(&place), [FILE, "contacts.refused.vcf"]);
    assert_eq!(read(&place, FILE), corrected);
}

#[tokio::test]
async fn the_report_is_told_also_where_the_file_cannot_be_written() {
    let place = place_with_a_refused_row().await;
    fs::remove_file(place.path().join(FILE)).unwrap();
    fs::create_dir_all(place.path().join(FILE).join("folder")).unwrap();
    let wrong = Cells::good("K-1003", "Anna Zander").with(3, "fr").line();
    write(
        &place,
        &[wrong, Cells::good("K-1003", "Berta Zander").line()],
    );
    let ended = import(&place, &[]);
    assert_says(&ended, 1, "1 taken, 0 already there, 1 refused");
    assert!(
        ended.stdout.contains("  locale: must be"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("    line 2\n"), "{}", ended.stdout);
    let said = format!("{FILE} cannot be written");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert_eq!(refused_files(&place), [FILE]);
}

#[rstest]
#[case::rows_that_may_only_be_read(0o444, 0o644)]
#[case::rows_of_a_group(0o640, 0o640)]
#[tokio::test]
async fn refused_rows_are_for_who_may_read_the_file_and_can_be_corrected(
    #[case] given: u32,
    #[case] expected: u32,
) {
    let place = place_with_a_refused_row().await;
    let mode = Permissions::from_mode(given);
    fs::set_permissions(place.path().join("contacts.csv"), mode).unwrap();
    fs::remove_file(place.path().join(FILE)).unwrap();
    assert_says(&import(&place, &[]), REFUSED, "1 refused");
    let written = fs::metadata(place.path().join(FILE)).unwrap();
    assert_eq!(written.permissions().mode() & 0o777, expected);
}
