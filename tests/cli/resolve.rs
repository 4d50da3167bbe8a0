//! `resolve`: results, report and errors.

#[path = "resolve/addresses.rs"]
mod addresses;
#[path = "resolve/all.rs"]
mod all;
#[path = "resolve/resume.rs"]
mod resume;
#[path = "resolve/summary.rs"]
mod summary;

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, time::Duration};

use rstest::rstest;

use crate::{
    import::row_counts::execute,
    process::{Backend, Ended, Sandbox},
};

/// An import of 100,000 customers takes minutes.
const PATIENCE: Duration = Duration::from_mins(15);

/// The sample customers, one that is not on file, and a line that is no number.
const NUMBERS: &str = "\u{feff}K-1001\r\nK-1002\n\n  K-1003 \nK-0\nno number\n";

async fn sandbox_with_samples(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    fs::write(sandbox.path().join("numbers"), NUMBERS).unwrap();
    sandbox
}

fn succeeded(ended: &Ended) {
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[rstest]
#[tokio::test]
async fn results_have_a_row_each_and_the_report_names_unreached(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let csv = sandbox.run(&["resolve", "numbers", "--purpose", "invoice"]);
    succeeded(&csv);
    let rows: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(
        rows[..3],
        [
            "customer_number,purpose,delivery,emails,attention_line,reason,error",
            "K-1001,INVOICE,EMAIL,anna.schmidt@muster.example;buchhaltung@muster.example,\
             \"z.Hd. Bernd Maier, Buchhaltung Filiale Süd\",,",
            "K-1002,INVOICE,POSTAL,,z.Hd. Emil Groß,EMAIL_UNCONFIRMED;INVOICE_EMAIL_OFF,",
        ]
    );
    assert!(rows[3].starts_with("K-1003,"), "{}", rows[3]);
    assert_eq!(
        rows[4],
        "K-0,INVOICE,,,,CUSTOMER_NOT_FOUND,there is no customer with this customer_number"
    );
    let invalid = "no number,INVOICE,,,,INVALID_CUSTOMER_NUMBER,";
    assert!(rows[5].starts_with(invalid), "{}", rows[5]);
    assert_eq!(rows.len(), 6);
    assert!(csv.stderr.contains("5 customers\n"), "{}", csv.stderr);
    for unreached in [
        "K-1002: by post: EMAIL_UNCONFIRMED, INVOICE_EMAIL_OFF\n",
        "K-0: there is no customer",
        "no number: ",
    ] {
        assert!(csv.stderr.contains(unreached), "{}", csv.stderr);
    }
    assert!(!csv.stderr.contains("K-1001"), "{}", csv.stderr);
}

#[rstest]
#[tokio::test]
async fn results_and_report_are_written_to_files(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let arguments = "resolve numbers --purpose security-notice --format jsonl --output results \
                     --report report";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ended = sandbox.run(&arguments);
    succeeded(&ended);
    assert_eq!(ended.stdout, "");
    let results = fs::read_to_string(sandbox.path().join("results")).unwrap();
    let results: Vec<serde_json::Value> = results
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(results.len(), 5);
    assert_eq!(results[0]["customer_number"], "K-1001");
    assert_eq!(results[0]["delivery"], "EMAIL");
    assert!(results[0]["emails"][0].is_string());
    assert_eq!(results[3]["delivery"], "");
    let report = fs::read_to_string(sandbox.path().join("report")).unwrap();
    assert!(report.contains("K-0: there is no customer"), "{report}");
    let metadata = fs::metadata(sandbox.path().join("results")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let mut entries = fs::read_dir(sandbox.path()).unwrap();
    let is_incomplete = |name: &str| name.contains(".part");
    assert!(!entries.any(|entry| is_incomplete(entry.unwrap().file_name().to_str().unwrap())));
}

#[rstest]
#[case::separated(&["--purpose", "security-notice,invoice"])]
#[case::repeated(&["--purpose", "security-notice", "--purpose", "invoice"])]
#[case::duplicated(&["--purpose", "security-notice,invoice,security-notice"])]
#[tokio::test]
async fn customer_has_a_row_for_each_purpose(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] purposes: &[&str],
) {
    let sandbox = sandbox_with_samples(backend).await;
    let ended = sandbox.run(&[&["resolve", "numbers"], purposes].concat());
    succeeded(&ended);
    let rows: Vec<&str> = ended.stdout.lines().skip(1).collect();
    let of_purpose = |name| {
        let ended = sandbox.run(&["resolve", "numbers", "--purpose", name]);
        let rows: Vec<String> = ended.stdout.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(rows.len(), 5);
        rows
    };
    let expected = of_purpose("security-notice").into_iter();
    let expected = expected.zip(of_purpose("invoice"));
    let expected: Vec<String> = expected.flat_map(|(one, other)| [one, other]).collect();
    assert_eq!(rows, expected);
    for line in [
        "K-1002: INVOICE: by post: EMAIL_UNCONFIRMED, INVOICE_EMAIL_OFF\n",
        "K-0: SECURITY_NOTICE: there is no customer",
        "K-0: INVOICE: there is no customer",
    ] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
}

#[rstest]
#[case::no_file(&["resolve", "missing", "--purpose", "invoice"], "missing cannot be read")]
#[case::no_purpose(&["resolve", "numbers"], "--purpose")]
#[case::unknown_purpose(&["resolve", "numbers", "--purpose", "party"], "invoice")]
#[case::no_room(
    &["resolve", "numbers", "--purpose", "invoice", "--attention-line-chars", "3"],
    "--attention-line-chars: must be at least 8"
)]
#[case::no_folder(
    &["resolve", "numbers", "--purpose", "invoice", "--output", "none/results"],
    "none/results cannot be written: there is no such folder"
)]
#[case::folder(
    &["resolve", "numbers", "--purpose", "invoice", "--output", "."],
    ". cannot be written: is a directory"
)]
#[case::no_regular_file(
    &["resolve", "numbers", "--purpose", "invoice", "--report", "/dev/null"],
    "/dev/null is not a regular file"
)]
#[case::one_file_for_both(
    &["resolve", "numbers", "--purpose", "invoice", "--report", "x", "--output", "x"],
    "--report: must be another file than that of --output"
)]
#[case::no_customers(&["resolve", "--purpose", "invoice"], "<FILE|--all>")]
#[case::file_and_all(
    &["resolve", "numbers", "--all", "--purpose", "invoice"],
    "cannot be used with"
)]
#[case::resume_without_output(
    &["resolve", "numbers", "--purpose", "invoice", "--resume"],
    "--output <FILE>"
)]
#[case::resume_of_addresses(
    &[
        "resolve", "numbers", "--purpose", "invoice", "--resume", "--by-address", "--output", "x",
    ],
    "'--resume' cannot be used with '--by-address'"
)]
#[case::resume_of_standard_input(
    &["resolve", "-", "--purpose", "invoice", "--resume", "--output", "x"],
    "--resume: standard input cannot be read again"
)]
#[tokio::test]
async fn invalid_arguments_and_files_are_reported(
    #[case] arguments: &[&str],
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    assert!(sandbox.run(&["migrate", "up"]).status.success());
    fs::write(sandbox.path().join("numbers"), NUMBERS).unwrap();
    let ended = sandbox.run(arguments);
    assert!(!ended.status.success());
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

/// Imports rows, and writes the file of their customer numbers.
fn import(sandbox: &Sandbox, rows: &[String], arguments: &[&str]) {
    let head = "customer_number,types,display_name,email,invoice_email_enabled\n";
    let text = format!("{head}{}", rows.concat());
    fs::write(sandbox.path().join("contacts.csv"), text).unwrap();
    let arguments = [
        &["import", "contacts.csv", "--create-customers"][..],
        arguments,
    ]
    .concat();
    succeeded(&sandbox.start(&arguments).wait_for(PATIENCE));
}

/// Returns the report of unreached customers, and the results.
fn resolve(sandbox: &Sandbox, purpose: &str) -> (String, String) {
    let arguments = ["resolve", "numbers", "--purpose", purpose];
    let output = ["--output", "results.csv", "--report", "report"];
    let arguments = [&arguments[..], &output].concat();
    succeeded(&sandbox.start(&arguments).wait_for(PATIENCE));
    let read = |name| fs::read_to_string(sandbox.path().join(name)).unwrap();
    (read("report"), read("results.csv"))
}

#[rstest]
#[tokio::test]
async fn report_names_the_cause_of_each_unreached_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    assert!(sandbox.run(&["migrate", "up"]).status.success());
    let row = |number: &str, email: &str| format!("{number},STANDARD,Anna,{email},no\n");
    let confirmed = [
        row("C-1", "a@muster.example"),
        row("C-2", "b@muster.example"),
    ];
    import(&sandbox, &confirmed, &["--emails-confirmed"]);
    import(
        &sandbox,
        &[row("C-3", "c@muster.example"), row("C-4", "")],
        &[],
    );
    let mark = "UPDATE contacts SET email_bounce_time = create_time WHERE customer_number = 'C-2'";
    execute(&sandbox, mark).await;
    let numbers = sandbox.path().join("numbers");
    fs::write(&numbers, "C-1\nC-2\nC-3\nC-4\n").unwrap();

    let (report, results) = resolve(&sandbox, "security-notice");
    let causes = [
        "C-2: EMAIL_BOUNCED, NO_EMAIL",
        "C-3: EMAIL_UNCONFIRMED, NO_EMAIL",
        "C-4: NO_EMAIL",
    ];
    assert_eq!(report.lines().collect::<Vec<_>>(), causes);
    let rows: Vec<&str> = results.lines().skip(1).collect();
    let expected = [
        "C-1,SECURITY_NOTICE,EMAIL,a@muster.example,,,",
        "C-2,SECURITY_NOTICE,NONE,,,EMAIL_BOUNCED;NO_EMAIL,",
        "C-3,SECURITY_NOTICE,NONE,,,EMAIL_UNCONFIRMED;NO_EMAIL,",
        "C-4,SECURITY_NOTICE,NONE,,,NO_EMAIL,",
    ];
    assert_eq!(rows, expected);

    execute(&sandbox, "UPDATE customers SET outages = FALSE").await;
    let (report, _) = resolve(&sandbox, "outage");
    let opted_out = ["C-1", "C-2", "C-3", "C-4"].map(|n| format!("{n}: NOTIFICATIONS_OFF"));
    assert_eq!(report.lines().collect::<Vec<_>>(), opted_out);

    let (report, results) = resolve(&sandbox, "invoice");
    let by_post = ["C-1", "C-2", "C-3", "C-4"].map(|n| format!("{n}: by post: INVOICE_EMAIL_OFF"));
    assert_eq!(report.lines().collect::<Vec<_>>(), by_post);
    assert!(
        results.contains("C-1,INVOICE,POSTAL,,z.Hd. Anna,INVOICE_EMAIL_OFF,\n"),
        "{results}"
    );
}

