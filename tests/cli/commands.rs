//! `migrate` and `token`.

use std::{collections::HashSet, fs};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rstest::rstest;
use serde_json::Value;

use crate::process::{Backend, Place, query_texts};

const MIGRATION: &str = "m20261123_000001_core";

#[rstest]
#[tokio::test]
async fn migrate_up_applies_what_status_lists_as_missing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await;
    let (missing, applied) = (
        format!("missing {MIGRATION}"),
        format!("applied {MIGRATION}"),
    );
    let lines = |arguments: [&str; 2]| {
        let printed = place.run(&arguments).printed();
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
async fn migrate_up_may_run_twice_at_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await;
    let both = [(); 2].map(|()| place.start(&["migrate", "up"]));
    for ended in both.map(crate::process::Running::wait) {
        let printed = ended.printed();
        assert!(
            printed.lines().all(|line| line.starts_with("applied ")),
            "{printed}"
        );
    }
}

async fn epoch(place: &Place) -> String {
    let sql = if place.database_url().starts_with("sqlite") {
        "SELECT hex(epoch) FROM change_feed"
    } else {
        "SELECT epoch::text FROM change_feed"
    };
    query_texts(&place.database_url(), sql).await.remove(0)
}

#[rstest]
#[tokio::test]
async fn renew_feed_renews_the_epoch_each_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await;
    place.run(&["migrate", "up"]).printed();
    let mut epochs = HashSet::from([epoch(&place).await]);
    for _ in 0..2 {
        let printed = place.run(&["migrate", "renew-feed"]).printed();
        assert!(printed.contains("CURSOR_EXPIRED"), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert!(epochs.insert(epoch(&place).await));
    }
}

#[rstest]
#[tokio::test]
async fn renew_feed_rejects_a_database_without_the_schema(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await;
    let complaint = place.run(&["migrate", "renew-feed"]).complaint();
    let why = match backend {
        Backend::Sqlite => "data/contacts.db is missing: set DATA_DIR",
        Backend::Postgres => "the schema lacks",
    };
    assert!(
        complaint.starts_with(&format!("DATABASE_URL: {why}")),
        "{complaint}"
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
fn a_token_is_not_minted_from_what_makes_no_sense(#[case] wrong: &[&str], #[case] named: &str) {
    let arguments = token(wrong);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let complaint = Place::new().run(&arguments).complaint();
    assert!(complaint.starts_with(&format!("{named}: ")), "{complaint}");
}

#[test]
fn a_scope_that_nobody_asks_for_is_minted_with_a_warning() {
    let scope = "customers.read customers.reed";
    let place = Place::new().with_keys();
    let ended = place.run(&["token", "--sub", "tester", "--scope", scope]);
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
fn a_token_names_somebody() {
    let place = Place::new();
    let complaint = place
        .run(&["token", "--sub", " ", "--scope", "customers.read"])
        .complaint();
    assert!(complaint.starts_with("--sub: "), "{complaint}");
}

#[test]
fn no_token_is_minted_where_real_keys_are_configured() {
    let place = Place::new().with("JWT_JWKS", "keys.json");
    fs::write(place.path().join("keys.json"), r#"{"keys": []}"#).unwrap();
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let complaint = place.run(&arguments).complaint();
    assert!(complaint.starts_with("JWT_JWKS: "), "{complaint}");
    assert!(!place.path().join("data").exists());
}

#[test]
fn no_token_is_minted_where_an_identity_provider_is_configured() {
    let place = Place::new().with("JWT_ISSUER", "https://sso.hoster.example/realms/hoster");
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let complaint = place.run(&arguments).complaint();
    assert!(complaint.starts_with("JWT_ISSUER: "), "{complaint}");
    assert!(!place.path().join("data").exists());
}

#[test]
fn a_token_is_minted_with_the_first_issuer_and_the_claims_that_are_read() {
    let place = Place::new()
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
    let printed = place.run(&arguments).printed();
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

/// A token under new keys would be one that no server accepts.
#[rstest]
#[case::empty_folder(None)]
#[case::missing_data_dir(Some("elsewhere"))]
#[tokio::test]
async fn token_without_a_servers_keys_is_refused(#[case] data_dir: Option<&str>) {
    let place = Place::new();
    let place = match data_dir {
        Some(folder) => place.with_keys().with("DATA_DIR", folder),
        None => place,
    };
    let before = fs::read_dir(place.path()).unwrap().count();
    let arguments = token(&[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let complaint = place.run(&arguments).complaint();
    let folder = data_dir.unwrap_or("data");
    let why = format!("DATA_DIR: no server has made its development keys in {folder}: start ");
    assert!(complaint.starts_with(&why), "{complaint}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), before);
}

#[test]
fn keys_database_and_mails_are_kept_in_the_data_dir() {
    let place = Place::new()
        .with("DATA_DIR", "kept here/100%?")
        .with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = place.serve(&["serve", "--demo"]);
    let minted = place.run(&["token", "--sub", "x", "--scope", "customers.read"]);
    assert_eq!(minted.printed().split('.').count(), 3);
    let export = place.run(&["export", "K-1001"]).printed();
    assert!(export.contains("Anna Schmidt"), "{export}");
    let mails = place.path().join("kept here/100%?/mail");
    let mut server = server;
    server.until(|_| fs::read_dir(&mails).is_ok_and(|files| files.count() > 0));
    server.signal("TERM");
    server.wait();
    let made = fs::read_dir(place.path()).unwrap();
    let made: Vec<_> = made.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["kept here"]);
    assert!(mails.with_file_name("contacts.db").exists());
}

#[rstest]
#[case(&["export", "K-1"])]
#[case(&["resolve", "numbers", "--purpose", "general"])]
fn a_database_that_is_missing_is_named_and_not_made(#[case] arguments: &[&str]) {
    let place = Place::new();
    fs::write(place.path().join("numbers"), "K-1\n").unwrap();
    for place in [
        place,
        Place::new().with("DATABASE_URL", "sqlite://data/contacts.db?mode=rwc"),
    ] {
        let complaint = place.run(arguments).complaint();
        let why = "DATABASE_URL: data/contacts.db is missing: set DATA_DIR";
        assert!(complaint.starts_with(why), "{complaint}");
        assert!(!place.path().join("data").exists());
    }
}

#[test]
fn migrate_status_of_a_missing_database_makes_none() {
    let place = Place::new();
    let printed = place.run(&["migrate", "status"]).printed();
    assert!(
        printed.contains(&format!("missing {MIGRATION}")),
        "{printed}"
    );
    assert!(!place.path().join("data").exists());
}

#[rstest]
#[case(&["export", "K-1"])]
#[case(&["resolve", "numbers", "--purpose", "general"])]
fn a_database_without_its_schema_is_named_as_such(#[case] arguments: &[&str]) {
    let place = Place::new().with("DATABASE_URL", "sqlite://x.db");
    for name in ["x.db", "numbers"] {
        fs::write(place.path().join(name), "").unwrap();
    }
    let complaint = place.run(arguments).complaint();
    assert!(
        complaint.contains("run contact-service migrate up"),
        "{complaint}"
    );
}

/// It needs none: an operator may export without the keys of the service.
#[test]
fn export_makes_no_keys() {
    let place = Place::new().with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = place.serve(&["serve", "--demo"]);
    server.signal("TERM");
    server.wait();
    let url = format!(
        "sqlite://{}",
        place.path().join("data/contacts.db").display()
    );
    let elsewhere = Place::new().with("DATABASE_URL", url);
    let export = elsewhere.run(&["export", "K-1001"]).printed();
    assert!(export.contains("Anna Schmidt"), "{export}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
