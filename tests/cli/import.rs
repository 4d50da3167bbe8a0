//! `import FILE`: what is taken, what is refused, and that it can be repeated.

mod alike;
mod breaks;
mod contact_data;
mod files;
mod kept;
mod killed;
mod long_rows;
pub(crate) mod stock;

use std::{fs, path::Path};

use rstest::rstest;

use self::{
    breaks::{Cells, HEADER, WAYS, WORD},
    stock::{Stock, execute},
};
use crate::process::{Backend, Ended, Place};

const REFUSED: i32 = 3;

/// With the sample customers: K-1001 has four contacts, K-1002 two, K-1003 none.
async fn place_with_samples(backend: Backend) -> Place {
    let place = Place::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("RUST_LOG", "trace");
    let (server, _) = place.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    place
}

fn write(place: &Place, rows: &[Vec<u8>]) {
    let file = [HEADER.as_bytes(), b"\r\n", &rows.concat()].concat();
    fs::write(place.path().join("contacts.csv"), file).unwrap();
}

fn import(place: &Place, arguments: &[&str]) -> Ended {
    let arguments = [&["import", "contacts.csv"], arguments].concat();
    place.run(&arguments)
}

/// Line and reason of each refused row, whatever it holds: quotes of a broken one need not be closed.
fn refused(place: &Place) -> Vec<(u64, String)> {
    let file = fs::read(place.path().join("contacts.refused.csv")).unwrap();
    let text = String::from_utf8_lossy(&file);
    let told = |line: &str| {
        let (line, rest) = line.split_once(";\"")?;
        let rest = rest.replace("\"\"", "\u{1}");
        let (reason, _) = rest.split_once("\";")?;
        Some((line.parse().ok()?, reason.replace('\u{1}', "\"")))
    };
    text.lines().filter_map(told).collect()
}

fn assert_says(ended: &Ended, code: i32, said: &str) {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
}

/// Names of files of refused rows, also of those that are not whole.
fn refused_files(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("refused")).collect();
    names.sort();
    names
}

#[rstest]
#[tokio::test]
async fn each_broken_row_is_refused_alone_and_the_rest_is_taken_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let mut rows = Vec::new();
    let mut expected = Vec::new();
    // The header, and two lines a good row.
    let mut line = 2;
    for (number, way) in WAYS.iter().enumerate() {
        let row = Cells::good("K-1001", &format!("Kaputt {number}"));
        // A line break of its own would make two lines of a row that is broken.
        rows.push(way.broken(row.with(7, "")));
        expected.push((line, way.reason));
        let good = Cells::good("K-1001", &format!("Käthe {number}"));
        rows.push(good.with(4, format!("k{number}@zq7k.example")).line());
        line += 3;
    }
    write(&place, &rows);
    let ended = import(&place, &[]);
    let said = format!("{0} taken, 0 already there, {0} refused", WAYS.len());
    assert_says(&ended, REFUSED, &said);
    assert!(ended.stdout.contains("read as UTF-8"), "{}", ended.stdout);
    let refused = refused(&place);
    for ((line, reason), (expected_line, expected)) in refused.iter().zip(&expected) {
        assert_eq!(line, expected_line, "{reason}");
        assert!(
            reason.starts_with(expected),
            "{reason:?} is not {expected:?}"
        );
    }
    assert_eq!(refused.len(), WAYS.len());
    let after = Stock::of(&place).await;
    after.assert_gained(before, WAYS.len());
    assert_eq!(
        after.pending,
        before.pending + i64::try_from(WAYS.len()).unwrap()
    );
    for told in [&ended.stdout, &ended.stderr] {
        assert!(!told.contains(WORD), "{told}");
        assert!(!told.contains("Käthe"), "{told}");
    }

    // What became of a contact since does not matter.
    execute(
        &place,
        "DELETE FROM contacts WHERE display_name = 'Käthe 1'",
    )
    .await;
    let after = Stock::of(&place).await;
    let again = import(&place, &[]);
    let said = format!("0 taken, {0} already there, {0} refused", WAYS.len());
    assert_says(&again, REFUSED, &said);
    assert_eq!(Stock::of(&place).await, after);
}

