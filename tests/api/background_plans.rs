//! Every statement of the background jobs runs on indexes at any table size, whatever statistics
//! PostgreSQL holds: the buffers it reads are proportional to the rows it handles.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use contact_service::{
    app::{App, AppParts},
    clock::Clock,
    crypto::{
        development_keys::DevelopmentKeys,
        keyring::VersionedKeys,
        password_hasher::{HashCost, PhoneHasher},
        random::Random,
    },
    storage::{Database, Outcome},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::tempdir;

use crate::{
    explain::{self, explained, full_scans, lookups, scans_of_whole_indexes},
    harness::{Backend, connect, execute, fresh_database, start_time},
};

const BUFFERS_PER_ROW: u64 = 20;
/// Index descents, of which an update has one per index, plus dead tuples in a page: 43 were
/// measured for one row. A full table scan reads hundreds.
const BUFFERS_AT_FIRST: u64 = 40;
/// A table of one row, or of a few hundred.
const SMALL: &[&str] = &[
    "change_feed",
    "contacts",
    "contact_phone_numbers",
    "customers",
];
const WITH_BUFFERS: &[(&str, &str)] = &[
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_buffers", "on"),
    ("auto_explain.log_timing", "off"),
];

/// The state of PostgreSQL's statistics when the jobs run.
#[derive(Clone, Copy, Debug)]
enum Statistics {
    /// None: the rows were just loaded.
    None,
    /// Gathered while no row was due for a job; now many are.
    NothingWaiting,
    /// Gathered while every row was due; now few are.
    EverythingWaiting,
    /// Gathered while the loaded rows were not visible yet.
    Empty,
}

/// Number of rows to load.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Events that are due for no job.
    events: u32,
    /// Rows of each other table that are due for no job.
    others: u32,
    /// Rows of each kind that are due for a job.
    waiting: u32,
}

const ROWS: &str = include_str!("background_rows.sql");
/// Events of an erased customer: more than one transaction renames. Each one also reads the index entries
/// that those before it have left.
const OF_ERASED: u32 = 6_000;
/// Confirmations and e-mails per customer.
const PER_CUSTOMER: u32 = 10;

/// Loads rows that are due for a job, or rows that are not. `run` keeps their keys disjoint.
fn load(run: &str, is_waiting: bool, events: u32, others: u32) -> String {
    let customers = others / PER_CUSTOMER + 1;
    let (time, later) = if is_waiting {
        (
            "'2024-06-01T00:00:00Z'::timestamptz",
            "'2026-02-28T09:00:00Z'::timestamptz",
        )
    } else {
        (
            "'2026-02-28T00:00:00Z'::timestamptz",
            "'2026-03-05T09:00:00Z'::timestamptz",
        )
    };
    let number = |n: &str| format!("'{run}-' || lpad(({n})::text, 8, '0')");
    let logged = format!(
        "INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
           changed_fields) \
         SELECT {number}, n % 7, gen_random_uuid(), {time} + n * interval '1 millisecond', 'agent', \
           'contact.updated', '[\"display_name\"]' FROM generate_series(1, {events}) n;",
        number = number("n / 7"),
    );
    let feed = feed_rows(run, is_waiting, events, &number("n / 7"), time);
    let events = [logged, feed].concat();
    let customer = number(&format!("n % {customers}"));
    let (settled, dead) = if is_waiting {
        ("expired", "dead")
    } else {
        ("pending", "queued")
    };
    let (customers, others) = (customers.to_string(), others.to_string());
    let values = [
        ("number", number("n")),
        ("customer", customer),
        ("customers", customers),
        ("others", others),
        ("run", run.to_owned()),
        ("time", time.to_owned()),
        ("later", later.to_owned()),
        ("settled", settled.to_owned()),
        ("dead", dead.to_owned()),
        ("is_waiting", is_waiting.to_string()),
    ];
    let rows = values.iter().fold(ROWS.to_owned(), |rows, (name, value)| {
        rows.replace(&format!("{{{name}}}"), value)
    });
    [events, rows].concat()
}

/// Returns the rows of the change feed: those that are due expire, are renamed or wait in the inbox.
fn feed_rows(run: &str, is_waiting: bool, events: u32, number: &str, time: &str) -> String {
    let recent = "'2026-02-28T00:00:00Z'::timestamptz";
    let entries = |first: u32, number: &str, time: &str, sealed: &str, events: u32| {
        format!(
            "INSERT INTO feed_entries (position, event_id, customer_number, event_time, kind, \
               changed_fields, sealed_customer_number) \
             SELECT {first} + n, gen_random_uuid(), {number}, {time} + n * interval '1 millisecond', \
               'contact.updated', '[\"display_name\"]', {sealed} \
             FROM generate_series(1, {events}) n;"
        )
    };
    let inbox = |number: &str, feed_number: &str, events: u32| {
        format!(
            "INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, \
               changed_fields, feed_number) \
             SELECT {number}, n % 7, gen_random_uuid(), {recent} + n * interval '1 millisecond', \
               'contact.updated', '[\"display_name\"]', {feed_number} \
             FROM generate_series(1, {events}) n;"
        )
    };
    if !is_waiting {
        return entries(1_000_000_000, number, time, "NULL", events);
    }
    let erased = format!("'{run}-erased'");
    let sealed = "'2026-01-01T00:00:00Z'::timestamptz";
    [
        entries(0, number, time, "NULL", events),
        entries(100_000_000, number, sealed, "'x'::bytea", events),
        entries(200_000_000, &erased, recent, "NULL", OF_ERASED.min(events)),
        inbox(number, "NULL", events),
        inbox(&erased, "'pseudonym'", 1),
        "UPDATE change_feed SET last_position = 2000000000;".to_owned(),
    ]
    .concat()
}

