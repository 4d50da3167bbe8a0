//! `resolve --by-address`: one row per address, with its customers.

use std::fs;

use rstest::rstest;

use super::{import, succeeded, summary::Summary};
use crate::process::{Backend, Sandbox};

const ROWS: [&str; 6] = [
    "C-1,STANDARD,Anna,Anna@muster.example,yes\n",
    "C-1,ACCOUNTING,Bernd,bernd@muster.example,yes\n",
    "C-2,STANDARD,Anna,aNNA@MUSTER.example,yes\n",
    "C-3,STANDARD,Carla,carla@beispiel.example,no\n",
    "C-4,STANDARD,Dora,,no\n",
    "C-5,STANDARD,Anna,anna@muster.example,no\n",
];

async fn sandbox_with_shared_addresses(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::migrated_on(backend).await;
    let rows = ROWS.map(str::to_owned);
    import(&sandbox, &rows, &["--emails-confirmed"]);
    // A number twice must not have its customer written to twice.
    let numbers = "C-1\nC-2\nC-3\nC-4\nC-5\nC-1\nC-0\n";
    fs::write(sandbox.path().join("numbers"), numbers).unwrap();
    sandbox
}

#[rstest]
#[tokio::test]
async fn address_has_a_row_with_all_of_its_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_shared_addresses(backend).await;
    let command = ["resolve", "numbers", "--by-address", "--purpose"];
    let csv = sandbox.run(&[&command[..], &["invoice,general", "--report", "report"]].concat());
    succeeded(&csv);
    let expected = "email,locale,purpose,customers\n\
        Anna@muster.example,de,INVOICE,C-1;C-2\n\
        bernd@muster.example,de,INVOICE,C-1\n\
        Anna@muster.example,de,GENERAL,C-1;C-2;C-5\n\
        carla@beispiel.example,de,GENERAL,C-3\n";
    assert_eq!(csv.stdout, expected);
    let report = fs::read_to_string(sandbox.path().join("report")).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    let missing = "there is no customer with this customer_number";
    let expected = [
        "C-3: INVOICE: by post: INVOICE_EMAIL_OFF",
        "C-4: INVOICE: by post: INVOICE_EMAIL_OFF",
        "C-4: GENERAL: NO_EMAIL",
        "C-5: INVOICE: by post: INVOICE_EMAIL_OFF",
        &format!("C-0: INVOICE: {missing}"),
        &format!("C-0: GENERAL: {missing}"),
    ];
    assert_eq!(lines, expected);
    let summary = Summary::parse(&csv.stderr);
    // A mail to each address, for all of its customers.
    assert_eq!(summary.purposes["INVOICE"].mails, 2);
    assert_eq!(summary.purposes["GENERAL"].mails, 2);
    assert_eq!(summary.purposes["GENERAL"].by_email, 5);

    let json = sandbox.run(&[&command[..], &["general", "--format", "jsonl"]].concat());
    let expected = "{\"email\":\"Anna@muster.example\",\"locale\":\"de\",\
        \"purpose\":\"GENERAL\",\"customers\":[\"C-1\",\"C-2\",\"C-5\"]}\n\
        {\"email\":\"carla@beispiel.example\",\"locale\":\"de\",\
        \"purpose\":\"GENERAL\",\"customers\":[\"C-3\"]}\n";
    assert_eq!(json.stdout, expected);
}

/// Its rows come at the end, so that an interrupted run leaves nothing to continue.
#[rstest]
#[tokio::test]
async fn rows_of_addresses_need_no_partial_file(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_shared_addresses(backend).await;
    fs::write(sandbox.path().join("results.partial"), "of another run").unwrap();
    let arguments = "resolve --all --by-address --purpose general --output results";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    succeeded(&sandbox.run(&arguments));
    let results = fs::read_to_string(sandbox.path().join("results")).unwrap();
    assert!(results.contains(",C-1;C-2;C-5\n"), "{results}");
}
