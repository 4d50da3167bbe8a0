//! The feed while customers are erased and created again: no event is skipped, and the events of
//! a number arrive in order, across erasures too.

use std::collections::HashMap;

use contact_service::api::proto;
use futures::future::join_all;
use rstest::rstest;
use tempfile::tempdir;

use crate::harness::{Backend, Client, Options, TestServer, fresh_database, query_number};

const ERASERS: usize = 3;
const ROUNDS: usize = 15;
const WRITERS: usize = 3;
const UPDATES: usize = 80;
/// Creation, its contact, erasure.
const EVENTS_OF_A_ROUND: usize = 3;

async fn create_and_erase(server: &TestServer, number: &str) {
    for _ in 0..ROUNDS {
        server.create_customer_with_contact(number).await;
        server.erase(number).await.unwrap();
    }
}

async fn update(mut client: Client, number: String) {
    for round in 0..UPDATES {
        let request = proto::UpdateCustomerRequest {
            customer: Some(proto::Customer {
                customer_number: number.clone(),
                notification_settings: Some(proto::NotificationSettings {
                    outages: Some(round % 2 == 1),
                    ..proto::NotificationSettings::default()
                }),
                ..proto::Customer::default()
            }),
            ..proto::UpdateCustomerRequest::default()
        };
        client.update_customer(request).await.unwrap();
    }
}

/// Created after all others have finished: its event follows all of theirs, including those
/// sequenced in the same batch, where numbers decide.
const LAST: &str = "zz";

/// The position of each event in the feed.
async fn read(mut client: Client) -> HashMap<String, usize> {
    let from = proto::WatchChangesRequest::default();
    let mut watch = client.watch_changes(from).await.unwrap().into_inner();
    let mut seen = HashMap::new();
    loop {
        for event in watch.message().await.unwrap().unwrap().events {
            if event.customer_number == LAST {
                return seen;
            }
            let known = seen.insert(event.event_id, seen.len());
            assert_eq!(known, None);
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_skip_no_event_and_keep_the_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let folder = tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    // On PostgreSQL a second server sequences events as well.
    let _other = match backend {
        Backend::Postgres => {
            Some(TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await)
        }
        Backend::Sqlite => None,
    };
    let numbers: Vec<_> = (0..WRITERS).map(|writer| format!("U-{writer}")).collect();
    for number in &numbers {
        server.create_customer(number).await;
    }
    let count = ERASERS * ROUNDS * EVENTS_OF_A_ROUND + WRITERS * (UPDATES + 1);
    let reader = tokio::spawn(read(server.client()));
    let writers = numbers
        .iter()
        .map(|number| tokio::spawn(update(server.client(), number.clone())));
    let writers: Vec<_> = writers.collect();
    // They sort before and after the pseudonyms.
    let erased = ["A-1", "K-1", "z-1"];
    join_all(erased.map(|number| create_and_erase(&server, number))).await;
    for writer in writers {
        writer.await.unwrap();
    }
    server.create_customer(LAST).await;
    let seen = reader.await.unwrap();
    assert_eq!(seen.len(), count);

    let stored = query_number(&url, "SELECT COUNT(*) FROM feed_entries").await;
    assert_eq!(stored, i64::try_from(count).unwrap() + 1);
    let gaps =
        "SELECT last_position - COUNT(*) FROM change_feed, feed_entries GROUP BY last_position";
    assert_eq!(query_number(&url, gaps).await, 0);
    let plain = "SELECT COUNT(*) FROM feed_entries WHERE customer_number IN ('A-1', 'K-1', 'z-1')";
    assert_eq!(query_number(&url, plain).await, 0);
    for number in erased.into_iter().chain(numbers.iter().map(String::as_str)) {
        let mut audit_log = server.events(number).await;
        audit_log.reverse();
        let places: Vec<_> = audit_log
            .iter()
            .map(|event| seen[&event.event_id])
            .collect();
        assert!(places.is_sorted(), "{number}: {places:?}");
    }
    for number in erased {
        let audit_log = server.events(number).await;
        assert_eq!(audit_log.len(), ROUNDS * EVENTS_OF_A_ROUND);
        for round in audit_log.chunks(EVENTS_OF_A_ROUND) {
            let kinds: Vec<_> = round
                .iter()
                .map(|event| event.kind().as_str_name())
                .collect();
            let whole = [
                "EVENT_KIND_CUSTOMER_ERASED",
                "EVENT_KIND_CONTACT_CREATED",
                "EVENT_KIND_CUSTOMER_CREATED",
            ];
            assert_eq!(kinds, whole, "{number}");
        }
    }
}
