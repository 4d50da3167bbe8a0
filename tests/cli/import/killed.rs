//! An import that is killed in the middle, and repeated; in a usual run a small one, as a proof
//! one of 100,000 rows.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use rstest::rstest;

use super::{
    REFUSED, assert_says,
    breaks::{Cells, WAYS},
    place_with_samples, refused, refused_files,
    stock::{Stock, execute},
    write,
};
use crate::process::{Backend, Place};

/// Good rows of a customer; a broken one may be added.
const ROWS: usize = 4;
const FULL: usize = 100;
/// So many customers have no STANDARD contact, and as many have no room.
const FEW: usize = 2;
/// Customers whose rows may not be committed yet when others have gone on.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_mins(15);

/// A file, in numbers.
struct Size {
    customers: usize,
    /// Rows that are broken in each way of [`WAYS`].
    broken: usize,
}

const QUICK: Size = Size {
    customers: 60,
    broken: 1,
};
/// 100,002 rows, of which 994 are broken.
const PROOF: Size = Size {
    customers: 24_702,
    broken: 45,
};

fn number(customer: usize) -> String {
    format!("B-{customer}")
}

/// A file's rows, and line and reason of those that are refused.
#[derive(Default)]
struct File {
    rows: Vec<Vec<u8>>,
    refused: Vec<(u64, &'static str)>,
    lines: usize,
}

impl File {
    fn push(&mut self, row: Vec<u8>) {
        self.lines += row.split(|byte| *byte == b'\n').count() - 1;
        self.rows.push(row);
    }

    fn push_broken(&mut self, row: Vec<u8>, reason: &'static str) {
        // The first line is the header's.
        let line = u64::try_from(self.lines + 2).unwrap();
        self.refused.push((line, reason));
        self.push(row);
    }

    fn good_rows(&self) -> usize {
        self.rows.len() - self.refused.len()
    }
}

/// The rows of a customer stand far from one another.
fn file(size: &Size) -> File {
    let mut file = File::default();
    for rank in 0..ROWS {
        for customer in 0..size.customers {
            let name = format!("Contact {customer} {rank}");
            let row = Cells::good(&number(customer), &name);
            file.push(if rank == ROWS - 1 {
                row.line()
            } else {
                row.with(1, "Technik").with(6, "").with(7, "").line()
            });
        }
        let ways = WAYS.iter().cycle().take(size.broken * WAYS.len());
        for (index, way) in ways.enumerate().filter(|(index, _)| index % ROWS == rank) {
            let customer = index * 7 % size.customers;
            let row = Cells::good(&number(customer), &format!("Kaputt {index}"));
            // A line break of its own would make two lines of a row that is broken.
            file.push_broken(way.broken(row.with(7, "")), way.reason);
        }
    }
    for customer in size.customers..size.customers + FEW {
        for rank in 0..FULL {
            let row = Cells::good(&number(customer), &format!("Voll {rank}"));
            file.push(row.line());
        }
        let row = Cells::good(&number(customer), &format!("Voll {FULL}"));
        let reason = "customer_number: a customer has at most 100 contacts";
        file.push_broken(row.line(), reason);
        let row = Cells::good(&number(customer + FEW), "Niemand");
        let row = row.with(1, "Technik").with(6, "").line();
        let reason = "types: the first contact of a customer must be of type STANDARD";
        file.push_broken(row, reason);
    }
    file
}

async fn place_with_customers(backend: Backend, customers: usize) -> Place {
    let place = place_with_samples(backend).await.with("RUST_LOG", "info");
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers \
           WHERE n + 1 < {customers}) \
         INSERT INTO customers (customer_number, security_notices, planned_maintenance, outages, \
           attention_line_suppressed, version, write_count, create_time, update_time) \
         SELECT 'B-' || n, TRUE, TRUE, TRUE, FALSE, 1, 0, '2026-01-01 00:00:00+00:00', \
           '2026-01-01 00:00:00+00:00' FROM numbers"
    );
    execute(&place, &sql).await;
    place
}

