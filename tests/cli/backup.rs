//! `backup` of an embedded database.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    drills::{token, write},
    process::{Backend, Sandbox, client, query_texts},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_of_a_serving_database_has_all_acknowledged_writes() {
    let sandbox = Sandbox::migrated_on(Backend::Sqlite).await;
    let (server, address) = sandbox.serve(&[]);
    let mut writer = client(&address, &token(&sandbox));
    for number in ["K-1", "K-2"] {
        write(&mut writer, number, "+4972191374001").await.unwrap();
    }
    let printed = sandbox.run(&["backup", "copy.db"]).printed();
    assert!(
        printed.starts_with("backed up the database to copy.db: "),
        "{printed}"
    );
    write(&mut writer, "K-3", "+4972191374001").await.unwrap();
    server.signal("TERM");
    server.wait();

    let copy = sandbox.path().join("copy.db");
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let url = format!("sqlite://{}", copy.display());
    let numbers = query_texts(&url, "SELECT customer_number FROM customers ORDER BY 1").await;
    assert_eq!(numbers, ["K-1", "K-2"]);
    let restored = sandbox.with("DATABASE_URL", url);
    let verified = restored.run(&["verify-data"]);
    assert!(
        verified.status.success(),
        "{}{}",
        verified.stdout,
        verified.stderr
    );
    assert!(
        verified.stderr.starts_with("2 customers, "),
        "{}",
        verified.stderr
    );
}

#[tokio::test]
async fn backup_replaces_no_file_and_leaves_no_other() {
    let sandbox = Sandbox::migrated_on(Backend::Sqlite).await;
    let copy = sandbox.path().join("copy.db");
    fs::write(&copy, "precious").unwrap();
    let error_line = sandbox.run(&["backup", "copy.db"]).error_line();
    assert_eq!(
        error_line,
        "copy.db cannot be written: entity already exists"
    );
    assert_eq!(fs::read_to_string(&copy).unwrap(), "precious");
    let error_line = sandbox.run(&["backup", "missing/copy.db"]).error_line();
    assert_eq!(
        error_line,
        "missing/copy.db cannot be written: there is no such folder"
    );
    sandbox.run(&["backup", "other.db"]).printed();
    let names = fs::read_dir(sandbox.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["copy.db", "data", "other.db"]);
}

#[tokio::test]
async fn backup_names_what_cannot_be_backed_up() {
    let sandbox = Sandbox::on(Backend::Postgres).await;
    let error_line = sandbox.run(&["backup", "copy.db"]).error_line();
    assert!(error_line.starts_with("DATABASE_URL: "), "{error_line}");
    assert!(error_line.contains("pg_basebackup"), "{error_line}");
    let error_line = Sandbox::new().run(&["backup", "copy.db"]).error_line();
    assert!(
        error_line.contains("contacts.db is missing"),
        "{error_line}"
    );
}
