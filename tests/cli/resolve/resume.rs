//! `resolve --resume`: no row is lost or doubled, wherever a run was interrupted.

use std::{fs, time::Duration};

use contact_service::crypto::random::Random;
use rstest::rstest;

use super::{
    all::{numbers, sandbox_with_customers},
    succeeded,
};
use crate::process::{Backend, Sandbox};

const KILLS: u64 = 10;
const CUSTOMERS: usize = 3_000;
const PATIENCE: Duration = Duration::from_mins(3);
const OPTIONS: &[&str] = &["--output", "results", "--report", "report", "--purpose"];
const SETTINGS: &str =
    "a file, --purpose invoice,general, --format csv, --attention-line-chars 70\n";

/// Returns a number below `limit`.
fn below(limit: u64) -> u64 {
    u64::from_be_bytes(Random::system().bytes().unwrap()) % limit.max(1)
}

fn read(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    fs::read(sandbox.path().join(name)).unwrap()
}

fn write(sandbox: &Sandbox, name: &str, text: impl AsRef<[u8]>) {
    fs::write(sandbox.path().join(name), text).unwrap();
}

fn partial_length(sandbox: &Sandbox) -> u64 {
    let partial = sandbox.path().join("results.partial");
    partial.metadata().map_or(0, |file| file.len())
}

async fn sandbox_with_numbers(backend: Backend, customers: usize) -> Sandbox {
    let sandbox = sandbox_with_customers(backend, customers).await;
    write(&sandbox, "numbers", numbers(&sandbox).await.join("\n"));
    sandbox
}

/// Kills a run of a length in bytes somewhere, possibly before its first row.
fn kill_once(sandbox: &Sandbox, arguments: &[&str], length: u64) {
    let until = partial_length(sandbox) + below(length / (KILLS + 4));
    let mut running = sandbox.start(arguments);
    running.until_within(PATIENCE, |_| partial_length(sandbox) >= until);
    running.signal("KILL");
    assert!(!running.wait().status.success());
}

#[rstest]
#[case(Backend::Sqlite, "numbers", "csv")]
#[case(Backend::Sqlite, "--all", "jsonl")]
#[case(Backend::Postgres, "numbers", "jsonl")]
#[case(Backend::Postgres, "--all", "csv")]
#[tokio::test]
async fn killed_and_resumed_run_equals_an_uninterrupted_one(
    #[case] backend: Backend,
    #[case] source: &str,
    #[case] format: &str,
) {
    let sandbox = sandbox_with_numbers(backend, CUSTOMERS).await;
    let purposes = ["invoice,general,outage", "--format", format];
    let arguments = [&["resolve", source], OPTIONS, &purposes].concat();
    let uninterrupted = sandbox.run(&arguments);
    succeeded(&uninterrupted);
    let (results, report) = (read(&sandbox, "results"), read(&sandbox, "report"));
    fs::remove_file(sandbox.path().join("results")).unwrap();

    // Slow enough that every kill comes before the end.
    let sandbox = sandbox.with("FAILPOINTS", "customer-written=sleep(1)");
    let arguments = [&arguments[..], &["--resume"]].concat();
    for _ in 0..KILLS {
        kill_once(&sandbox, &arguments, results.len() as u64);
        assert!(!sandbox.path().join("results").exists());
    }
    assert!(partial_length(&sandbox) > 0);
    let sandbox = sandbox.with("FAILPOINTS", "");
    let resumed = sandbox.run(&arguments);
    succeeded(&resumed);
    assert!(read(&sandbox, "results") == results, "other results");
    assert!(read(&sandbox, "report") == report, "another report");
    assert_eq!(resumed.stderr, uninterrupted.stderr);
    for name in ["results.partial", "results.partial.settings"] {
        assert!(!sandbox.path().join(name).exists(), "{name}");
    }
}

/// Between and within rows, the header, customers, and anywhere.
#[rstest]
#[tokio::test]
async fn partial_file_that_ends_anywhere_is_continued(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_numbers(backend, 30).await;
    let arguments = [&["resolve", "numbers"], OPTIONS, &["invoice,general"]].concat();
    let uninterrupted = sandbox.run(&arguments);
    succeeded(&uninterrupted);
    let (results, report) = (read(&sandbox, "results"), read(&sandbox, "report"));
    let ends = |count: usize| {
        let lines = results.split_inclusive(|&byte| byte == b'\n').take(count);
        lines.map(<[u8]>::len).sum::<usize>()
    };
    let mut cuts = vec![0, 1, results.len() - 1, results.len()];
    for lines in 1..5 {
        cuts.extend([ends(lines), ends(lines) + 5]);
    }
    cuts.extend((0..6).map(|_| usize::try_from(below(results.len() as u64)).unwrap()));
    let arguments = [&arguments[..], &["--resume"]].concat();
    for cut in cuts {
        write(&sandbox, "results.partial", &results[..cut]);
        write(&sandbox, "results.partial.settings", SETTINGS);
        let resumed = sandbox.run(&arguments);
        succeeded(&resumed);
        assert!(read(&sandbox, "results") == results, "cut at {cut}");
        assert!(read(&sandbox, "report") == report, "cut at {cut}");
        assert_eq!(resumed.stderr, uninterrupted.stderr, "cut at {cut}");
    }
}

const HEADER: &str = "customer_number,purpose,delivery,emails,attention_line,reason,error\n";

