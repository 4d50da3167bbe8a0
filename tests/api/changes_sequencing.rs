//! The inbox and the entries of the feed, step by step: no server sequences events, except where a
//! test starts one.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use contact_service::{
    app::{App, ChangeOptions, UpdateCustomer},
    crypto::random::Random,
    domain::{
        audit::{Actor, AuditEvent, EventKind, FeedEvent},
        customer::{Customer, CustomerChange},
        ids::CustomerNumber,
    },
    storage::{Database, FeedLock, InboxRange, Outcome},
};
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::{TempDir, tempdir};

use crate::{
    background_plans::app_on,
    citus,
    harness::{
        Backend, Options, TestServer, connect, execute, fresh_database, query_number, start_time,
    },
};

/// A migrated database and its use cases, without a server.
struct Feed {
    app: App,
    database: Database,
    url: String,
    _folder: TempDir,
}

fn number(text: &str) -> CustomerNumber {
    CustomerNumber::parse(text).unwrap()
}

fn actor() -> Actor {
    Actor("tester".into())
}

impl Feed {
    async fn on(backend: Backend) -> Self {
        let folder = tempdir().unwrap();
        let url = fresh_database(backend, folder.path().join("contacts.db")).await;
        let database = connect(&url).await;
        citus::migrate(&database).await.unwrap();
        Self {
            app: app_on(&database),
            database,
            url,
            _folder: folder,
        }
    }

    /// Creates the customer, or changes it.
    async fn write(&self, text: &str, outages: bool) {
        let update = UpdateCustomer {
            customer_number: number(text),
            change: CustomerChange {
                outages: Some(outages),
                ..CustomerChange::default()
            },
            options: ChangeOptions::default(),
            allow_missing: true,
        };
        self.app.update_customer(&actor(), update).await.unwrap();
    }

    async fn erase(&self, text: &str) {
        let erased = self.app.erase_customer(&actor(), number(text)).await;
        erased.unwrap();
    }

    /// Sequences all events, and dies before their rows are deleted.
    async fn sequence_and_die(&self) -> usize {
        let all = InboxRange::all();
        let batch = self.database.sequence_events(&all, FeedLock::Try).await;
        batch.unwrap().count
    }

    async fn entries(&self) -> Vec<FeedEvent> {
        self.database.read_changes(0, 1 << 40).await.unwrap().0
    }

    /// The number and kind of each entry, after a check of the positions.
    async fn read(&self) -> Vec<(String, String)> {
        let (entries, bounds) = self.database.read_changes(0, 1 << 40).await.unwrap();
        let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, (1..=bounds.last).collect::<Vec<_>>());
        let entries = entries.into_iter().map(|entry| {
            let number = entry.customer_number.unwrap();
            let is_pseudonym = number.is_pseudonym();
            assert_eq!(
                entry.sealed_number.is_some(),
                entry.kind == EventKind::CustomerErased.as_str()
            );
            let number = if is_pseudonym {
                "pseudonym"
            } else {
                number.as_str()
            };
            (number.to_owned(), entry.kind)
        });
        entries.collect()
    }

    async fn count(&self, rows: &str) -> i64 {
        query_number(&self.url, &format!("SELECT count(*) FROM {rows}")).await
    }

    async fn assert_nothing_plain(&self, text: &str) {
        for table in ["feed_inbox", "feed_entries", "audit_events"] {
            let rows = format!("{table} WHERE customer_number = '{text}'");
            assert_eq!(self.count(&rows).await, 0, "{table}");
        }
    }
}

fn expected(entries: &[(&str, EventKind)]) -> Vec<(String, String)> {
    let entry =
        |(number, kind): &(&str, EventKind)| ((*number).to_owned(), kind.as_str().to_owned());
    entries.iter().map(entry).collect()
}

const CREATED: EventKind = EventKind::CustomerCreated;
const UPDATED: EventKind = EventKind::CustomerUpdated;
const ERASED: EventKind = EventKind::CustomerErased;

#[rstest]
#[tokio::test]
async fn event_is_sequenced_once_if_its_row_is_not_deleted(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let feed = Feed::on(backend).await;
    feed.write("K-1", false).await;
    feed.write("K-2", false).await;
    assert_eq!(feed.sequence_and_die().await, 2);
    assert_eq!(feed.count("feed_inbox").await, 2);
    // Another sequencer meets the rows together with a new one.
    feed.write("K-1", true).await;
    assert_eq!(feed.sequence_and_die().await, 1);
    assert_eq!(feed.sequence_and_die().await, 0);
    feed.app.sequence_all_events().await.unwrap();
    assert_eq!(feed.count("feed_inbox").await, 0);
    let all = [("K-1", CREATED), ("K-2", CREATED), ("K-1", UPDATED)];
    assert_eq!(feed.read().await, expected(&all));
    let ids: Vec<_> = feed.entries().await.iter().map(|entry| entry.id).collect();
    let logged = feed.count("audit_events").await;
    assert_eq!(i64::try_from(ids.len()).unwrap(), logged);
}

