//! `migrate` and `token`.

use std::{collections::HashSet, fs};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rstest::rstest;
use serde_json::Value;

use crate::process::{Backend, Sandbox, query_texts};

const MIGRATION: &str = "m20261128_000001_base";

#[rstest]
#[tokio::test]
async fn migrate_up_applies_what_status_lists_as_missing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    let (missing, applied) = (
        format!("missing {MIGRATION}"),
        format!("applied {MIGRATION}"),
    );
    let lines = |arguments: [&str; 2]| {
        let printed = sandbox.run(&arguments).printed();
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = lines(["migrate", "status"]);
    assert_eq!(before.first(), Some(&missing));
    assert!(before.iter().all(|line| line.starts_with("missing ")));
    for arguments in [["migrate", "up"], ["migrate", "status"], ["migrate", "up"]] {
        let after = lines(arguments);
        assert_eq!(after.first(), Some(&applied));
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|line| line.starts_with("applied ")));
    }
}

#[rstest]
#[tokio::test]
async fn migrate_up_may_run_concurrently(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    let both = [(); 2].map(|()| sandbox.start(&["migrate", "up"]));
    for ended in both.map(crate::process::Running::wait) {
        let printed = ended.printed();
        assert!(
            printed.lines().all(|line| line.starts_with("applied ")),
            "{printed}"
        );
    }
}

#[test]
fn migrate_grants_prints_one_transaction_for_the_named_roles() {
    let sandbox = Sandbox::new();
    let arguments = ["migrate", "grants", "--role", "service", "--reader", "a\"b"];
    let printed = sandbox
        .run(&[&arguments[..], &["--schema", "own"]].concat())
        .printed();
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines.starts_with(&[
        "-- Run by the owner of the tables, after contact-service migrate up.",
        "BEGIN;",
    ]));
    assert_eq!(lines.last(), Some(&"COMMIT;"));
    for line in [
        r#"GRANT USAGE ON SCHEMA "own" TO "service";"#,
        r#"GRANT SELECT, INSERT, DELETE ON "own".audit_events TO "service";"#,
        r#"GRANT SELECT ON "own".seaql_migrations TO "service";"#,
        r#"GRANT USAGE ON SCHEMA "own" TO "a""b";"#,
    ] {
        assert!(lines.contains(&line), "{line} is not in {printed}");
    }
    let data = sandbox.path().join("data");
    assert!(!data.exists(), "it opened a database");
}

#[rstest]
#[case::empty("")]
#[case::too_long(&"x".repeat(64))]
#[case::two_lines("a\nb")]
fn migrate_grants_rejects_invalid_names(#[case] name: &str) {
    let ended = Sandbox::new().run(&["migrate", "grants", "--role", name]);
    assert_eq!(ended.status.code(), Some(2));
    let error = ended.stderr;
    assert!(error.contains("--role"), "{error}");
    assert!(error.contains("must be a name of 1 to 63 bytes"), "{error}");
}

#[rstest]
#[tokio::test]
async fn migrate_up_distributed_requires_citus(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    let error_line = sandbox
        .run(&["migrate", "up", "--distributed"])
        .error_line();
    assert!(
        error_line.starts_with("DATABASE_URL: it cannot be distributed: it has no Citus"),
        "{error_line}"
    );
    let printed = sandbox.run(&["migrate", "status"]).printed();
    assert!(printed.starts_with("missing "), "{printed}");
}

/// Versions before the first release had other migrations.
#[rstest]
#[tokio::test]
async fn schema_of_before_the_first_release_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0");
    let older = "UPDATE seaql_migrations SET version = 'm20261123_000001_core' RETURNING version";
    query_texts(&sandbox.database_url(), older).await;
    for arguments in [
        &["migrate", "up"][..],
        &["migrate", "status"],
        &["export", "K-1"],
        &["serve"],
    ] {
        let error_line = sandbox.run(arguments).error_line();
        assert!(
            error_line.starts_with("DATABASE_URL: a version before the first release"),
            "{arguments:?}: {error_line}"
        );
    }
}

async fn epoch(sandbox: &Sandbox) -> String {
    let sql = if sandbox.database_url().starts_with("sqlite") {
        "SELECT hex(epoch) FROM change_feed"
    } else {
        "SELECT epoch::text FROM change_feed"
    };
    query_texts(&sandbox.database_url(), sql).await.remove(0)
}

