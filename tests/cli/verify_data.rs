//! `verify-data`: each check finds its planted fault, and intact data has none.

mod faults;

use std::collections::BTreeSet;

use contact_service::domain::data_check::DataCheck;
use rstest::rstest;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use self::faults::{FAULTS, Fault};
use crate::process::{Backend, Ended, Sandbox};

/// A connection that enforces neither foreign keys nor rule 2, as repairs by hand may do.
enum Unguarded {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Unguarded {
    async fn open(url: &str) -> Self {
        if url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            for event in ["delete", "update", "insert"] {
                let drop = format!("DROP TRIGGER contacts_keep_a_standard_on_{event}");
                connection.execute(raw(drop)).await.unwrap();
            }
            let off = raw("PRAGMA foreign_keys = OFF".to_owned());
            connection.execute(off).await.unwrap();
            return Self::Sqlite(connection);
        }
        let mut connection = PgConnection::connect(url).await.unwrap();
        let off = raw("SET session_replication_role = replica".to_owned());
        connection.execute(off).await.unwrap();
        Self::Postgres(connection)
    }

    /// Runs statements in which `{uuid}` is an id that no row has, `{uuid n}` a
    /// random one, and `{bytes N}` some bytes.
    async fn run(&mut self, sql: &str) {
        let (uuid, random_uuid, before, after) = match self {
            Self::Sqlite(_) => (
                "x'0190d6d25a3c7cc18f2e3d1f0a9b7c55'",
                "randomblob(16)",
                "x'",
                "'",
            ),
            Self::Postgres(_) => (
                "'0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55'::uuid",
                "gen_random_uuid()",
                "'\\x",
                "'",
            ),
        };
        let bytes = |count: usize| format!("{before}{}{after}", "ab".repeat(count));
        let statements = sql
            .replace("{uuid}", uuid)
            .replace("{uuid n}", random_uuid)
            .replace("{bytes 32}", &bytes(32))
            .replace("{bytes 5}", &bytes(5));
        let ended = match self {
            Self::Sqlite(connection) => connection.execute(raw(statements)).await.map(|_| ()),
            Self::Postgres(connection) => connection.execute(raw(statements)).await.map(|_| ()),
        };
        ended.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn raw(sql: String) -> sqlx::RawSql {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
}

/// Starts and stops a server with the sample customers.
async fn with_samples(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    sandbox
}

fn findings(sandbox: &Sandbox) -> Vec<Value> {
    let Ended { stdout, stderr, .. } = sandbox.run(&["verify-data", "--format", "jsonl"]);
    assert!(stderr.contains(" checked: "), "{stderr}");
    let lines = stdout.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn assert_intact(sandbox: &Sandbox, context: &str) {
    let ended = sandbox.run(&["verify-data"]);
    let (stdout, stderr) = (&ended.stdout, &ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{context}: {stdout}{stderr}");
    assert_eq!(stdout, "", "{context}");
    assert!(
        stderr.starts_with("3 customers, 6 contacts and "),
        "{stderr}"
    );
    assert!(stderr.contains(" checked: 0 findings\n"), "{stderr}");
}

#[rstest]
#[tokio::test]
async fn verify_data_finds_each_planted_fault_alone(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = with_samples(backend).await;
    assert_intact(&sandbox, "samples");
    let mut database = Unguarded::open(&sandbox.database_url()).await;
    for Fault {
        check,
        customer,
        plant,
        remove,
    } in FAULTS
    {
        database.run(plant).await;
        let found = findings(&sandbox);
        let checks = found.iter().map(|finding| finding["check"].as_str());
        let checks: BTreeSet<_> = checks.map(Option::unwrap).collect();
        assert_eq!(checks, BTreeSet::from([check.name]), "{found:?}");
        for finding in &found {
            assert_eq!(
                finding["customer_number"],
                Value::from(*customer),
                "{finding}"
            );
        }
        database.run(remove).await;
    }
    assert_intact(&sandbox, "all faults removed");
    println!("{backend:?}: {} faults found, each alone", FAULTS.len());
}

#[test]
fn every_check_has_a_planted_fault() {
    let planted: BTreeSet<_> = FAULTS.iter().map(|fault| fault.check.name).collect();
    let checks = DataCheck::ALL.iter().map(|check| check.name);
    let missing: Vec<_> = checks.filter(|name| !planted.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[rstest]
#[tokio::test]
async fn findings_are_lines_and_end_with_exit_code_1(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = with_samples(backend).await;
    let mut database = Unguarded::open(&sandbox.database_url()).await;
    database
        .run("UPDATE contacts SET types = 2 WHERE customer_number = 'K-1002' AND types = 1")
        .await;
    let ended = sandbox.run(&["verify-data"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "K-1002 last-standard-contact: rule 2: the customer has contacts, but no STANDARD contact; \
         give one of them the type STANDARD\n"
    );
    assert!(
        ended
            .stderr
            .ends_with(" checked: 1 findings\n  last-standard-contact: 1\n"),
        "{}",
        ended.stderr
    );
}