#[rstest]
#[tokio::test]
async fn expired_event_is_not_sequenced_again(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let feed = Feed::on(backend).await;
    feed.write("K-1", false).await;
    assert_eq!(feed.sequence_and_die().await, 1);
    let everything = TimeDelta::days(-1);
    assert_eq!(feed.app.purge_events(everything).await.unwrap(), 1);
    assert_eq!(feed.count("feed_entries").await, 0);
    feed.app.sequence_all_events().await.unwrap();
    assert_eq!(feed.count("feed_entries").await, 0);
    let bounds = feed.database.feed_bounds().await.unwrap();
    assert_eq!((bounds.last, bounds.low_watermark), (1, 1));
}

/// An entry may be older than the retention when it is created, such as after a long pause. A row
/// that is sequenced while the retention runs keeps its entry until the next run.
#[rstest]
#[tokio::test]
async fn retention_spares_entries_after_its_position(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let feed = Feed::on(backend).await;
    feed.write("K-1", false).await;
    feed.app.sequence_all_events().await.unwrap();
    feed.write("K-2", false).await;
    feed.app.sequence_all_events().await.unwrap();
    let later = start_time() + TimeDelta::days(1);
    let deleted = feed.database.delete_old_feed_entries(later, 1).await;
    assert_eq!(deleted.unwrap(), 1);
    let left: Vec<_> = feed.entries().await.iter().map(|e| e.position).collect();
    assert_eq!(left, [2]);
    let bounds = feed.database.feed_bounds().await.unwrap();
    assert_eq!(bounds.low_watermark, 1);
}

#[rstest]
#[tokio::test]
async fn erasure_leaves_no_number_in_the_feed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(0, 1, 2)] sequenced: usize,
) {
    let feed = Feed::on(backend).await;
    for nth in 0..2 {
        if nth == sequenced {
            feed.write("K-10", false).await;
        }
        feed.write("K-1", nth == 1).await;
        if nth < sequenced {
            feed.app.sequence_all_events().await.unwrap();
        }
    }
    feed.erase("K-1").await;
    feed.assert_nothing_plain("K-1").await;
    let rows = "feed_inbox WHERE customer_number <> 'K-10'";
    assert_eq!(feed.count(rows).await, 0);
    feed.app.sequence_all_events().await.unwrap();
    let mut entries = feed.read().await;
    entries.retain(|(number, _)| number != "K-10");
    let all = [
        ("pseudonym", CREATED),
        ("pseudonym", UPDATED),
        ("pseudonym", ERASED),
    ];
    assert_eq!(entries, expected(&all));
}

/// Erases a customer as the service does, up to the commit.
async fn erase_without_sequencing(database: &Database, text: &str, pseudonym: &str) {
    let (of, pseudonym) = (number(text), number(pseudonym));
    let erased = database.transaction(move |transaction| {
        let (of, pseudonym) = (of.clone(), pseudonym.clone());
        Box::pin(async move {
            let locked = transaction.lock_customer(&of).await?;
            transaction.delete_customer(&of).await?;
            transaction
                .pseudonymize_waiting_events(&of, &pseudonym)
                .await?;
            transaction
                .pseudonymize_events(&of, &pseudonym, &[])
                .await?;
            let event = event(&pseudonym, locked.sequence_number, ERASED);
            transaction
                .insert_erasure_event(&event, &of, vec![1])
                .await?;
            Ok(Outcome::Commit(()))
        })
    });
    erased.await.unwrap();
}

fn event(number: &CustomerNumber, sequence: i64, kind: EventKind) -> AuditEvent {
    let now = start_time();
    AuditEvent {
        sequence,
        customer_number: Some(number.clone()),
        ..AuditEvent::new(Random::system().uuid_v7(now).unwrap(), now, &actor(), kind)
    }
}

/// Creates a customer whose former pseudonyms are unknown, as after the rotation of the service key.
async fn create_without_pseudonyms(database: &Database, text: &str) {
    let of = number(text);
    let created = database.transaction(move |transaction| {
        let customer = Customer::new(of.clone(), start_time());
        let of = of.clone();
        Box::pin(async move {
            let locked = transaction.insert_customer(customer, &[], 1).await?;
            let event = event(&of, locked.sequence_number, CREATED);
            transaction.insert_audit_event(&event).await?;
            Ok(Outcome::Commit(()))
        })
    });
    created.await.unwrap();
}

