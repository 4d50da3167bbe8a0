//! The feed under writers whose transactions commit in another order than they began: no event is
//! skipped, and the events of a customer arrive in order.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use contact_service::{
    api::proto,
    crypto::random::Random,
    domain::{
        audit::{Actor, AuditEvent, EventFilter, EventSortKey},
        ids::CustomerNumber,
    },
    storage::{Database, Outcome},
};
use rstest::rstest;
use sqlx::{Connection, Executor};
use tempfile::tempdir;

use crate::harness::{Backend, Client, Options, TestServer, fresh_database, query_number};

const WRITERS: usize = 8;
const CUSTOMERS: u64 = 24;
const QUICK_EVENTS: usize = 1_600;
const PROOF_EVENTS: usize = 100_000;

/// A random number below `end`.
fn random_below(end: u64) -> u64 {
    let bytes: [u8; 8] = Random::system().bytes().unwrap();
    u64::from_le_bytes(bytes) % end
}

fn event(number: &CustomerNumber, sequence: i64, kind: &str) -> AuditEvent {
    let now = super::harness::start_time();
    AuditEvent {
        id: Random::system().uuid_v7(now).unwrap(),
        sequence,
        event_time: now,
        actor: Actor("writer".into()),
        kind: kind.into(),
        customer_number: Some(number.clone()),
        contact_id: None,
        changed_fields: Vec::new(),
        details: BTreeMap::new(),
    }
}

/// Writes events in transactions of one to eight; some transactions stay open for a while, some
/// are rolled back.
async fn write(database: Database, count: usize) {
    let mut written = 0;
    while written < count {
        let number = format!("K-{}", random_below(CUSTOMERS));
        let number = CustomerNumber::parse(&number).unwrap();
        let most = (count - written).min(8);
        let several = 1 + usize::try_from(random_below(8)).unwrap() % most;
        let is_rolled_back = random_below(20) == 0;
        let held = match random_below(10) {
            0 => Duration::from_millis(random_below(120)),
            _ => Duration::ZERO,
        };
        let of = number.clone();
        let done = database.customer_transaction(&of, move |transaction| {
            let number = number.clone();
            Box::pin(async move {
                for _ in 0..several {
                    let locked = transaction.lock_customer(&number).await?;
                    let event = event(&number, locked.sequence_number, "customer.updated");
                    transaction.insert_audit_event(&event).await?;
                }
                tokio::time::sleep(held).await;
                Ok(if is_rolled_back {
                    Outcome::Rollback(0)
                } else {
                    Outcome::Commit(several)
                })
            })
        });
        match done.await {
            Ok(count) => written += count,
            // Too many writers wait for one customer.
            Err(error) => assert!(
                error.to_string().contains("again") || error.to_string().contains("too many"),
                "{error}"
            ),
        }
    }
}

/// Created after the writers have finished: its event follows all of theirs, including those
/// sequenced in the same batch, where numbers decide.
const LAST: &str = "LAST";

/// Reads the writers' events until they have finished, reconnecting now and then.
async fn follow(clients: Vec<Client>) -> Vec<proto::Change> {
    let (mut cursor, mut known, mut events) = (String::new(), HashSet::new(), Vec::new());
    let (mut connections, mut has_ended) = (0, false);
    while !has_ended {
        connections += 1;
        let mut client = clients[connections % clients.len()].clone();
        let from = proto::WatchChangesRequest {
            cursor: cursor.clone(),
        };
        let mut watch = client.watch_changes(from).await.unwrap().into_inner();
        for _ in 0..=random_below(20) {
            if has_ended {
                break;
            }
            let response = watch.message().await.unwrap().unwrap();
            for event in response.events {
                has_ended |= event.customer_number == LAST;
                if event.kind().as_str_name() == "EVENT_KIND_CUSTOMER_UPDATED"
                    && known.insert(event.event_id.clone())
                {
                    events.push(event);
                }
            }
            // The last response before a disconnect may be lost: delivery is at least once.
            if random_below(4) > 0 {
                cursor = response.cursor;
            }
        }
    }
    println!("{connections} connections");
    events
}

async fn race(backend: Backend, count: usize) {
    let folder = tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    let mut servers = vec![TestServer::start_on(&url, folder, Options::default()).await];
    if backend == Backend::Postgres {
        let second = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
        servers.push(second);
    }
    for number in 0..CUSTOMERS {
        servers[0].create_customer(&format!("K-{number}")).await;
    }
    // Cursors are signed and each server has its own keys here, so only one server is read from.
    let clients = vec![servers[0].client()];
    let reader = tokio::spawn(follow(clients));
    let writers = (0..WRITERS).map(|writer| {
        let database = servers[writer % servers.len()].database.clone();
        tokio::spawn(write(database, count / WRITERS))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    servers[0].create_customer(LAST).await;
    let events = reader.await.unwrap();

    assert_eq!(events.len(), count);
    let sql = "SELECT COUNT(*) FROM audit_events WHERE kind = 'customer.updated'";
    let stored = query_number(&url, sql).await;
    assert_eq!(stored, i64::try_from(count).unwrap());
    // Each customer's events in the order of the audit log.
    let mut of_customers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let ids = of_customers.entry(event.customer_number).or_default();
        ids.push(event.event_id);
    }
    for (number, ids) in of_customers {
        let parsed = CustomerNumber::parse(&number).unwrap();
        let last = EventSortKey::LAST;
        let all = EventFilter::default();
        let logged = servers[0]
            .database
            .list_audit_events(Some(&parsed), &all, last, 1 << 40);
        let mut logged: Vec<_> = logged
            .await
            .unwrap()
            .into_iter()
            .filter(|event| event.kind == "customer.updated")
            .map(|event| event.id.to_string())
            .collect();
        logged.reverse();
        assert!(ids == logged, "events of {number} out of order");
    }
    println!("{backend:?}: {count} events, none missing, in order per customer");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_skipped_under_concurrent_writers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, QUICK_EVENTS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_no_event_of_100000_is_skipped(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, PROOF_EVENTS).await;
}

/// The reader has passed the earlier event's time, rank and id when that event commits.
#[tokio::test]
async fn event_that_commits_late_is_delivered() {
    let folder = tempdir().unwrap();
    let url = fresh_database(Backend::Postgres, folder.path().join("contacts.db")).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    server.create_customer("K-1").await;
    let mut late = sqlx::PgConnection::connect(&url).await.unwrap();
    let uncommitted = "BEGIN; INSERT INTO feed_inbox (customer_number, sequence, event_id,
          event_time, kind, changed_fields)
        VALUES ('A-1', 1, '00000000-0000-7000-8000-000000000001', '2026-01-01T00:00:00Z',
          'customer.late', '[]')";
    late.execute(uncommitted).await.unwrap();
    server.create_customer("K-2").await;
    let mut client = server.client();
    let watch = client.watch_changes(proto::WatchChangesRequest::default());
    let mut watch = watch.await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let response = watch.message().await.unwrap().unwrap();
        seen.extend(
            response
                .events
                .into_iter()
                .map(|event| event.customer_number),
        );
    }
    assert_eq!(seen, ["K-1", "K-2"]);
    late.execute("COMMIT").await.unwrap();
    let response = watch.message().await.unwrap().unwrap();
    assert_eq!(
        response.events[0].kind().as_str_name(),
        "EVENT_KIND_UNSPECIFIED"
    );
}
