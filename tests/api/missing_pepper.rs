//! Rule 15: a process that lacks the pepper version of a stored phone password.

use std::collections::BTreeMap;

use contact_service::api::proto::{Contact, PhonePasswordVerdict};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, execute, query_texts, rejection},
    phone_calls::{CALL_ID, PASSWORD, check_by},
};

const CHECKS: usize = 60;
const LACKED: i64 = 9;

async fn anna_with_password(server: &TestServer) -> Contact {
    let anna = server.create_customer_with_contact("K-1").await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    server.set_phone_password(&anna, PASSWORD).await.unwrap()
}

async fn set_pepper_version(server: &TestServer, version: i64) {
    let sql =
        format!("UPDATE phone_passwords SET pepper_version = {version} WHERE hash IS NOT NULL");
    execute(&server.database_url, &sql).await;
}

/// All attempt counters of contacts, phone calls and agents.
async fn counters(server: &TestServer) -> Vec<String> {
    let sql = "SELECT 'contact ' || consecutive_failures || recent_failures \
            || coalesce(CAST(locked_until AS text), '-') || is_revoked \
            || coalesce(CAST(notice_time AS text), '-') FROM phone_passwords \
        UNION ALL SELECT 'call ' || call_id || attempts FROM phone_password_calls \
        UNION ALL SELECT 'agent ' || agent || failures FROM phone_password_agents ORDER BY 1";
    query_texts(&server.database_url, sql).await
}

/// Sends concurrent checks by one agent in one phone call; half of them with the right password.
async fn check_concurrently(server: &TestServer, anna: &Contact) -> Vec<(Code, String)> {
    let checks = (0..CHECKS).map(|nth| {
        let candidate = if nth % 2 == 0 { PASSWORD } else { "falsch" };
        let (client, anna) = (server.client(), anna.clone());
        tokio::spawn(async move { check_by(client, &anna, candidate, CALL_ID).await })
    });
    let mut responses = Vec::new();
    for check in checks.collect::<Vec<_>>() {
        responses.push(rejection(check.await.unwrap()));
    }
    responses
}

#[rstest]
#[tokio::test]
async fn check_with_missing_pepper_counts_no_attempt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = anna_with_password(&server).await;
    server.mails().await;
    let (before, events) = (counters(&server).await, server.events("K-1").await.len());
    set_pepper_version(&server, LACKED).await;
    let missing = (Code::Unavailable, "PEPPER_MISSING".to_owned());
    assert_eq!(
        check_concurrently(&server, &anna).await,
        vec![missing; CHECKS]
    );

    assert_eq!(server.hasher.computed(), 1, "only the one that was set");
    assert_eq!(counters(&server).await, before);
    assert_eq!(server.events("K-1").await.len(), events);
    assert!(server.mails().await.is_empty());
    set_pepper_version(&server, 1).await;
    let checked = server.check_password(&anna, PASSWORD, CALL_ID).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
}

#[rstest]
#[tokio::test]
async fn contact_lacking_its_pepper_can_set_a_new_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = anna_with_password(&server).await;
    set_pepper_version(&server, LACKED).await;
    assert_eq!(server.app.missing_pepper_versions().await, Ok(vec![LACKED]));
    let new = "gelber Kranich 12";
    server.set_phone_password(&anna, new).await.unwrap();
    assert_eq!(server.app.missing_pepper_versions().await, Ok(Vec::new()));
    let checked = server.check_password(&anna, new, CALL_ID).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
}

#[rstest]
#[tokio::test]
async fn only_checkable_hashes_need_their_pepper(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let of = |app: contact_service::app::App| async move {
        let missing = app.missing_pepper_versions().await.unwrap();
        (missing, app.count_hashes_by_pepper().await.unwrap())
    };
    assert_eq!(of(server.app.clone()).await, (Vec::new(), BTreeMap::new()));

    let hashes = "INSERT INTO phone_passwords (customer_number, contact_id, hash, pepper_version,
            consecutive_failures, recent_failures, is_revoked, update_time)
        VALUES ('K-1', ID, 'x', 1, 0, '[]', false, '2026-03-01 09:00:00+00:00'),
            ('K-2', ID, 'x', 8, 0, '[]', true, '2026-03-01 09:00:00+00:00'),
            ('K-3', ID, NULL, NULL, 0, '[]', false, '2026-03-01 09:00:00+00:00'),
            ('K-4', ID, 'x', 9, 0, '[]', false, '2026-03-01 09:00:00+00:00'),
            ('K-5', ID, 'x', 9, 0, '[]', false, '2026-03-01 09:00:00+00:00'),
            ('K-6', ID, 'x', 7, 0, '[]', false, '2026-03-01 09:00:00+00:00')";
    let id = match backend {
        Backend::Sqlite => "randomblob(16)",
        Backend::Postgres => "gen_random_uuid()",
    };
    execute(&server.database_url, &hashes.replace("ID", id)).await;
    let counts = BTreeMap::from([(1, 1), (7, 1), (9, 2)]);
    assert_eq!(of(server.app.clone()).await, (vec![7, 9], counts));
}