#[rstest]
#[tokio::test]
async fn renew_feed_renews_the_epoch_each_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    sandbox.run(&["migrate", "up"]).printed();
    let mut epochs = HashSet::from([epoch(&sandbox).await]);
    for _ in 0..2 {
        let printed = sandbox.run(&["migrate", "renew-feed"]).printed();
        assert!(printed.contains("CURSOR_EXPIRED"), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert!(epochs.insert(epoch(&sandbox).await));
    }
}

#[rstest]
#[tokio::test]
async fn renew_feed_rejects_a_database_without_the_schema(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    let error_line = sandbox.run(&["migrate", "renew-feed"]).error_line();
    let why = match backend {
        Backend::Sqlite => "data/contacts.db is missing: set DATA_DIR",
        Backend::Postgres => "the schema lacks",
    };
    assert!(
        error_line.starts_with(&format!("DATABASE_URL: {why}")),
        "{error_line}"
    );
}

fn token(extra: &[&str]) -> Vec<String> {
    let arguments = ["token", "--sub", "tester", "--scope", "customers.read"];
    let all = arguments.iter().chain(extra);
    all.map(|&argument| argument.to_owned()).collect()
}

#[rstest]
#[case(&["--ttl", ""], "--ttl")]
#[case(&["--ttl", "15"], "--ttl")]
#[case(&["--ttl", "m"], "--ttl")]
#[case(&["--ttl", "15x"], "--ttl")]
#[case(&["--ttl", "15ms"], "--ttl")]
#[case(&["--ttl", "1.5h"], "--ttl")]
#[case(&["--ttl", "0s"], "--ttl")]
#[case(&["--ttl=-5m"], "--ttl")]
#[case(&["--ttl", "4294967295d"], "--ttl")]
#[case(&["--ttl", "99999999999999999999m"], "--ttl")]
#[case(&["--customer", ""], "--customer")]
#[case(&["--customer", "K 1"], "--customer")]
#[case(&["--customer", "K-1001; DROP TABLE customers; -- x"], "--customer")]
fn invalid_token_arguments_are_rejected(#[case] wrong: &[&str], #[case] named: &str) {
    let arguments = token(wrong);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error_line = Sandbox::new().run(&arguments).error_line();
    assert!(
        error_line.starts_with(&format!("{named}: ")),
        "{error_line}"
    );
}

#[test]
fn unknown_scope_is_minted_with_a_warning() {
    let scope = "customers.read customers.reed";
    let sandbox = Sandbox::new().with_keys();
    let ended = sandbox.run(&["token", "--sub", "tester", "--scope", scope]);
    assert!(ended.status.success());
    assert_eq!(ended.stdout.split('.').count(), 3, "{}", ended.stdout);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("\"customers.reed\""),
        "{}",
        ended.stderr
    );
}

#[test]
fn token_with_a_blank_subject_is_rejected() {
    let sandbox = Sandbox::new();
    let error_line = sandbox
        .run(&["token", "--sub", " ", "--scope", "customers.read"])
        .error_line();
    assert!(error_line.starts_with("--sub: "), "{error_line}");
}