/// Imports customers with one confirmed STANDARD contact each, and resolves them.
async fn all_are_reached(backend: Backend, customers: usize) {
    let sandbox = Sandbox::on(backend).await;
    assert!(sandbox.run(&["migrate", "up"]).status.success());
    let rows: Vec<String> = (0..customers)
        .map(|n| format!("C-{n},STANDARD,Anna {n},anna{n}@muster.example,no\n"))
        .collect();
    import(&sandbox, &rows, &["--emails-confirmed"]);
    let mut numbers = String::new();
    for n in 0..customers {
        writeln!(numbers, "C-{n}").unwrap();
    }
    fs::write(sandbox.path().join("numbers"), numbers).unwrap();
    for purpose in ["security-notice", "planned-maintenance", "outage"] {
        let (report, results) = resolve(&sandbox, purpose);
        assert_eq!(report, "", "{purpose}");
        let name = purpose.to_uppercase().replace('-', "_");
        for (n, row) in results.lines().skip(1).enumerate() {
            assert_eq!(row, format!("C-{n},{name},EMAIL,anna{n}@muster.example,,,"));
        }
        assert_eq!(results.lines().count(), customers + 1, "{purpose}");
    }
    println!("{backend:?}: {customers} customers, all reached");
}

#[rstest]
#[tokio::test]
async fn notice_reaches_all_imported_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    all_are_reached(backend, 600).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test]
async fn proof_a_notice_reaches_all_of_100000_imported_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    all_are_reached(backend, 100_000).await;
}
