//! `import FILE`: imported and rejected rows, and repeated imports.

mod contact_data;
mod duplicates;
mod files;
mod killed;
mod locked;
mod long_rows;
mod malformed_rows;
mod rejects_file;
pub(crate) mod row_counts;

use std::{fs, path::Path};

use rstest::rstest;

use self::{
    malformed_rows::{Cells, HEADER, MALFORMATIONS, WORD},
    row_counts::{RowCounts, execute},
};
use crate::process::{Backend, Ended, Sandbox};

const REJECTED: i32 = 3;

/// Returns a sandbox with the sample customers: K-1001 has four contacts, K-1002 two, K-1003 none.
async fn sandbox_with_samples(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("RUST_LOG", "trace");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    sandbox
}

fn write(sandbox: &Sandbox, rows: &[Vec<u8>]) {
    let file = [HEADER.as_bytes(), b"\r\n", &rows.concat()].concat();
    fs::write(sandbox.path().join("contacts.csv"), file).unwrap();
}

fn import(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let arguments = [&["import", "contacts.csv"], arguments].concat();
    sandbox.run(&arguments)
}

/// Returns the line and reason of each rejected row, whose quotes may be malformed.
fn rejects(sandbox: &Sandbox) -> Vec<(u64, String)> {
    let file = fs::read(sandbox.path().join("contacts.rejects.csv")).unwrap();
    let text = String::from_utf8_lossy(&file);
    let reject = |line: &str| {
        let (line, rest) = line.split_once(";\"")?;
        let rest = rest.replace("\"\"", "\u{1}");
        let (reason, _) = rest.split_once("\";")?;
        Some((line.parse().ok()?, reason.replace('\u{1}', "\"")))
    };
    text.lines().filter_map(reject).collect()
}

fn assert_output(ended: &Ended, code: i32, message: &str) {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    assert!(ended.stdout.contains(message), "{}", ended.stdout);
}

/// Returns the names of files of rejected rows, including temporary ones.
fn rejects_files(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("rejects")).collect();
    names.sort();
    names
}

#[rstest]
#[tokio::test]
async fn malformed_rows_are_rejected_and_others_imported_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let mut rows = Vec::new();
    let mut expected = Vec::new();
    // The header, and two lines per valid row.
    let mut line = 2;
    for (number, way) in MALFORMATIONS.iter().enumerate() {
        let row = Cells::valid("K-1001", &format!("Kaputt {number}"));
        // A line break within a malformed row would split it.
        rows.push(way.apply(row.with(7, "")));
        expected.push((line, way.reason));
        let good = Cells::valid("K-1001", &format!("Käthe {number}"));
        rows.push(good.with(4, format!("k{number}@zq7k.example")).line());
        line += 3;
    }
    write(&sandbox, &rows);
    let ended = import(&sandbox, &[]);
    let message = format!(
        "{0} imported, 0 already on file, {0} rejected",
        MALFORMATIONS.len()
    );
    assert_output(&ended, REJECTED, &message);
    assert!(ended.stdout.contains("read as UTF-8"), "{}", ended.stdout);
    let rejects = rejects(&sandbox);
    for ((line, reason), (expected_line, expected)) in rejects.iter().zip(&expected) {
        assert_eq!(line, expected_line, "{reason}");
        assert!(
            reason.starts_with(expected),
            "{reason:?} is not {expected:?}"
        );
    }
    assert_eq!(rejects.len(), MALFORMATIONS.len());
    let after = RowCounts::of(&sandbox).await;
    after.assert_gained(before, MALFORMATIONS.len());
    assert_eq!(
        after.pending,
        before.pending + i64::try_from(MALFORMATIONS.len()).unwrap()
    );
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains(WORD), "{output}");
        assert!(!output.contains("Käthe"), "{output}");
    }

    // Later changes of a contact do not matter.
    execute(
        &sandbox,
        "DELETE FROM contacts WHERE display_name = 'Käthe 1'",
    )
    .await;
    let after = RowCounts::of(&sandbox).await;
    let again = import(&sandbox, &[]);
    let message = format!(
        "0 imported, {0} already on file, {0} rejected",
        MALFORMATIONS.len()
    );
    assert_output(&again, REJECTED, &message);
    assert_eq!(RowCounts::of(&sandbox).await, after);
}