#[test]
fn token_is_rejected_if_jwks_is_configured() {
    let sandbox = Sandbox::new().with("JWT_JWKS", "keys.json");
    fs::write(sandbox.path().join("keys.json"), r#"{"keys": []}"#).unwrap();
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error_line = sandbox.run(&arguments).error_line();
    assert!(error_line.starts_with("JWT_JWKS: "), "{error_line}");
    assert!(!sandbox.path().join("data").exists());
}

#[test]
fn token_is_rejected_if_an_issuer_is_configured() {
    let sandbox = Sandbox::new().with("JWT_ISSUER", "https://sso.hoster.example/realms/hoster");
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error_line = sandbox.run(&arguments).error_line();
    assert!(error_line.starts_with("JWT_ISSUER: "), "{error_line}");
    assert!(!sandbox.path().join("data").exists());
}

#[test]
fn token_has_the_first_issuer_and_configured_claims() {
    let sandbox = Sandbox::new()
        .with_keys()
        .with("JWT_ISSUER", "one, two")
        .with("JWT_AUDIENCE", "three,four")
        .with("JWT_SCOPE_CLAIM", "permissions")
        .with(
            "JWT_CUSTOMER_CLAIM",
            "https://hoster.example/customer_number",
        );
    let arguments = token(&["--customer", "K-1"]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let printed = sandbox.run(&arguments).printed();
    let payload = printed.split('.').nth(1).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    for (claim, value) in [
        ("iss", "one"),
        ("aud", "three"),
        ("permissions", "customers.read"),
        ("https://hoster.example/customer_number", "K-1"),
    ] {
        assert_eq!(claims[claim], value, "{claims}");
    }
}

/// No server would accept a token that is signed with new keys.
#[rstest]
#[case::empty_folder(None)]
#[case::missing_data_dir(Some("elsewhere"))]
#[tokio::test]
async fn token_without_a_servers_keys_is_rejected(#[case] data_dir: Option<&str>) {
    let sandbox = Sandbox::new();
    let sandbox = match data_dir {
        Some(folder) => sandbox.with_keys().with("DATA_DIR", folder),
        None => sandbox,
    };
    let before = fs::read_dir(sandbox.path()).unwrap().count();
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let error_line = sandbox.run(&arguments).error_line();
    let folder = data_dir.unwrap_or("data");
    let why = format!("DATA_DIR: no server has made its development keys in {folder}: start ");
    assert!(error_line.starts_with(&why), "{error_line}");
    assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), before);
}

#[test]
fn data_dir_holds_keys_database_and_mails() {
    let sandbox = Sandbox::new()
        .with("DATA_DIR", "kept here/100%?")
        .with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    let minted = sandbox.run(&["token", "--sub", "x", "--scope", "customers.read"]);
    assert_eq!(minted.printed().split('.').count(), 3);
    let export = sandbox.run(&["export", "K-1001"]).printed();
    assert!(export.contains("Anna Schmidt"), "{export}");
    let mails = sandbox.path().join("kept here/100%?/mail");
    let mut server = server;
    server.until(|_| fs::read_dir(&mails).is_ok_and(|files| files.count() > 0));
    server.signal("TERM");
    server.wait();
    let made = fs::read_dir(sandbox.path()).unwrap();
    let made: Vec<_> = made.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["kept here"]);
    assert!(mails.with_file_name("contacts.db").exists());
}

#[rstest]
#[case(&["export", "K-1"])]
#[case(&["resolve", "numbers", "--purpose", "general"])]
fn missing_database_is_reported_and_not_created(#[case] arguments: &[&str]) {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("numbers"), "K-1\n").unwrap();
    for sandbox in [
        sandbox,
        Sandbox::new().with("DATABASE_URL", "sqlite://data/contacts.db?mode=rwc"),
    ] {
        let error_line = sandbox.run(arguments).error_line();
        let why = "DATABASE_URL: data/contacts.db is missing: set DATA_DIR";
        assert!(error_line.starts_with(why), "{error_line}");
        assert!(!sandbox.path().join("data").exists());
    }
}

#[test]
fn migrate_status_does_not_create_a_database() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["migrate", "status"]).printed();
    assert!(
        printed.contains(&format!("missing {MIGRATION}")),
        "{printed}"
    );
    assert!(!sandbox.path().join("data").exists());
}

#[rstest]
#[case(&["export", "K-1"])]
#[case(&["resolve", "numbers", "--purpose", "general"])]
fn database_without_schema_is_reported(#[case] arguments: &[&str]) {
    let sandbox = Sandbox::new().with("DATABASE_URL", "sqlite://x.db");
    for name in ["x.db", "numbers"] {
        fs::write(sandbox.path().join(name), "").unwrap();
    }
    let error_line = sandbox.run(arguments).error_line();
    assert!(
        error_line.contains("run contact-service migrate up"),
        "{error_line}"
    );
}

/// An operator may export without the keys of the service.
#[test]
fn export_creates_no_keys() {
    let sandbox = Sandbox::new().with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    server.signal("TERM");
    server.wait();
    let url = format!(
        "sqlite://{}",
        sandbox.path().join("data/contacts.db").display()
    );
    let elsewhere = Sandbox::new().with("DATABASE_URL", url);
    let export = elsewhere.run(&["export", "K-1001"]).printed();
    assert!(export.contains("Anna Schmidt"), "{export}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