#[rstest]
#[case::not_asked_for(&[], SETTINGS, "B-0", "is left from an interrupted run: continue it with")]
#[case::other_purposes(
    &["--resume"],
    "a file, --purpose invoice, --format csv, --attention-line-chars 70\n",
    "B-0",
    "was written with a file, --purpose invoice, --format csv"
)]
#[case::other_format(
    &["--resume", "--format", "jsonl"],
    SETTINGS,
    "B-0",
    "was written with a file, --purpose invoice,general, --format csv"
)]
#[case::other_room(
    &["--resume", "--attention-line-chars", "60"],
    SETTINGS,
    "B-0",
    "--attention-line-chars 70: continue it with the same options"
)]
#[case::no_settings(
    &["--resume"],
    "",
    "B-0",
    "results.partial.settings is missing; delete the file"
)]
#[case::other_customers(
    &["--resume"],
    SETTINGS,
    "B-1",
    "customer 1 of numbers is another one"
)]
#[case::damaged(
    &["--resume"],
    SETTINGS,
    "B-0,INVOICE,BY_PIGEON,,,,\nB-0",
    "line 2 is not one of this run; delete the file"
)]
#[tokio::test]
async fn partial_file_of_another_run_is_rejected_and_kept(
    #[case] options: &[&str],
    #[case] settings: &str,
    #[case] customer: &str,
    #[case] message: &str,
) {
    let sandbox = sandbox_with_numbers(Backend::Sqlite, 3).await;
    let rows = format!(
        "{HEADER}{customer},INVOICE,POSTAL,,,NO_CONTACT,\n{customer},GENERAL,NONE,,,NO_EMAIL,\nB"
    );
    write(&sandbox, "results.partial", &rows);
    write(&sandbox, "results.partial.settings", settings);
    let arguments = [
        &["resolve", "numbers"],
        OPTIONS,
        &["invoice,general"],
        options,
    ]
    .concat();
    let line = sandbox.run(&arguments).error_line();
    assert!(line.starts_with("results.partial "), "{line}");
    assert!(line.contains(message), "{line}");
    assert_eq!(read(&sandbox, "results.partial"), rows.as_bytes());
    assert!(!sandbox.path().join("results").exists());
    assert!(!sandbox.path().join("report").exists());
}

/// The second one would write into the rows of the first one.
#[tokio::test]
async fn partial_file_has_one_writer() {
    let sandbox = sandbox_with_numbers(Backend::Sqlite, 2_000).await;
    let sandbox = sandbox.with("FAILPOINTS", "customer-written=sleep(1)");
    let arguments = [&["resolve", "numbers"], OPTIONS, &["invoice", "--resume"]].concat();
    let mut first = sandbox.start(&arguments);
    first.until(|_| partial_length(&sandbox) > 0);
    let second = sandbox.run(&arguments).error_line();
    assert_eq!(
        second,
        "results.partial is being written by another process"
    );
    succeeded(&first.wait());
    let results = String::from_utf8(read(&sandbox, "results")).unwrap();
    assert_eq!(results.lines().count(), 2_001);
}

/// A run that fails says how to go on, and one without rows leaves nothing.
#[tokio::test]
async fn failed_run_keeps_its_rows_and_leaves_no_empty_file() {
    let sandbox = sandbox_with_numbers(Backend::Sqlite, 700).await;
    let numbers = read(&sandbox, "numbers");
    let arguments = [&["resolve", "numbers"], OPTIONS, &["invoice,general"]].concat();
    write(&sandbox, "numbers", b"\xff\n");
    let line = sandbox.run(&arguments).error_line();
    assert!(line.starts_with("numbers cannot be read: "), "{line}");
    assert!(!line.contains("--resume"), "{line}");
    assert!(!sandbox.path().join("results.partial").exists());
    assert!(!sandbox.path().join("results.partial.settings").exists());

    write(&sandbox, "numbers", [&numbers[..], b"\n\xff\n"].concat());
    let line = sandbox.run(&arguments).error_line();
    let hint = "results.partial has the rows until then: continue with --resume";
    assert!(line.ends_with(hint), "{line}");
    write(&sandbox, "numbers", numbers);
    succeeded(&sandbox.run(&[&arguments[..], &["--resume"]].concat()));
    let results = String::from_utf8(read(&sandbox, "results")).unwrap();
    assert_eq!(results.lines().count(), 1_401);
}

/// Lines that were inserted before the last resolved customer would shift all others.
#[tokio::test]
async fn changed_customer_file_is_rejected() {
    let sandbox = sandbox_with_numbers(Backend::Sqlite, 600).await;
    let sandbox = sandbox.with("FAILPOINTS", "customer-written=400*off->return");
    let arguments = [
        &["resolve", "numbers"],
        OPTIONS,
        &["invoice,general", "--resume"],
    ]
    .concat();
    let mut running = sandbox.start(&arguments);
    running.until(|_| partial_length(&sandbox) > 0);
    running.signal("KILL");
    running.wait();
    let sandbox = sandbox.with("FAILPOINTS", "");
    let numbers = String::from_utf8(read(&sandbox, "numbers")).unwrap();
    write(&sandbox, "numbers", format!("new\n{numbers}"));
    let line = sandbox.run(&arguments).error_line();
    assert!(
        line.contains("customer 1 of numbers is another one"),
        "{line}"
    );
    write(&sandbox, "numbers", "B-0\n");
    let line = sandbox.run(&arguments).error_line();
    assert!(
        line.contains("customer 2 of numbers is another one"),
        "{line}"
    );
    write(&sandbox, "numbers", numbers);
    succeeded(&sandbox.run(&arguments));
}