#[rstest]
#[tokio::test]
async fn rejected_rows_can_be_corrected_in_their_file(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let rows = [
        Cells::valid("K-1003", "Anna Zander").with(3, "fr").line(),
        Cells::valid("K-1003", "Bernd Zander")
            .with(1, "Technik")
            .with(6, "")
            .line(),
    ];
    write(&sandbox, &rows);
    assert_output(
        &import(&sandbox, &[]),
        REJECTED,
        "0 imported, 0 already on file, 2 rejected",
    );
    assert_eq!(
        rejects(&sandbox)[1],
        (
            4,
            "types: the first contact of a customer must be of type STANDARD".to_owned()
        )
    );
    let path = sandbox.path().join("contacts.rejects.csv");
    let corrected = fs::read_to_string(&path).unwrap().replace(";fr;", ";en;");
    fs::write(&path, corrected).unwrap();
    let ended = sandbox.run(&["import", "contacts.rejects.csv"]);
    assert_output(&ended, 0, "2 imported, 0 already on file, 0 rejected");
    assert_eq!(rejects_files(&sandbox), ["contacts.rejects.csv"]);
    // Repeating the first file rejects only its uncorrected rows.
    write(&sandbox, &rows[1..]);
    assert_output(
        &import(&sandbox, &[]),
        0,
        "0 imported, 1 already on file, 0 rejected",
    );
    // This run writes no rejects file, and the corrected one is archived.
    assert_eq!(rejects_files(&sandbox), ["contacts.rejects.1.csv"]);
}

#[rstest]
#[tokio::test]
async fn order_of_a_customers_rows_does_not_matter(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let technical = |number: usize| {
        let row = Cells::valid("K-1003", &format!("Technik {number}"));
        row.with(1, "Technik").with(4, "").with(6, "nein").line()
    };
    // The STANDARD contact comes last, and the rows exceed the contact limit.
    let mut rows: Vec<_> = (0..102).map(technical).collect();
    rows.push(Cells::valid("K-1003", "Anna Zander").line());
    rows.push(Cells::valid("K-1003", "Anna Zander").line());
    write(&sandbox, &rows);
    let dry = import(&sandbox, &["--dry-run"]);
    assert_output(
        &dry,
        REJECTED,
        "100 would be imported, 1 already on file, 3 rejected",
    );
    assert_output(&dry, REJECTED, "confirmation mails that would be queued: 1");
    assert_eq!(RowCounts::of(&sandbox).await, before);
    let dry = rejects(&sandbox);
    let ended = import(&sandbox, &["--emails-confirmed"]);
    assert_output(
        &ended,
        REJECTED,
        "100 imported, 1 already on file, 3 rejected",
    );
    assert_eq!(rejects(&sandbox), dry);
    let limit = "customer_number: a customer has at most 100 contacts";
    let lines = [200, 202, 204].map(|line| (line, limit.to_owned()));
    assert_eq!(dry, lines);
    let after = RowCounts::of(&sandbox).await;
    after.assert_gained(before, 100);
    assert_eq!(
        (after.confirmed, after.mails),
        (before.confirmed + 1, before.mails)
    );
}

#[rstest]
#[tokio::test]
async fn create_customers_creates_missing_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let rows = [
        Cells::valid("K-2001", "Anna Zander").line(),
        Cells::valid("K-2002", "Bernd Zander")
            .with(1, "Technik")
            .with(6, "")
            .line(),
        Cells::valid("K-2001", "Carla Zander").line(),
    ];
    write(&sandbox, &rows);
    assert_output(
        &import(&sandbox, &[]),
        REJECTED,
        "0 imported, 0 already on file, 3 rejected",
    );
    let ended = import(&sandbox, &["--create-customers"]);
    assert_output(
        &ended,
        REJECTED,
        "2 imported, 0 already on file, 1 rejected",
    );
    let after = RowCounts::of(&sandbox).await;
    after.assert_gained(before, 2);
    assert_eq!(after.customers, before.customers + 1);
}

#[rstest]
#[tokio::test]
async fn numbers_in_the_form_of_erased_customers_are_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let pseudonym = format!("erased-{:025x}", 0x1F);
    write(&sandbox, &[Cells::valid(&pseudonym, "Anna Zander").line()]);
    for arguments in [
        &["--create-customers", "--dry-run"][..],
        &["--create-customers"],
    ] {
        let ended = import(&sandbox, arguments);
        assert_eq!(ended.status.code(), Some(REJECTED), "{}", ended.stderr);
        let form = "must not have the form of an erased customer's pseudonym";
        assert_eq!(rejects(&sandbox), [(2, format!("customer_number: {form}"))]);
    }
    assert_eq!(RowCounts::of(&sandbox).await, before);
}