/// Starts an import, and kills it when it has taken the rows of so many customers.
fn kill_in_the_middle(place: Place, customers: usize) -> Place {
    let armed = format!("import-written={customers}*off->return");
    let place = place.with("FAILPOINTS", armed);
    let mut running = place.start(&["import", "contacts.csv"]);
    running.until_within(PATIENCE, |running| {
        running.stderr().contains("halted at import-written")
    });
    running.signal("KILL");
    assert!(!running.wait().status.success());
    place.with("FAILPOINTS", "")
}

async fn killed_and_repeated(backend: Backend, size: &Size) -> String {
    let customers = size.customers + 2 * FEW;
    let place = place_with_customers(backend, customers).await;
    let file = file(size);
    write(&place, &file.rows);
    let before = Stock::of(&place).await;
    let place = kill_in_the_middle(place, size.customers / 2);
    let half = Stock::of(&place).await;
    let taken = half.contacts - before.contacts;
    let least = (size.customers / 2 - AT_ONCE) * ROWS;
    assert!(taken >= i64::try_from(least).unwrap(), "{taken}");
    half.assert_gained(before, usize::try_from(taken).unwrap());
    let left = refused_files(&place);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], "contacts.refused.csv");

    let (good, broken) = (file.good_rows(), file.refused.len());
    let mut told = format!("{backend:?}: {} rows, {broken} broken", file.rows.len());
    let rest = i64::try_from(good).unwrap() - taken;
    let start = Instant::now();
    let arguments = ["import", "contacts.csv"];
    let ended = place.start(&arguments).wait_for(PATIENCE);
    let said = format!("{rest} taken, {taken} already there, {broken} refused");
    assert_says(&ended, REFUSED, &said);
    write!(told, "; killed, then {said} in {:.1?}", start.elapsed()).unwrap();
    let after = Stock::of(&place).await;
    after.assert_gained(before, good);
    assert_refused(&place, &file.refused);
    // Nor is anything left of the one that was killed.
    assert_eq!(refused_files(&place), ["contacts.refused.csv"]);

    let start = Instant::now();
    let ended = place.start(&arguments).wait_for(PATIENCE);
    let said = format!("0 taken, {good} already there, {broken} refused");
    assert_says(&ended, REFUSED, &said);
    write!(told, "; once more: {said} in {:.1?}", start.elapsed()).unwrap();
    assert_eq!(Stock::of(&place).await, after);
    told
}

/// That each broken row, and no other, is named with its line and its reason.
fn assert_refused(place: &Place, expected: &[(u64, &str)]) {
    let refused = refused(place);
    for ((line, reason), (broken, expected)) in refused.iter().zip(expected) {
        assert_eq!(line, broken, "{reason:?}; expected: {expected:?}");
        assert!(
            reason.starts_with(expected),
            "line {line}: {reason:?} is not {expected:?}"
        );
    }
    assert_eq!(refused.len(), expected.len());
}

#[rstest]
#[tokio::test]
async fn an_import_that_was_killed_is_completed_by_its_repetition(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    killed_and_repeated(backend, &QUICK).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test]
async fn proof_100000_rows_are_taken_once_although_killed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    println!("{}", killed_and_repeated(backend, &PROOF).await);
    println!("{}", all_at_once(backend, &PROOF).await);
}

/// The same file taken without a break: how long it takes.
async fn all_at_once(backend: Backend, size: &Size) -> String {
    let place = place_with_customers(backend, size.customers + 2 * FEW).await;
    let file = file(size);
    write(&place, &file.rows);
    let before = Stock::of(&place).await;
    let start = Instant::now();
    let ended = place.start(&["import", "contacts.csv"]).wait_for(PATIENCE);
    let took = start.elapsed();
    let good = file.good_rows();
    let said = format!(
        "{good} taken, 0 already there, {} refused",
        file.refused.len()
    );
    assert_says(&ended, REFUSED, &said);
    Stock::of(&place).await.assert_gained(before, good);
    format!("{backend:?}: {said} in {took:.1?}")
}