#[rstest]
#[tokio::test]
async fn refused_rows_can_be_corrected_where_they_were_written(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let rows = [
        Cells::good("K-1003", "Anna Zander").with(3, "fr").line(),
        Cells::good("K-1003", "Bernd Zander")
            .with(1, "Technik")
            .with(6, "")
            .line(),
    ];
    write(&place, &rows);
    assert_says(
        &import(&place, &[]),
        REFUSED,
        "0 taken, 0 already there, 2 refused",
    );
    assert_eq!(
        refused(&place)[1],
        (
            4,
            "types: the first contact of a customer must be of type STANDARD".to_owned()
        )
    );
    let path = place.path().join("contacts.refused.csv");
    let corrected = fs::read_to_string(&path).unwrap().replace(";fr;", ";en;");
    fs::write(&path, corrected).unwrap();
    let ended = place.run(&["import", "contacts.refused.csv"]);
    assert_says(&ended, 0, "2 taken, 0 already there, 0 refused");
    assert_eq!(refused_files(&place), ["contacts.refused.csv"]);
    // Of the first file, too, nothing is left to be refused but what is wrong in it.
    write(&place, &rows[1..]);
    assert_says(
        &import(&place, &[]),
        0,
        "0 taken, 1 already there, 0 refused",
    );
    // Of this run there is no such file, and the corrected one is not lost.
    assert_eq!(refused_files(&place), ["contacts.refused.1.csv"]);
}

#[rstest]
#[tokio::test]
async fn the_rows_of_a_customer_are_judged_together_whatever_their_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let technical = |number: usize| {
        let row = Cells::good("K-1003", &format!("Technik {number}"));
        row.with(1, "Technik").with(4, "").with(6, "nein").line()
    };
    // The one STANDARD contact stands behind the others, and the customer has no room for all.
    let mut rows: Vec<_> = (0..102).map(technical).collect();
    rows.push(Cells::good("K-1003", "Anna Zander").line());
    rows.push(Cells::good("K-1003", "Anna Zander").line());
    write(&place, &rows);
    let dry = import(&place, &["--dry-run"]);
    assert_says(
        &dry,
        REFUSED,
        "100 would be taken, 1 already there, 3 refused",
    );
    assert_says(&dry, REFUSED, "confirmation mails that would be queued: 1");
    assert_eq!(Stock::of(&place).await, before);
    let dry = refused(&place);
    let ended = import(&place, &["--emails-confirmed"]);
    assert_says(&ended, REFUSED, "100 taken, 1 already there, 3 refused");
    assert_eq!(refused(&place), dry);
    let limit = "customer_number: a customer has at most 100 contacts";
    let lines = [200, 202, 204].map(|line| (line, limit.to_owned()));
    assert_eq!(dry, lines);
    let after = Stock::of(&place).await;
    after.assert_gained(before, 100);
    assert_eq!(
        (after.confirmed, after.mails),
        (before.confirmed + 1, before.mails)
    );
}

#[rstest]
#[tokio::test]
async fn customers_are_put_on_file_where_that_is_asked_for(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let rows = [
        Cells::good("K-2001", "Anna Zander").line(),
        Cells::good("K-2002", "Bernd Zander")
            .with(1, "Technik")
            .with(6, "")
            .line(),
        Cells::good("K-2001", "Carla Zander").line(),
    ];
    write(&place, &rows);
    assert_says(
        &import(&place, &[]),
        REFUSED,
        "0 taken, 0 already there, 3 refused",
    );
    let ended = import(&place, &["--create-customers"]);
    assert_says(&ended, REFUSED, "2 taken, 0 already there, 1 refused");
    let after = Stock::of(&place).await;
    after.assert_gained(before, 2);
    assert_eq!(after.customers, before.customers + 1);
}

