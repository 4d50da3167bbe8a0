//! `WatchChanges`: events, resumption, and the end of a stream.

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType};
use rstest::rstest;
use tonic::{Status, Streaming};

use crate::{
    harness::{ALL_SCOPES, AUDIENCE, Backend, Client, ISSUER, TestServer, rejection},
    rpcs::prepare,
};

pub type Watch = Streaming<proto::WatchChangesResponse>;

pub async fn watch(mut client: Client, cursor: &str) -> Result<Watch, Status> {
    let cursor = cursor.to_owned();
    let watch = client.watch_changes(proto::WatchChangesRequest { cursor });
    Ok(watch.await?.into_inner())
}

/// Reads at least `count` events; returns them with the cursor of the last one.
pub async fn read(watch: &mut Watch, count: usize) -> (Vec<proto::Change>, String) {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while events.len() < count {
        let response = watch.message().await.unwrap().unwrap();
        assert!(!response.events.is_empty());
        events.extend(response.events);
        cursor = response.cursor;
    }
    (events, cursor)
}

fn kinds(events: &[proto::Change]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.kind().as_str_name())
        .collect()
}

/// The customer's audit log as the feed should return it.
async fn logged_events(server: &TestServer, number: &str) -> Vec<proto::Change> {
    let mut events = server.events(number).await;
    events.reverse();
    let changes = events.into_iter().map(|event| proto::Change {
        event_id: event.event_id,
        event_time: event.event_time,
        customer_number: event.customer_number,
        contact_id: event.contact_id,
        kind: event.kind,
        changed_fields: event.changed_fields,
    });
    changes.collect()
}

#[rstest]
#[tokio::test]
async fn watch_returns_past_and_new_events(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    let mut watch = watch(server.client(), "").await.unwrap();
    let old = logged_events(&server, "K-1").await;
    // Two events concern order types, which belong to no customer.
    let (seen, _) = read(&mut watch, old.len() + 2).await;
    let of_customer = seen.iter().filter(|event| event.customer_number == "K-1");
    assert_eq!(of_customer.cloned().collect::<Vec<_>>(), old);
    let without_customer: Vec<_> = seen
        .iter()
        .filter(|event| event.customer_number.is_empty())
        .collect();
    assert_eq!(without_customer.len(), 2);
    assert_eq!(
        without_customer[0].kind().as_str_name(),
        "EVENT_KIND_ORDER_TYPE_UPDATED"
    );
    assert_eq!(
        without_customer[0].changed_fields,
        [
            "code",
            "display_name",
            "display_names",
            "system_management",
            "offered_by_phone",
            "requires_verified_channel",
            "retired"
        ]
    );

    server
        .create_contact("K-1", "Dora", &[ContactType::Other], "")
        .await;
    let (new, _) = read(&mut watch, 1).await;
    assert_eq!(kinds(&new), ["EVENT_KIND_CONTACT_CREATED"]);
    assert_eq!(new.last(), logged_events(&server, "K-1").await.last());
}

#[rstest]
#[tokio::test]
async fn watch_resumes_after_its_cursor(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let mut first = watch(server.client(), "").await.unwrap();
    let (seen, cursor) = read(&mut first, 2).await;
    assert_eq!(
        kinds(&seen),
        ["EVENT_KIND_CUSTOMER_CREATED", "EVENT_KIND_CONTACT_CREATED"]
    );
    drop(first);
    server.create_customer("K-2").await;
    server.create_customer("K-3").await;
    let mut second = watch(server.client(), &cursor).await.unwrap();
    let (seen, _) = read(&mut second, 2).await;
    let numbers: Vec<_> = seen.iter().map(|event| &event.customer_number).collect();
    assert_eq!(numbers, ["K-2", "K-3"]);
    // The same cursor returns the same events.
    let mut again = watch(server.client(), &cursor).await.unwrap();
    assert_eq!(read(&mut again, 2).await.0, seen);
}

