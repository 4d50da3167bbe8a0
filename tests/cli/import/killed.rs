//! An import that is killed and repeated: a small one in usual runs, one of 100,000 rows as a proof.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use rstest::rstest;

use super::{
    REJECTED, assert_output,
    malformed_rows::{Cells, MALFORMATIONS},
    rejects, rejects_files,
    row_counts::{RowCounts, execute},
    sandbox_with_samples, write,
};
use crate::process::{Backend, Sandbox};

/// Valid rows of a customer; a malformed one may be added.
const ROWS: usize = 4;
const FULL: usize = 100;
/// Customers without a STANDARD contact, and as many beyond the contact limit.
const FEW: usize = 2;
/// Customers of a transaction, and transactions that run concurrently.
const CUSTOMERS_PER_TRANSACTION: usize = 32;
const CONCURRENCY: usize = 8;
const PATIENCE: Duration = Duration::from_mins(15);

/// The size of a file.
struct Size {
    customers: usize,
    /// Malformed rows of each kind of [`MALFORMATIONS`].
    broken: usize,
}

const QUICK: Size = Size {
    customers: 20 * CUSTOMERS_PER_TRANSACTION,
    broken: 1,
};
/// 100,002 rows, of which 994 are malformed.
const PROOF: Size = Size {
    customers: 24_702,
    broken: 45,
};

fn number(customer: usize) -> String {
    format!("B-{customer}")
}

/// The rows of a file, and the line and reason of each rejected one.
#[derive(Default)]
struct File {
    rows: Vec<Vec<u8>>,
    rejects: Vec<(u64, &'static str)>,
    lines: usize,
}

impl File {
    fn push(&mut self, row: Vec<u8>) {
        self.lines += row.split(|byte| *byte == b'\n').count() - 1;
        self.rows.push(row);
    }

    fn push_broken(&mut self, row: Vec<u8>, reason: &'static str) {
        // Line 1 is the header.
        let line = u64::try_from(self.lines + 2).unwrap();
        self.rejects.push((line, reason));
        self.push(row);
    }

    fn valid_rows(&self) -> usize {
        self.rows.len() - self.rejects.len()
    }
}

/// Builds a file in which the rows of a customer are not adjacent.
fn file(size: &Size) -> File {
    let mut file = File::default();
    for rank in 0..ROWS {
        for customer in 0..size.customers {
            let name = format!("Contact {customer} {rank}");
            let row = Cells::valid(&number(customer), &name);
            file.push(if rank == ROWS - 1 {
                row.line()
            } else {
                row.with(1, "Technik").with(6, "").with(7, "").line()
            });
        }
        let ways = MALFORMATIONS
            .iter()
            .cycle()
            .take(size.broken * MALFORMATIONS.len());
        for (index, way) in ways.enumerate().filter(|(index, _)| index % ROWS == rank) {
            let customer = index * 7 % size.customers;
            let row = Cells::valid(&number(customer), &format!("Kaputt {index}"));
            // A line break within a malformed row would split it.
            file.push_broken(way.apply(row.with(7, "")), way.reason);
        }
    }
    for customer in size.customers..size.customers + FEW {
        for rank in 0..FULL {
            let row = Cells::valid(&number(customer), &format!("Voll {rank}"));
            file.push(row.line());
        }
        let row = Cells::valid(&number(customer), &format!("Voll {FULL}"));
        let reason = "customer_number: a customer has at most 100 contacts";
        file.push_broken(row.line(), reason);
        let row = Cells::valid(&number(customer + FEW), "Niemand");
        let row = row.with(1, "Technik").with(6, "").line();
        let reason = "types: the first contact of a customer must be of type STANDARD";
        file.push_broken(row, reason);
    }
    file
}

/// Returns a sandbox with customers `B-0` to `B-n`, without contacts.
pub(super) async fn sandbox_with_customers(backend: Backend, customers: usize) -> Sandbox {
    let sandbox = sandbox_with_samples(backend).await.with("RUST_LOG", "info");
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers \
           WHERE n + 1 < {customers}) \
         INSERT INTO customers (customer_number, security_notices, planned_maintenance, outages, \
           attention_line_suppressed, review_remind_time, version, write_count, create_time, \
           update_time) \
         SELECT 'B-' || n, TRUE, TRUE, TRUE, FALSE, '2027-01-01 00:00:00+00:00', 1, 0, \
           '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00' FROM numbers"
    );
    execute(&sandbox, &sql).await;
    sandbox
}

