//! Guarantees of the database: rule 2 against direct writes, concurrent migrations, and
//! transactions whose callers disconnect.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use contact_service::{
    api::proto::ContactType,
    domain::{customer::Customer, ids::CustomerNumber},
    error::{Error, Result},
    storage::{Database, Outcome},
};
use futures::future::join_all;
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection, error::DatabaseError};
use tempfile::TempDir;

use crate::deadline::in_time;
use crate::harness::{
    Backend, Options, TestServer, connect, execute, fresh_database, postgres_url, query_number,
    start_time, try_execute,
};
use crate::own_database::{assert_no_open_transaction, own_postgres_database};

const BACKSTOP: &str = "contacts_keep_a_standard";
/// Long enough for a statement that waits for no lock to end.
const LOCK_WAIT: Duration = Duration::from_millis(300);
const COPIED_COLUMNS: &str = "locale, invoice_email_enabled, restrictions_note, \
    allowed_order_types, denied_order_types, version, create_time, update_time";

fn number(text: &str) -> CustomerNumber {
    CustomerNumber::parse(text).unwrap()
}

/// K-1 with one STANDARD and one TECHNICAL contact, K-2 with none.
async fn two_customers(backend: Backend) -> TestServer {
    let server = TestServer::start(backend).await;
    for number in ["K-1", "K-2"] {
        server.create_customer(number).await;
    }
    for (name, contact_type) in [
        ("Anna", ContactType::Standard),
        ("Bernd", ContactType::Technical),
    ] {
        server
            .create_contact("K-1", name, &[contact_type], "")
            .await;
    }
    server
}

/// SQL that copies the STANDARD contact of K-1 with another customer number or types.
fn copied_contact(verb: &str, number: &str, types: i16) -> String {
    format!(
        "{verb} INTO contacts (customer_number, contact_id, position, types, display_name, {COPIED_COLUMNS})
         SELECT '{number}', contact_id, position, {types}, 'Copy', {COPIED_COLUMNS}
         FROM contacts WHERE customer_number = 'K-1' AND types = 1"
    )
}

async fn assert_rejected(server: &TestServer, sql: &str) {
    let contacts = "SELECT COUNT(*) * 100 + SUM(types) FROM contacts";
    let before = query_number(&server.database_url, contacts).await;
    let rejected = try_execute(&server.database_url, sql).await.unwrap_err();
    assert!(rejected.to_string().contains(BACKSTOP), "{rejected}");
    assert_eq!(query_number(&server.database_url, contacts).await, before);
}

#[rstest]
#[case::its_deletion("DELETE FROM contacts WHERE types & 1 = 1")]
#[case::the_deletion_of_all("DELETE FROM contacts WHERE customer_number = 'K-1'")]
#[case::the_loss_of_its_type("UPDATE contacts SET types = 2 WHERE types & 1 = 1")]
#[case::its_move_to_another_customer("UPDATE contacts SET customer_number = 'K-2' WHERE types = 1")]
#[tokio::test]
async fn rule_2_direct_writes_cannot_remove_the_last_standard(
    #[case] sql: &str,
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    assert_rejected(&two_customers(backend).await, sql).await;
}

#[rstest]
#[tokio::test]
async fn rule_2_direct_writes_cannot_skip_the_first_standard(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = two_customers(backend).await;
    assert_rejected(&server, &copied_contact("INSERT", "K-2", 2)).await;
    execute(&server.database_url, &copied_contact("INSERT", "K-2", 3)).await;
}

#[tokio::test]
async fn rule_2_holds_against_sqlite_insert_or_replace() {
    let server = two_customers(Backend::Sqlite).await;
    assert_rejected(&server, &copied_contact("INSERT OR REPLACE", "K-1", 2)).await;
}