#[rstest]
#[tokio::test]
async fn cards_are_imported_and_rejected_like_rows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let before = RowCounts::of(&sandbox).await;
    let card = |number: &str, id: u8| {
        format!(
            "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:zq7k:{id}\r\nFN:Zander\\, Anna\r\n\
             X-CUSTOMER-NUMBER:{number}\r\nCATEGORIES:Standard\r\nEMAIL:anna@zq7k.example\r\n\
             TEL;VALUE=uri:tel:+49-721-1234567\r\nEND:VCARD\r\n"
        )
    };
    let cards = [card("K-1001", 1), card("", 2), card("K-1003", 1)].concat();
    fs::write(sandbox.path().join("contacts.vcf"), cards).unwrap();
    let ended = sandbox.run(&["import", "contacts.vcf"]);
    assert_output(
        &ended,
        REJECTED,
        "2 imported, 0 already on file, 1 rejected",
    );
    RowCounts::of(&sandbox).await.assert_gained(before, 2);
    let path = sandbox.path().join("contacts.rejects.vcf");
    let rejects = fs::read_to_string(&path).unwrap();
    assert!(
        rejects.contains("X-IMPORT-LINE:10\r\nX-IMPORT-REASON:customer_number: must have 1 to 32"),
        "{rejects}"
    );
    let corrected = rejects.replace("X-CUSTOMER-NUMBER:", "X-CUSTOMER-NUMBER:K-1002");
    fs::write(path, corrected).unwrap();
    let ended = sandbox.run(&["import", "contacts.rejects.vcf"]);
    assert_output(&ended, 0, "1 imported, 0 already on file, 0 rejected");
}

#[rstest]
#[case::no_file(None, "contacts.csv cannot be read: there is no such file")]
#[case::nothing(Some(""), "contacts.csv is empty")]
#[case::a_mark_and_blank_lines(Some("\u{FEFF}\r\n \r\n"), "contacts.csv is empty")]
#[case::a_workbook(
    Some("PK\u{3}\u{4}\u{14}"),
    "is an Excel workbook or another archive: save it as \"CSV UTF-8\""
)]
#[case::no_header(Some("K-1001;Standard;Anna\n"), "lacks the column(s) customer_number")]
#[case::an_unknown_column(Some("Kundennummer;Typ;Name;Fax\n"), "unknown column(s): \"Fax\"")]
#[tokio::test]
async fn unreadable_file_is_reported_before_the_import(
    #[case] file: Option<&str>,
    #[case] message: &str,
) {
    assert_rejects("contacts.csv", file.map(str::as_bytes), message);
}

/// Asserts that a file is rejected as a whole, with one line.
fn assert_rejects(name: &str, file: Option<&[u8]>, message: &str) {
    let sandbox = Sandbox::new();
    if let Some(file) = file {
        fs::write(sandbox.path().join(name), file).unwrap();
    }
    let ended = sandbox.run(&["import", name]);
    assert!(!ended.stderr.contains("Anna"), "{}", ended.stderr);
    let error_line = ended.error_line();
    assert!(error_line.contains(message), "{error_line}");
    // No database was created.
    assert!(!sandbox.path().join("data").exists());
    assert_eq!(rejects_files(&sandbox), [""; 0]);
}

#[rstest]
#[case::nothing("", "contacts.vcf is empty")]
#[case::a_text("FN:Anna\n", "contacts.vcf: holds no vCard")]
#[tokio::test]
async fn file_without_cards_is_rejected(#[case] file: &str, #[case] message: &str) {
    assert_rejects("contacts.vcf", Some(file.as_bytes()), message);
}

#[test]
fn example_of_the_documentation_is_imported() {
    let sandbox = Sandbox::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/contacts.csv");
    fs::copy(example, sandbox.path().join("contacts.csv")).unwrap();
    let arguments = ["--create-customers", "--emails-confirmed"];
    assert_output(
        &import(&sandbox, &arguments),
        0,
        " 0 already on file, 0 rejected",
    );
}