/// Starts an import, and kills it when it has written this many transactions.
fn kill_in_the_middle(sandbox: Sandbox, transactions: usize) -> Sandbox {
    let armed = format!("import-written={transactions}*off->return");
    let sandbox = sandbox.with("FAILPOINTS", armed);
    let mut running = sandbox.start(&["import", "contacts.csv"]);
    running.until_within(PATIENCE, |running| {
        running.stderr().contains("halted at import-written")
    });
    running.signal("KILL");
    assert!(!running.wait().status.success());
    sandbox.with("FAILPOINTS", "")
}

async fn killed_and_repeated(backend: Backend, size: &Size) -> String {
    let customers = size.customers + 2 * FEW;
    let sandbox = sandbox_with_customers(backend, customers).await;
    let file = file(size);
    write(&sandbox, &file.rows);
    let before = RowCounts::of(&sandbox).await;
    let transactions = size.customers / CUSTOMERS_PER_TRANSACTION / 2;
    let sandbox = kill_in_the_middle(sandbox, transactions);
    let half = RowCounts::of(&sandbox).await;
    let imported = half.contacts - before.contacts;
    let least = (transactions - CONCURRENCY) * CUSTOMERS_PER_TRANSACTION * ROWS;
    assert!(imported >= i64::try_from(least).unwrap(), "{imported}");
    half.assert_gained(before, usize::try_from(imported).unwrap());
    let left = rejects_files(&sandbox);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], "contacts.rejects.csv");

    let (good, broken) = (file.valid_rows(), file.rejects.len());
    let mut output = format!("{backend:?}: {} rows, {broken} broken", file.rows.len());
    let rest = i64::try_from(good).unwrap() - imported;
    let start = Instant::now();
    let arguments = ["import", "contacts.csv"];
    let ended = sandbox.start(&arguments).wait_for(PATIENCE);
    let message = format!("{rest} imported, {imported} already on file, {broken} rejected");
    assert_output(&ended, REJECTED, &message);
    write!(
        output,
        "; killed, then {message} in {:.1?}",
        start.elapsed()
    )
    .unwrap();
    let after = RowCounts::of(&sandbox).await;
    after.assert_gained(before, good);
    assert_rejected(&sandbox, &file.rejects);
    // The killed process left no temporary file.
    assert_eq!(rejects_files(&sandbox), ["contacts.rejects.csv"]);

    let start = Instant::now();
    let ended = sandbox.start(&arguments).wait_for(PATIENCE);
    let message = format!("0 imported, {good} already on file, {broken} rejected");
    assert_output(&ended, REJECTED, &message);
    write!(output, "; once more: {message} in {:.1?}", start.elapsed()).unwrap();
    assert_eq!(RowCounts::of(&sandbox).await, after);
    output
}

/// Asserts the lines and reasons of all rejected rows.
fn assert_rejected(sandbox: &Sandbox, expected: &[(u64, &str)]) {
    let rejects = rejects(sandbox);
    for ((line, reason), (broken, expected)) in rejects.iter().zip(expected) {
        assert_eq!(line, broken, "{reason:?}; expected: {expected:?}");
        assert!(
            reason.starts_with(expected),
            "line {line}: {reason:?} is not {expected:?}"
        );
    }
    assert_eq!(rejects.len(), expected.len());
}

#[rstest]
#[tokio::test]
async fn repeating_a_killed_import_completes_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    killed_and_repeated(backend, &QUICK).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test]
async fn proof_100000_rows_are_imported_once_although_killed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    println!("{}", killed_and_repeated(backend, &PROOF).await);
    println!("{}", all_at_once(backend, &PROOF).await);
}

/// Imports the same file without a kill, and returns the duration.
async fn all_at_once(backend: Backend, size: &Size) -> String {
    let sandbox = sandbox_with_customers(backend, size.customers + 2 * FEW).await;
    let file = file(size);
    write(&sandbox, &file.rows);
    let before = RowCounts::of(&sandbox).await;
    let start = Instant::now();
    let ended = sandbox
        .start(&["import", "contacts.csv"])
        .wait_for(PATIENCE);
    let took = start.elapsed();
    let good = file.valid_rows();
    let message = format!(
        "{good} imported, 0 already on file, {} rejected",
        file.rejects.len()
    );
    assert_output(&ended, REJECTED, &message);
    RowCounts::of(&sandbox).await.assert_gained(before, good);
    format!("{backend:?}: {message} in {took:.1?}")
}
