//! The files of rejected rows: corrections are never lost.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use rstest::rstest;

use super::{
    REJECTED, assert_output, import, malformed_rows::Cells, rejects_files, sandbox_with_samples,
    write,
};
use crate::process::{Backend, Ended, Sandbox};

const FILE: &str = "contacts.rejects.csv";

/// Returns a sandbox with a file with one rejected row, after a dry run.
async fn sandbox_with_rejected_row() -> Sandbox {
    let sandbox = sandbox_with_samples(Backend::Sqlite).await;
    let wrong = Cells::valid("K-1003", "Anna Zander").with(3, "fr").line();
    write(&sandbox, &[wrong]);
    assert_output(&import(&sandbox, &["--dry-run"]), REJECTED, "1 rejected");
    sandbox
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path().join(name)).unwrap()
}

/// Corrects the file as a user would, and returns its content.
fn correct(sandbox: &Sandbox) -> String {
    let corrected = read(sandbox, FILE).replace(";fr;", ";en;");
    fs::write(sandbox.path().join(FILE), &corrected).unwrap();
    corrected
}

fn says_where(ended: &Ended, name: &str) -> bool {
    let expected_line = format!("{FILE} of an earlier run was renamed to {name}");
    ended.stdout.contains(&expected_line)
}

#[tokio::test]
async fn corrected_file_is_archived_by_the_next_run() {
    let sandbox = sandbox_with_rejected_row().await;
    let written = read(&sandbox, FILE);
    let same = import(&sandbox, &["--dry-run"]);
    assert!(!same.stdout.contains("earlier"), "{}", same.stdout);
    assert_eq!(rejects_files(&sandbox), [FILE]);

    let first = correct(&sandbox);
    let ended = import(&sandbox, &[]);
    assert_output(
        &ended,
        REJECTED,
        "0 imported, 0 already on file, 1 rejected",
    );
    assert!(
        says_where(&ended, "contacts.rejects.1.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(read(&sandbox, "contacts.rejects.1.csv"), first);
    assert_eq!(read(&sandbox, FILE), written);

    let second = correct(&sandbox).replace("Anna", "Berta");
    fs::write(sandbox.path().join(FILE), &second).unwrap();
    let ended = import(&sandbox, &[]);
    assert!(
        says_where(&ended, "contacts.rejects.2.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(read(&sandbox, "contacts.rejects.1.csv"), first);
    assert_eq!(read(&sandbox, "contacts.rejects.2.csv"), second);
    let ended = sandbox.run(&["import", "contacts.rejects.2.csv"]);
    assert_output(&ended, 0, "1 imported, 0 already on file, 0 rejected");
}

#[tokio::test]
async fn run_without_rejects_archives_the_corrected_file() {
    let sandbox = sandbox_with_rejected_row().await;
    let corrected = correct(&sandbox);
    write(&sandbox, &[Cells::valid("K-1003", "Berta Zander").line()]);
    let ended = import(&sandbox, &[]);
    assert_output(&ended, 0, "1 imported, 0 already on file, 0 rejected");
    assert!(
        says_where(&ended, "contacts.rejects.1.csv"),
        "{}",
        ended.stdout
    );
    assert_eq!(rejects_files(&sandbox), ["contacts.rejects.1.csv"]);
    assert_eq!(read(&sandbox, "contacts.rejects.1.csv"), corrected);
}

#[tokio::test]
async fn csv_and_vcard_files_have_separate_rejects_files() {
    let sandbox = sandbox_with_rejected_row().await;
    let corrected = correct(&sandbox);
    let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Anna\r\nEND:VCARD\r\n";
    fs::write(sandbox.path().join("contacts.vcf"), card).unwrap();
    let ended = sandbox.run(&["import", "contacts.vcf"]);
    let expected_line = "the rejected rows are in contacts.rejects.vcf";
    assert_output(&ended, REJECTED, expected_line);
    assert_eq!(rejects_files(&sandbox), [FILE, "contacts.rejects.vcf"]);
    assert_eq!(read(&sandbox, FILE), corrected);
}

#[tokio::test]
async fn report_is_printed_although_the_file_cannot_be_written() {
    let sandbox = sandbox_with_rejected_row().await;
    fs::remove_file(sandbox.path().join(FILE)).unwrap();
    fs::create_dir_all(sandbox.path().join(FILE).join("folder")).unwrap();
    let wrong = Cells::valid("K-1003", "Anna Zander").with(3, "fr").line();
    write(
        &sandbox,
        &[wrong, Cells::valid("K-1003", "Berta Zander").line()],
    );
    let ended = import(&sandbox, &[]);
    assert_output(&ended, 1, "1 imported, 0 already on file, 1 rejected");
    assert!(
        ended.stdout.contains("  locale: must be"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("    line 2\n"), "{}", ended.stdout);
    let expected_line = format!("{FILE} cannot be written");
    assert!(ended.stderr.contains(&expected_line), "{}", ended.stderr);
    assert_eq!(rejects_files(&sandbox), [FILE]);
}

#[rstest]
#[case::rows_that_may_only_be_read(0o444, 0o644)]
#[case::rows_of_a_group(0o640, 0o640)]
#[tokio::test]
async fn rejects_file_has_the_permissions_of_the_source(#[case] given: u32, #[case] expected: u32) {
    let sandbox = sandbox_with_rejected_row().await;
    let mode = Permissions::from_mode(given);
    fs::set_permissions(sandbox.path().join("contacts.csv"), mode).unwrap();
    fs::remove_file(sandbox.path().join(FILE)).unwrap();
    assert_output(&import(&sandbox, &[]), REJECTED, "1 rejected");
    let written = fs::metadata(sandbox.path().join(FILE)).unwrap();
    assert_eq!(written.permissions().mode() & 0o777, expected);
}