#[rstest]
#[tokio::test]
async fn tenant_scoped_token_watches_its_own_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for number in ["K-1", "K-2", "K-3"] {
        server.create_customer_with_contact(number).await;
        server.create_order_type(number, false, true).await;
    }
    let tenant_scoped = server.client_with(server.token(ALL_SCOPES, Some("K-2")));
    let mut watch = watch(tenant_scoped, "").await.unwrap();
    let (seen, _) = read(&mut watch, 2).await;
    assert_eq!(seen, logged_events(&server, "K-2").await);
    server.create_customer("K-4").await;
    let anna = server.contacts("K-2").await.remove(0);
    server
        .change_email(&anna, "a@muster.example")
        .await
        .unwrap();
    let (seen, _) = read(&mut watch, 1).await;
    assert_eq!(kinds(&seen), ["EVENT_KIND_CONTACT_EMAIL_CHANGED"]);
}

#[rstest]
#[tokio::test]
async fn watch_ends_when_its_token_expires(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let ttl = TimeDelta::minutes(15);
    let minted = server.keys.mint(
        ISSUER,
        AUDIENCE,
        "bff",
        "changes.watch",
        None,
        ttl,
        server.now(),
    );
    let mut watch = watch(server.client_with(minted.unwrap()), "")
        .await
        .unwrap();
    read(&mut watch, 1).await;
    server.clock.advance(ttl + TimeDelta::seconds(30));
    server.create_customer("K-2").await;
    // Events that were read before may still arrive.
    let ended = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(rejection(ended).1, "TOKEN_EXPIRED");
}

#[rstest]
#[tokio::test]
async fn watch_ends_when_the_server_stops(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let mut watch = watch(server.client(), "").await.unwrap();
    read(&mut watch, 1).await;
    let (ended, stopped) = tokio::join!(watch.message(), server.stop());
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    stopped.unwrap();
}

#[rstest]
#[tokio::test]
async fn stalled_watcher_does_not_delay_other_clients(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let _slow = watch(server.client(), "").await.unwrap();
    let mut quick = watch(server.client(), "").await.unwrap();
    let many = "INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind,
            changed_fields)
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)
        SELECT 'K-1', n, ID, '2026-03-01 09:00:00+00:00', 'customer.updated', '[]'
        FROM numbers";
    let id = match backend {
        Backend::Sqlite => "randomblob(16)",
        Backend::Postgres => "gen_random_uuid()",
    };
    crate::harness::execute(&server.database_url, &many.replace("ID", id)).await;
    let (seen, _) = read(&mut quick, 3000).await;
    assert_eq!(seen.len(), 3000);
    // Other clients are served as well.
    server.create_customer_with_contact("K-2").await;
    assert_eq!(read(&mut quick, 2).await.0.len(), 2);
}

#[rstest]
#[tokio::test]
async fn feed_names_erased_customers_for_a_limited_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let erasure = proto::EraseCustomerRequest {
        customer_number: "K-1".into(),
        confirm_customer_number: "K-1".into(),
    };
    server.client().erase_customer(erasure).await.unwrap();
    let mut stream = watch(server.client(), "").await.unwrap();
    let (seen, _) = read(&mut stream, 2).await;
    assert_eq!(
        kinds(&seen),
        ["EVENT_KIND_CUSTOMER_CREATED", "EVENT_KIND_CUSTOMER_ERASED"]
    );
    let pseudonym = &seen[0].customer_number;
    assert!(pseudonym.starts_with("erased-"), "{pseudonym}");
    assert_eq!(seen[1].customer_number, "K-1");

    server.clock.advance(TimeDelta::days(30));
    assert_eq!(server.app.purge_sealed_numbers().await.unwrap(), 0);
    server.clock.advance(TimeDelta::seconds(1));
    assert_eq!(server.app.purge_sealed_numbers().await.unwrap(), 1);
    let mut late = watch(server.client(), "").await.unwrap();
    let (seen, _) = read(&mut late, 2).await;
    assert_eq!(&seen[1].customer_number, pseudonym);
}