/// The second transaction waits for the first: at read committed it then finds no other STANDARD
/// contact, at the other levels it fails to serialize.
#[rstest]
#[case("READ COMMITTED", "23514")]
#[case("REPEATABLE READ", "40001")]
#[case("SERIALIZABLE", "40001")]
#[tokio::test]
async fn rule_2_holds_for_concurrent_direct_deletes(#[case] level: &str, #[case] code: &str) {
    let server = two_customers(Backend::Postgres).await;
    execute(&server.database_url, "UPDATE contacts SET types = 1").await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = PgConnection::connect(&server.database_url).await.unwrap();
        // Before the other one commits, so that neither snapshot has the other's changes.
        let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM contacts");
        let begin = sqlx::raw_sql(sqlx::AssertSqlSafe(begin));
        connection.execute(begin).await.unwrap();
        connections.push(connection);
    }
    let mut second = connections.pop().unwrap();
    let mut first = connections.pop().unwrap();
    let delete = "DELETE FROM contacts WHERE display_name = ";
    let anna = sqlx::AssertSqlSafe(format!("{delete}'Anna'"));
    first.execute(anna).await.unwrap();
    let waiting = tokio::spawn(async move {
        let bernd = sqlx::AssertSqlSafe(format!("{delete}'Bernd'"));
        second.execute(bernd).await
    });
    tokio::time::sleep(LOCK_WAIT).await;
    assert!(!waiting.is_finished(), "nothing serializes the deletions");
    first.execute("COMMIT").await.unwrap();
    let rejected = waiting.await.unwrap().unwrap_err();
    let error = rejected.as_database_error().unwrap();
    assert_eq!(error.code().as_deref(), Some(code), "{rejected}");
    assert_eq!(violated(error) == BACKSTOP, code == "23514", "{rejected}");
    let left = "SELECT COUNT(*) FROM contacts WHERE types & 1 = 1";
    assert_eq!(query_number(&server.database_url, left).await, 1);
}

/// The error comes with its statement: a deferred one would come at the commit, which distributed
/// databases report without the constraint.
#[tokio::test]
async fn rule_2_rejects_the_statement_and_not_the_commit() {
    let server = two_customers(Backend::Postgres).await;
    let mut connection = PgConnection::connect(&server.database_url).await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    let delete = "DELETE FROM contacts WHERE types & 1 = 1";
    let rejected = connection.execute(delete).await.unwrap_err();
    let error = rejected.as_database_error().unwrap();
    assert_eq!(error.code().as_deref(), Some("23514"), "{rejected}");
    assert_eq!(violated(error), BACKSTOP, "{rejected}");
}

/// The violated constraint. Citus does not pass on its name, which the message has as well.
fn violated(error: &dyn DatabaseError) -> &str {
    error.constraint().unwrap_or_else(|| error.message())
}

/// One statement may replace the last STANDARD contact, whatever the order of its rows.
#[tokio::test]
async fn rule_2_is_checked_after_the_whole_statement() {
    let server = two_customers(Backend::Postgres).await;
    let swap = "UPDATE contacts SET types = 3 - types WHERE customer_number = 'K-1'";
    execute(&server.database_url, swap).await;
    let standard = "SELECT COUNT(*) FROM contacts WHERE types & 1 = 1 AND display_name = 'Bernd'";
    assert_eq!(query_number(&server.database_url, standard).await, 1);
}

#[rstest]
#[case::another_contact("DELETE FROM contacts WHERE types & 1 = 0", 1)]
#[case::one_of_two_standard_contacts(
    "UPDATE contacts SET types = 1; DELETE FROM contacts WHERE display_name = 'Anna'",
    1
)]
#[case::the_whole_customer("DELETE FROM customers WHERE customer_number = 'K-1'", 0)]
#[tokio::test]
async fn rule_2_permits_all_other_direct_writes(
    #[case] sql: &str,
    #[case] left: i64,
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = two_customers(backend).await;
    execute(&server.database_url, sql).await;
    let contacts = "SELECT COUNT(*) FROM contacts";
    assert_eq!(query_number(&server.database_url, contacts).await, left);
}

async fn empty_database(backend: Backend) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("contacts.db");
    let database_url = fresh_database(backend, file).await;
    (folder, database_url)
}

