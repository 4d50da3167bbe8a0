//! `resolve --all`: the customers of the database, in the order of their numbers.

use std::fs;

use rstest::rstest;

use super::succeeded;
use crate::{
    import::row_counts::execute,
    process::{Backend, Sandbox, query_texts},
};

/// Returns a sandbox with customers `B-0` to `B-n` without contacts. Two of three have an address
/// in their contact data, and every fifth opted out of notices of outages.
pub(super) async fn sandbox_with_customers(backend: Backend, customers: usize) -> Sandbox {
    let sandbox = Sandbox::migrated_on(backend).await;
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers \
           WHERE n + 1 < {customers}) \
         INSERT INTO customers (customer_number, email, security_notices, planned_maintenance, \
           outages, attention_line_suppressed, review_remind_time, version, write_count, \
           create_time, update_time) \
         SELECT 'B-' || n, CASE WHEN n % 3 > 0 THEN 'office' || n || '@muster.example' END, TRUE, \
           TRUE, n % 5 > 0, FALSE, '2027-01-01 00:00:00+00:00', 1, 0, \
           '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00' FROM numbers"
    );
    execute(&sandbox, &sql).await;
    sandbox
}

/// Returns the customer numbers in the order of the database.
pub(super) async fn numbers(sandbox: &Sandbox) -> Vec<String> {
    let sql = "SELECT customer_number FROM customers ORDER BY customer_number";
    query_texts(&sandbox.database_url(), sql).await
}

#[rstest]
#[tokio::test]
async fn all_customers_are_those_of_a_file_of_all_numbers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    // More than a batch.
    let sandbox = sandbox_with_customers(backend, 1_201).await;
    let numbers = numbers(&sandbox).await;
    fs::write(sandbox.path().join("numbers"), numbers.join("\n")).unwrap();
    let options = ["--purpose", "general,outage"];
    let of_file = sandbox.run(&[&["resolve", "numbers"][..], &options].concat());
    let all = sandbox.run(&[&["resolve", "--all"][..], &options].concat());
    succeeded(&all);
    assert_eq!(all.stdout.lines().count(), 1 + 2 * 1_201);
    assert_eq!(all.stdout, of_file.stdout);
    assert_eq!(all.stderr, of_file.stderr);
}

#[rstest]
#[tokio::test]
async fn all_customers_of_an_empty_database_are_a_header(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend).await;
    let arguments = "resolve --all --purpose general --output results";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    succeeded(&sandbox.run(&arguments));
    let results = fs::read_to_string(sandbox.path().join("results")).unwrap();
    let header = "customer_number,purpose,delivery,emails,attention_line,reason,error\n";
    assert_eq!(results, header);
}

#[rstest]
#[tokio::test]
async fn customer_that_is_erased_during_the_run_is_left_out(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_customers(backend, 20)
        .await
        .with("RUST_LOG", "warn,contact_service::cli=debug")
        .with("FAILPOINTS", "customers-listed=1*sleep(3000)");
    let mut expected = numbers(&sandbox).await;
    let mut running = sandbox.start(&["resolve", "--all", "--purpose", "general,invoice"]);
    running.until(|running| running.stderr().contains("customers listed"));
    let erase = "DELETE FROM customers WHERE customer_number IN ('B-7', 'B-19')";
    execute(&sandbox, erase).await;
    let ended = running.wait();
    succeeded(&ended);
    expected.retain(|number| number != "B-7" && number != "B-19");
    let rows = ended.stdout.lines().skip(1);
    let listed: Vec<&str> = rows.map(|row| row.split(',').next().unwrap()).collect();
    let expected: Vec<&str> = expected.iter().flat_map(|number| [&**number; 2]).collect();
    assert_eq!(listed, expected);
    assert!(ended.stderr.contains("18 customers\n"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("CUSTOMER_NOT_FOUND"),
        "{}",
        ended.stderr
    );
}