const TABLES: &[&str] = &[
    "audit_events",
    "feed_inbox",
    "feed_entries",
    "customers",
    "contacts",
    "contact_phone_numbers",
    "request_ids",
    "email_confirmations",
    "confirmation_tokens",
    "outbox_mails",
    "phone_passwords",
    "phone_password_calls",
    "phone_password_agents",
    "one_time_codes",
    "customer_search_agents",
    "phone_orders",
];

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for setting in ["SET statement_timeout = 0", "SET synchronous_commit = off"] {
        connection.execute(setting).await.unwrap();
    }
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
}

async fn fill(url: &str, statistics: Statistics, size: Size) {
    for table in TABLES {
        let sql = format!("ALTER TABLE {table} SET (autovacuum_enabled = off)");
        execute(url, &sql).await;
    }
    let Size {
        events,
        others,
        waiting,
    } = size;
    let idle = load("IDLE", false, events, others);
    let due = load("DUE", true, waiting, waiting);
    match statistics {
        Statistics::None => run(url, &[idle, due].concat()).await,
        Statistics::NothingWaiting => {
            run(url, &idle).await;
            execute(url, "ANALYZE").await;
            run(url, &due).await;
        }
        Statistics::EverythingWaiting => {
            run(url, &load("ALL", true, events, others)).await;
            execute(url, "ANALYZE").await;
            // Statistics outlive the rows.
            execute(url, &format!("TRUNCATE {} CASCADE", TABLES.join(", "))).await;
            run(url, &[idle, load("DUE", true, 10, 10)].concat()).await;
        }
        Statistics::Empty => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let sql = format!("BEGIN; {idle} {due}");
            let sql = sqlx::AssertSqlSafe(sql);
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
            execute(url, "ANALYZE").await;
            connection.execute("COMMIT").await.unwrap();
        }
    }
}

/// The use cases without a server, whose background jobs would interfere.
pub(crate) fn app_on(database: &Database) -> App {
    let folder = tempdir().unwrap();
    let keys = DevelopmentKeys::load_or_create(folder.path(), &Random::system()).unwrap();
    let peppers = VersionedKeys::parse(keys.phone_pepper().expose_secret()).unwrap();
    App::new(AppParts {
        channel_checks_per_minute: None,
        code_answer_time: std::time::Duration::ZERO,
        database: database.clone(),
        clock: Clock::manual(start_time()),
        random: Random::system(),
        service_keys: VersionedKeys::parse(keys.service_keys().expose_secret()).unwrap(),
        hasher: PhoneHasher::new(peppers, HashCost::unbounded(8, 1, 1).unwrap()).unwrap(),
        mail_folder: None,
    })
}

/// Runs every background job of the server at least once.
async fn run_background_jobs(database: &Database, app: &App) {
    database.probe_read().await.unwrap();
    database.probe_write(0).await.unwrap();
    app.missing_pepper_versions().await.unwrap();
    app.count_hashes_by_pepper().await.unwrap();
    app.count_mails().await.unwrap();
    claim_mails(database).await;
    app.remind_of_pending_emails().await.unwrap();
    app.clear_expired_emails().await.unwrap();
    assert!(app.purge_expired_requests().await.unwrap() > 0);
    assert!(app.purge_confirmations().await.unwrap() > 0);
    assert!(app.purge_dead_letters().await.unwrap() > 0);
    assert!(app.purge_attempts().await.unwrap() > 0);
    assert!(app.purge_mail_counts().await.unwrap() > 0);
    assert!(app.purge_channel_checks().await.unwrap() > 0);
    assert!(app.purge_one_time_codes().await.unwrap() > 0);
    app.count_failed_contacts().await.unwrap();
    assert!(app.purge_sealed_numbers().await.unwrap() > 0);
    // Sequences all events first. Another pass would read the rows that were just deleted.
    let year = TimeDelta::days(365);
    assert!(app.purge_events(year).await.unwrap() > 0);
    let bounds = database.feed_bounds().await.unwrap();
    assert!(bounds.last > 2_000_000_000, "{bounds:?}");
}