async fn assert_all_applied(database: &Database) {
    let status = database.migration_status().await.unwrap();
    assert!(!status.is_empty() && status.iter().all(|migration| migration.applied));
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_concurrent_migrations_succeed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let starts = (0..8).map(|_| {
        let database_url = database_url.clone();
        tokio::spawn(async move {
            let database = connect(&database_url).await;
            database.migrate().await.map(|()| database)
        })
    });
    for started in join_all(starts).await {
        assert_all_applied(&started.unwrap().unwrap()).await;
    }
}

#[rstest]
#[tokio::test]
async fn repeated_migration_changes_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    let missing = database.migration_status().await.unwrap();
    assert!(!missing.is_empty() && missing.iter().all(|migration| !migration.applied));
    database.migrate().await.unwrap();
    insert_customer(&database, "K-1").await.unwrap();
    database.migrate().await.unwrap();
    assert_all_applied(&database).await;
    assert!(customer_exists(&database, "K-1").await);
}

#[rstest]
#[tokio::test]
async fn newer_schema_is_reported_and_unchanged(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    database.migrate().await.unwrap();
    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_x', 0)";
    execute(&database_url, newer).await;
    for rejected in [
        database.migrate().await.unwrap_err(),
        database.migration_status().await.unwrap_err(),
    ] {
        assert!(matches!(rejected, Error::DataLoss { .. }), "{rejected:?}");
        assert!(
            rejected.to_string().contains("this version does not know"),
            "{rejected}"
        );
    }
}

/// Statements of running instances queue after a migration that waits for a table.
#[tokio::test]
async fn migration_that_waits_for_a_table_lets_others_pass() {
    let (_folder, database_url) = empty_database(Backend::Postgres).await;
    let mut holder = PgConnection::connect(&database_url).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    holder.execute("BEGIN").await.unwrap();
    let locking = "CREATE TABLE customers (customer_number TEXT)";
    holder.execute(locking).await.unwrap();
    let waiting =
        format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))");
    let database = connect(&database_url).await;
    let migrating = tokio::spawn(async move { database.migrate().await });
    for count in [1, 0, 1] {
        in_time(async { while query_number(&database_url, &waiting).await != count {} }).await;
    }
    assert!(!migrating.is_finished());
    holder.execute("ROLLBACK").await.unwrap();
    migrating.await.unwrap().unwrap();
    assert_all_applied(&connect(&database_url).await).await;
}

/// Versions before the first release had other migrations.
#[rstest]
#[tokio::test]
async fn schema_of_before_the_first_release_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    assert_eq!(database.check_release().await, Ok(()));
    database.migrate().await.unwrap();
    assert_eq!(database.check_release().await, Ok(()));
    let older = "UPDATE seaql_migrations SET version = 'm20261123_000001_core'";
    execute(&database_url, older).await;
    let why = database.check_release().await.unwrap_err();
    assert!(why.contains("before the first release"), "{why}");
    let rejected = database.migrate().await.unwrap_err();
    assert!(matches!(rejected, Error::DataLoss { .. }), "{rejected:?}");
}

async fn customer_exists(database: &Database, text: &str) -> bool {
    let found = database.find_customer(&number(text)).await;
    found.unwrap().is_some()
}

async fn insert_customer(database: &Database, text: &str) -> Result<()> {
    let customer = Customer::new(number(text), start_time());
    let inserting = database.transaction(move |transaction| {
        let customer = customer.clone();
        Box::pin(async move {
            transaction.insert_customer(customer, &[], 1).await?;
            Ok(Outcome::Commit(()))
        })
    });
    inserting.await
}

/// Inserts a customer, then returns the result that `end` gives for this attempt.
async fn insert_and_end(
    database: &Database,
    text: &str,
    end: impl Fn(u32) -> Result<Outcome<u32>> + Clone + Send + Sync + 'static,
) -> Result<u32> {
    let attempts = Arc::new(AtomicU32::new(0));
    let customer = Customer::new(number(text), start_time());
    let inserting = database.transaction(move |transaction| {
        let (customer, attempts, end) = (customer.clone(), attempts.clone(), end.clone());
        Box::pin(async move {
            let count = attempts.fetch_add(1, Ordering::SeqCst) + 1;
            transaction.insert_customer(customer, &[], 1).await?;
            end(count)
        })
    });
    inserting.await
}

