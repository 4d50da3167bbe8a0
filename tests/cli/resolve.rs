//! `resolve FILE`: results, report and errors.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

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
            "customer_number,delivery,emails,attention_line,error",
            "K-1001,EMAIL,anna.schmidt@muster.example;buchhaltung@muster.example,\
             \"z.Hd. Bernd Maier, Buchhaltung Filiale Süd\",",
            "K-1002,POSTAL,,z.Hd. Emil Groß,",
        ]
    );
    assert!(rows[3].starts_with("K-1003,"), "{}", rows[3]);
    assert_eq!(
        rows[4],
        "K-0,,,,there is no customer with this customer_number"
    );
    assert!(rows[5].starts_with("no number,,,,"), "{}", rows[5]);
    assert_eq!(rows.len(), 6);
    assert!(
        csv.stderr.contains("5 customers resolved"),
        "{}",
        csv.stderr
    );
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
    let is_incomplete = |path: &Path| path.extension() == Some("part".as_ref());
    assert!(!entries.any(|entry| is_incomplete(&entry.unwrap().path())));
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
        "C-1,EMAIL,a@muster.example,,",
        "C-2,NONE,,,",
        "C-3,NONE,,,",
        "C-4,NONE,,,",
    ];
    assert_eq!(rows, expected);

    execute(&sandbox, "UPDATE customers SET outages = FALSE").await;
    let (report, _) = resolve(&sandbox, "outage");
    let opted_out = ["C-1", "C-2", "C-3", "C-4"].map(|n| format!("{n}: NOTIFICATIONS_OFF"));
    assert_eq!(report.lines().collect::<Vec<_>>(), opted_out);

    let (report, results) = resolve(&sandbox, "invoice");
    let by_post = ["C-1", "C-2", "C-3", "C-4"].map(|n| format!("{n}: by post: INVOICE_EMAIL_OFF"));
    assert_eq!(report.lines().collect::<Vec<_>>(), by_post);
    assert!(results.contains("C-1,POSTAL,,z.Hd. Anna,\n"), "{results}");
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
        for (n, row) in results.lines().skip(1).enumerate() {
            assert_eq!(row, format!("C-{n},EMAIL,anna{n}@muster.example,,"));
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