/// Runs the worker's queries about the e-mails that it sends.
async fn claim_mails(database: &Database) {
    let now = start_time();
    let end = now + TimeDelta::minutes(1);
    let mut claimed = Vec::new();
    for due in database.list_due_mails(now, 20).await.unwrap() {
        claimed.extend(database.claim_mail(&due, end).await.unwrap());
    }
    let settled = database.transaction(move |transaction| {
        let claimed = claimed.clone();
        Box::pin(async move {
            for mail in &claimed {
                assert!(transaction.is_claimed(mail).await?);
                assert!(transaction.renew_claim(mail, end).await?);
            }
            let [sent, deferred, dead] = &claimed[..3] else {
                panic!("{} claimed", claimed.len())
            };
            assert!(transaction.delete_mail(sent).await?);
            assert!(transaction.reschedule(deferred, end, "451").await?);
            assert!(transaction.dead_letter(dead, now, "550").await?);
            Ok(Outcome::Commit(()))
        })
    });
    settled.await.unwrap();
}

fn number(plan: &Value, name: &str) -> u64 {
    // PostgreSQL 18 reports fractional row counts.
    let number = plan[name].as_f64().unwrap_or_default();
    format!("{number:.0}").parse().unwrap()
}

/// Returns the first column of each index.
async fn first_columns(url: &str) -> BTreeMap<String, String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT relname::text, pg_get_indexdef(indexrelid, 1, true) FROM pg_index \
         JOIN pg_class ON pg_class.oid = indexrelid \
         WHERE relnamespace = current_schema::regnamespace",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(!indexes.is_empty());
    indexes.into_iter().collect()
}

/// Number of rows that a statement changes, counts or returns.
fn handled_rows(plan: &Value) -> u64 {
    let inner = plan["Plans"].as_array().and_then(|inner| inner.first());
    let own = number(plan, "Actual Rows") * number(plan, "Actual Loops").max(1);
    match (plan["Node Type"].as_str(), inner) {
        (Some("ModifyTable" | "Aggregate" | "Limit"), Some(inner)) => own.max(handled_rows(inner)),
        _ => own,
    }
}

/// Asserts that each plan uses indexes and reads no more than it handles.
fn assert_bound(
    plans: &[(String, Value)],
    first_columns: &BTreeMap<String, String>,
    statistics: Statistics,
) {
    let mut worst = 0;
    let mut offences = BTreeSet::new();
    for (query, plan) in plans {
        let mut found = Vec::new();
        full_scans(plan, SMALL, &mut found);
        scans_of_whole_indexes(plan, first_columns, &mut found);
        let buffers = number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks");
        let rows = handled_rows(plan).max(1);
        worst = worst.max(buffers / rows);
        if buffers > BUFFERS_AT_FIRST + BUFFERS_PER_ROW * rows {
            found.push(format!(
                "{buffers} buffers for {rows} rows in {}",
                lookups(plan)
            ));
        }
        if plan.get("JIT").is_some() {
            found.push("JIT".to_owned());
        }
        offences.extend(found.into_iter().map(|what| format!("{what}: {query}")));
    }
    println!(
        "{statistics:?}: {} plans, at most {worst} buffers per row",
        plans.len()
    );
    let offences: Vec<_> = offences.into_iter().collect();
    assert!(
        offences.is_empty(),
        "{statistics:?}:\n{}",
        offences.join("\n\n")
    );
}

async fn assert_all_bound(statistics: Statistics, size: Size) {
    let _lock = explain::begin().await;
    let url = fresh_database(Backend::Postgres, "".into()).await;
    let database = connect(&url).await;
    database.migrate().await.unwrap();
    database.close().await;
    fill(&url, statistics, size).await;
    let database = connect(&explained(&url, WITH_BUFFERS)).await;
    let app = app_on(&database);
    explain::discard();
    run_background_jobs(&database, &app).await;
    database.close().await;
    assert_bound(&explain::plans(), &first_columns(&url).await, statistics);
}

#[rstest::rstest]
#[tokio::test]
async fn every_background_statement_is_bound_by_an_index(
    #[values(
        Statistics::None,
        Statistics::NothingWaiting,
        Statistics::EverythingWaiting,
        Statistics::Empty
    )]
    statistics: Statistics,
) {
    let size = Size {
        events: 20_000,
        others: 5_000,
        waiting: 2_500,
    };
    assert_all_bound(statistics, size).await;
}

#[rstest::rstest]
#[tokio::test]
#[ignore = "loads some million events four times: scripts/proof"]
async fn proof_every_background_statement_is_bound_at_3m_events(
    #[values(
        Statistics::None,
        Statistics::NothingWaiting,
        Statistics::EverythingWaiting,
        Statistics::Empty
    )]
    statistics: Statistics,
) {
    let size = Size {
        events: 3_000_000,
        others: 200_000,
        waiting: 20_000,
    };
    assert_all_bound(statistics, size).await;
}