#[rstest]
#[tokio::test]
async fn conflicting_transaction_has_a_retry_limit(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    database.migrate().await.unwrap();

    let third = |count| {
        if count < 3 {
            Err(Error::Conflict)
        } else {
            Ok(Outcome::Commit(count))
        }
    };
    assert_eq!(insert_and_end(&database, "K-1", third).await, Ok(3));
    assert!(customer_exists(&database, "K-1").await);

    let never = insert_and_end(&database, "K-2", |_| Err(Error::Conflict)).await;
    assert_eq!(never, Err(Error::Conflict));
    assert!(!customer_exists(&database, "K-2").await);
}

#[rstest]
#[tokio::test]
async fn failed_transaction_is_neither_stored_nor_retried(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    database.migrate().await.unwrap();

    let reject = |count| {
        if count == 1 {
            Err(Error::EtagMismatch)
        } else {
            Ok(Outcome::Commit(0))
        }
    };
    let rejected = insert_and_end(&database, "K-1", reject).await;
    assert_eq!(rejected, Err(Error::EtagMismatch));
    let rolled_back = insert_and_end(&database, "K-1", |count| Ok(Outcome::Rollback(count))).await;
    assert_eq!(rolled_back, Ok(1));
    assert!(!customer_exists(&database, "K-1").await);
    insert_customer(&database, "K-1").await.unwrap();
}

#[rstest]
#[tokio::test]
async fn panic_in_a_transaction_is_reported_and_rolled_back(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (_folder, database_url) = empty_database(backend).await;
    let database = connect(&database_url).await;
    database.migrate().await.unwrap();
    let panicked = insert_and_end(&database, "K-1", |_| panic!("as it is meant to")).await;
    assert!(matches!(panicked, Err(Error::Internal { .. })));
    insert_customer(&database, "K-1").await.unwrap();
}

/// Increments the customer's write count and returns it.
async fn write(database: Database) -> Result<i64> {
    let number = number("K-1");
    let writing = database.transaction(move |transaction| {
        let number = number.clone();
        Box::pin(async move {
            let locked = transaction.lock_customer(&number).await?;
            transaction.list_contacts(&number).await?;
            Ok(Outcome::Commit(locked.sequence_number))
        })
    });
    writing.await
}

/// Drops the future after it was polled this often.
async fn abandon<T>(work: impl Future<Output = T>, chances: usize) {
    let chances = async {
        for _ in 0..chances {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = work => {}
        () = chances => {}
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_calls_leave_no_transaction_and_lose_no_write(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const ROUNDS: usize = 200;
    let (folder, mut database_url) = empty_database(backend).await;
    if backend == Backend::Postgres {
        database_url = own_postgres_database().await;
    }
    let server = TestServer::start_on(&database_url, folder, Options::default()).await;
    server.create_customer("K-1").await;
    let stored = "SELECT write_count FROM customers WHERE customer_number = 'K-1'";
    let number = number("K-1");
    for round in 0..ROUNDS {
        let chances = round * 7 % 240;
        let _ = tokio::join!(
            abandon(write(server.database.clone()), chances),
            abandon(server.database.find_customer(&number), chances),
        );
        assert_no_open_transaction(&database_url, backend, 0).await;
        let acknowledged = write(server.database.clone()).await.unwrap();
        let durable = query_number(&database_url, stored).await;
        assert!(
            durable >= acknowledged,
            "round {round}: {durable} of {acknowledged}"
        );
    }
    if backend == Backend::Postgres {
        server.database.clone().close().await;
        let name = database_url.rsplit('/').next().unwrap();
        execute(
            &postgres_url(),
            &format!("DROP DATABASE {name} WITH (FORCE)"),
        )
        .await;
    }
}