#[rstest]
#[tokio::test]
async fn no_customer_is_put_on_file_under_a_number_of_an_erased_ones_form(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let pseudonym = format!("erased-{:025x}", 0x1F);
    write(&place, &[Cells::good(&pseudonym, "Anna Zander").line()]);
    for arguments in [
        &["--create-customers", "--dry-run"][..],
        &["--create-customers"],
    ] {
        let ended = import(&place, arguments);
        assert_eq!(ended.status.code(), Some(REFUSED), "{}", ended.stderr);
        let form = "must not have the form of an erased customer's pseudonym";
        assert_eq!(refused(&place), [(2, format!("customer_number: {form}"))]);
    }
    assert_eq!(Stock::of(&place).await, before);
}

#[rstest]
#[tokio::test]
async fn cards_are_taken_and_refused_as_rows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = place_with_samples(backend).await;
    let before = Stock::of(&place).await;
    let card = |number: &str, id: u8| {
        format!(
            "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:zq7k:{id}\r\nFN:Zander\\, Anna\r\n\
             X-CUSTOMER-NUMBER:{number}\r\nCATEGORIES:Standard\r\nEMAIL:anna@zq7k.example\r\n\
             TEL;VALUE=uri:tel:+49-721-1234567\r\nEND:VCARD\r\n"
        )
    };
    let cards = [card("K-1001", 1), card("", 2), card("K-1003", 1)].concat();
    fs::write(place.path().join("contacts.vcf"), cards).unwrap();
    let ended = place.run(&["import", "contacts.vcf"]);
    assert_says(&ended, REFUSED, "2 taken, 0 already there, 1 refused");
    Stock::of(&place).await.assert_gained(before, 2);
    let path = place.path().join("contacts.refused.vcf");
    let refused = fs::read_to_string(&path).unwrap();
    assert!(
        refused.contains("X-IMPORT-LINE:10\r\nX-IMPORT-REASON:customer_number: must have 1 to 32"),
        "{refused}"
    );
    let corrected = refused.replace("X-CUSTOMER-NUMBER:", "X-CUSTOMER-NUMBER:K-1002");
    fs::write(path, corrected).unwrap();
    let ended = place.run(&["import", "contacts.refused.vcf"]);
    assert_says(&ended, 0, "1 taken, 0 already there, 0 refused");
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
async fn what_cannot_be_read_is_said_before_anything_is_taken(
    #[case] file: Option<&str>,
    #[case] said: &str,
) {
    assert_refuses("contacts.csv", file.map(str::as_bytes), said);
}

/// That a file is refused as a whole, by one line.
fn assert_refuses(name: &str, file: Option<&[u8]>, said: &str) {
    let place = Place::new();
    if let Some(file) = file {
        fs::write(place.path().join(name), file).unwrap();
    }
    let ended = place.run(&["import", name]);
    assert!(!ended.stderr.contains("Anna"), "{}", ended.stderr);
    let complaint = ended.complaint();
    assert!(complaint.contains(said), "{complaint}");
    // No database either was made for it.
    assert!(!place.path().join("data").exists());
    assert_eq!(refused_files(&place), [""; 0]);
}

#[rstest]
#[case::nothing("", "contacts.vcf is empty")]
#[case::a_text("FN:Anna\n", "contacts.vcf: holds no vCard")]
#[tokio::test]
async fn a_file_without_cards_is_refused(#[case] file: &str, #[case] said: &str) {
    assert_refuses("contacts.vcf", Some(file.as_bytes()), said);
}

#[test]
fn the_example_of_the_documentation_is_taken_whole() {
    let place = Place::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/contacts.csv");
    fs::copy(example, place.path().join("contacts.csv")).unwrap();
    let arguments = ["--create-customers", "--emails-confirmed"];
    assert_says(
        &import(&place, &arguments),
        0,
        " 0 already there, 0 refused",
    );
}