#[rstest]
#[tokio::test]
async fn new_customer_follows_the_erased_one_with_its_number(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(false, true)] is_sequenced: bool,
) {
    let feed = Feed::on(backend).await;
    for outages in [false, true, false] {
        feed.write("K-1", outages).await;
    }
    if is_sequenced {
        feed.app.sequence_all_events().await.unwrap();
    }
    let pseudonyms = ["erased-1", "erased-2"].map(|name| format!("{name:0<32}"));
    for pseudonym in &pseudonyms {
        erase_without_sequencing(&feed.database, "K-1", pseudonym).await;
        create_without_pseudonyms(&feed.database, "K-1").await;
    }
    // The rows remain for the next sequencer, which must not rename the new customer.
    feed.sequence_and_die().await;
    feed.app.sequence_all_events().await.unwrap();
    assert_eq!(feed.count("feed_inbox").await, 0);
    let all = [
        ("pseudonym", CREATED),
        ("pseudonym", UPDATED),
        ("pseudonym", UPDATED),
        ("pseudonym", ERASED),
        ("pseudonym", CREATED),
        ("pseudonym", ERASED),
        ("K-1", CREATED),
    ];
    assert_eq!(feed.read().await, expected(&all));
    let mut numbers = BTreeMap::<_, usize>::new();
    for entry in feed.entries().await {
        *numbers.entry(entry.customer_number.unwrap()).or_default() += 1;
    }
    let of = |text: &str| numbers.get(&number(text)).copied();
    assert_eq!(of(&pseudonyms[0]), Some(4));
    assert_eq!(of(&pseudonyms[1]), Some(2));
}

#[rstest]
#[tokio::test]
async fn entries_of_an_erased_customer_are_renamed_in_batches(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const ENTRIES: i64 = 11_000;
    let feed = Feed::on(backend).await;
    feed.write("K-1", false).await;
    feed.write("K-2", false).await;
    feed.app.sequence_all_events().await.unwrap();
    let id = match backend {
        Backend::Sqlite => "randomblob(16)",
        Backend::Postgres => "gen_random_uuid()",
    };
    let many = format!(
        "INSERT INTO feed_entries (position, event_id, customer_number, event_time, kind, \
           changed_fields) \
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
           WHERE n < {ENTRIES}) \
         SELECT n + 2, {id}, 'K-1', '2026-03-01 09:00:00+00:00', 'customer.updated', '[]' \
         FROM numbers; \
         UPDATE change_feed SET last_position = {ENTRIES} + 2"
    );
    execute(&feed.url, &many).await;
    // The first transactions rename entries, and sequence nothing.
    let pseudonym = format!("{:0<32}", "erased-1");
    erase_without_sequencing(&feed.database, "K-1", &pseudonym).await;
    assert_eq!(feed.sequence_and_die().await, 0);
    let plain = "feed_entries WHERE customer_number = 'K-1'";
    assert_eq!(feed.count(plain).await, ENTRIES + 1 - 5_000);
    feed.app.sequence_all_events().await.unwrap();
    feed.assert_nothing_plain("K-1").await;
    assert_eq!(feed.count("feed_entries").await, ENTRIES + 3);
    let kept = "feed_entries WHERE customer_number = 'K-2'";
    assert_eq!(feed.count(kept).await, 1);
}

/// The erasure does not wait for the feed longer than a moment, and the sequencer finishes it.
#[tokio::test]
async fn erasure_succeeds_while_the_feed_is_locked() {
    let url = fresh_database(Backend::Postgres, "".into()).await;
    let server = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
    server.create_customer("K-1").await;
    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder
        .execute("BEGIN; SELECT 1 FROM change_feed FOR UPDATE")
        .await
        .unwrap();
    server.erase("K-1").await.unwrap();
    server.create_customer("K-1").await;
    let waiting = "SELECT count(*) FROM feed_inbox WHERE feed_number IS NOT NULL";
    assert!(query_number(&url, waiting).await > 0);
    holder.execute("ROLLBACK").await.unwrap();
    let sequenced = tokio::time::timeout(Duration::from_secs(5), async {
        while query_number(&url, waiting).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    sequenced.await.expect("the sequencer did not finish it");
    server.drain_inbox().await;
    let entries = server.database.read_changes(0, 100).await.unwrap().0;
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            let number = entry.customer_number.as_ref().unwrap();
            (number.is_pseudonym(), entry.kind.as_str())
        })
        .collect();
    let all = [
        (true, CREATED.as_str()),
        (true, ERASED.as_str()),
        (false, CREATED.as_str()),
    ];
    assert_eq!(entries, all);
}
