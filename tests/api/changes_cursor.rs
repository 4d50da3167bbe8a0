//! Cursors of `WatchChanges`: each one resumes without a gap or fails with `CURSOR_EXPIRED`.

use std::time::Duration;

use chrono::TimeDelta;
use contact_service::{api::proto, crypto::random::Random};
use rstest::rstest;
use tempfile::tempdir;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    changes::{Watch, read, watch},
    harness::{Backend, Options, TestServer, execute, rejection},
};

/// Far above the time a stream needs to react; a test that reaches it has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn assert_expired<T: std::fmt::Debug>(watched: Result<T, Status>, why: &str) {
    let expired = (Code::FailedPrecondition, "CURSOR_EXPIRED".to_owned());
    assert_eq!(rejection(watched), expired, "{why}");
}

/// Asserts that a stream that waits for a change ends with `CURSOR_EXPIRED`.
async fn assert_ends(watch: &mut Watch, why: &str) {
    let ended = tokio::time::timeout(TIMEOUT, watch.message()).await;
    assert_expired(ended.expect("the stream is still open"), why);
}

async fn renew_epoch(server: &TestServer) {
    let epoch = Uuid::from_bytes(Random::system().bytes().unwrap());
    server.database.renew_feed_epoch(epoch).await.unwrap();
}

/// Creates customers; returns the cursor after each.
async fn create(server: &TestServer, watch: &mut Watch, numbers: &[&str]) -> Vec<String> {
    let mut cursors = Vec::new();
    for number in numbers {
        server.create_customer(number).await;
        let (events, cursor) = read(watch, 1).await;
        assert_eq!(events[0].customer_number, *number);
        cursors.push(cursor);
    }
    cursors
}

async fn numbers_after(server: &TestServer, cursor: &str, count: usize) -> Vec<String> {
    let mut watch = watch(server.client(), cursor).await.unwrap();
    let (events, _) = read(&mut watch, count).await;
    let numbers = events.into_iter().map(|event| event.customer_number);
    numbers.collect()
}

#[rstest]
#[tokio::test]
async fn unknown_cursor_expires(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    let mut first = watch(server.client(), "").await.unwrap();
    let cursor = create(&server, &mut first, &["K-1", "K-2"]).await.remove(0);
    let page = proto::ListAuditEventsRequest {
        customer_number: "K-3".into(),
        page_size: 1,
        ..proto::ListAuditEventsRequest::default()
    };
    server.create_customer_with_contact("K-3").await;
    let page = server.client().list_audit_events(page).await.unwrap();
    let page_token = page.into_inner().next_page_token;
    assert!(!page_token.is_empty());
    let (cut, longer) = (&cursor[..cursor.len() - 1], format!("{cursor}A"));
    let repeated = cursor.repeat(200);
    for bad in [
        "x",
        " ",
        "0",
        "äöü",
        "\u{0}",
        &page_token,
        cut,
        &longer,
        &repeated,
    ] {
        assert_expired(watch(server.client(), bad).await, bad);
    }
    assert_eq!(numbers_after(&server, &cursor, 1).await[0], "K-2");
}

/// Each test server has its own service keys.
#[rstest]
#[tokio::test]
async fn cursor_expires_with_its_service_key(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut first = watch(server.client(), "").await.unwrap();
    let cursor = create(&server, &mut first, &["K-1"]).await.remove(0);
    let folder = tempdir().unwrap();
    let other = TestServer::start_on(&server.database_url, folder, Options::default()).await;
    assert_expired(watch(other.client(), &cursor).await, "other key");
    assert_eq!(numbers_after(&other, "", 1).await, ["K-1"]);
}

#[rstest]
#[tokio::test]
async fn cursor_expires_once_an_event_after_it_is_deleted(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut first = watch(server.client(), "").await.unwrap();
    let cursors = create(&server, &mut first, &["K-1", "K-2"]).await;
    server.clock.advance(TimeDelta::days(365));
    server.create_customer("K-3").await;
    server.app.sequence_all_events().await.unwrap();
    let year = TimeDelta::days(365);
    assert_eq!(server.app.purge_events(year).await.unwrap(), 0);
    server.clock.advance(TimeDelta::seconds(1));
    assert_eq!(server.app.purge_events(year).await.unwrap(), 2);

    assert_expired(watch(server.client(), &cursors[0]).await, "retention");
    // The cursor's own event is deleted, all later ones are still there.
    for cursor in [cursors[1].as_str(), ""] {
        assert_eq!(numbers_after(&server, cursor, 1).await, ["K-3"]);
    }
    assert!(server.events("K-1").await.is_empty());
}

#[rstest]
#[tokio::test]
async fn renewed_epoch_ends_streams_and_expires_all_cursors(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut open = watch(server.client(), "").await.unwrap();
    let mut cursors = create(&server, &mut open, &["K-1"]).await;
    for number in ["K-2", "K-3"] {
        // The stream waits for a change that never comes.
        renew_epoch(&server).await;
        assert_ends(&mut open, "an open stream").await;
        for cursor in &cursors {
            assert_expired(watch(server.client(), cursor).await, "a kept cursor");
        }
        open = watch(server.client(), "").await.unwrap();
        let (_, cursor) = read(&mut open, cursors.len()).await;
        cursors.extend(create(&server, &mut open, &[number]).await);
        assert_eq!(numbers_after(&server, &cursor, 1).await, [number]);
    }
}

/// Simulates a restore to the state after `K-2` without `renew-feed`.
async fn restore(server: &TestServer) {
    let back = "DELETE FROM feed_entries WHERE position > 2; \
        DELETE FROM audit_events WHERE customer_number IN ('K-3', 'K-4'); \
        DELETE FROM customers WHERE customer_number IN ('K-3', 'K-4'); \
        UPDATE change_feed SET last_position = 2";
    execute(&server.database_url, back).await;
}

#[rstest]
#[case::before_anything_was_written(&[])]
#[case::after_as_many_writes_as_were_lost(&["N-3", "N-4"])]
#[case::after_more_writes_than_were_lost(&["N-3", "N-4", "N-5", "N-6", "N-7"])]
#[tokio::test]
async fn cursor_of_a_lost_event_expires_without_renewal(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] written: &[&str],
) {
    let server = TestServer::start(backend).await;
    let mut first = watch(server.client(), "").await.unwrap();
    let cursors = create(&server, &mut first, &["K-1", "K-2", "K-3", "K-4"]).await;
    restore(&server).await;
    for number in written {
        server.create_customer(number).await;
    }
    server.app.sequence_all_events().await.unwrap();
    for cursor in &cursors[2..] {
        assert_expired(watch(server.client(), cursor).await, "of a lost event");
    }
    // The cursor of an event that survived stays valid.
    let after = numbers_after(&server, &cursors[0], 1 + written.len()).await;
    assert_eq!(after, [&["K-2"], written].concat());
    let Some(last) = written.last() else { return };
    // An open stream that is ahead of the restored database ends as well.
    if written.len() > 2 {
        assert_ends(&mut first, last).await;
    }
}
