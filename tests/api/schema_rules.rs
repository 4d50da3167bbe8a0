//! Schema rules that allow sharding by customer: keys begin with the customer number, no
//! sequences, no session state. Each exception states its reason and fails once it is obsolete.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{read_dir, read_to_string},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rstest::rstest;
use sqlx::{Connection, PgConnection, SqliteConnection};
use syn::visit::{self, Visit as VisitSyntax};
use tempfile::tempdir;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

use crate::{
    explain::with_options,
    harness::{Backend, Options, TestServer, connect, execute, fresh_database},
    query_plans::run_all,
};

const CUSTOMER_NUMBER: &str = "customer_number";

/// Tables without a customer number, with the reason.
const WITHOUT_CUSTOMER: &[(&str, &str)] = &[
    ("change_feed", "one row, locked while events are sequenced"),
    ("channel_check_agents", "an agent serves all customers"),
    ("customer_search_agents", "an agent serves all customers"),
    (
        "mail_recipients",
        "contacts of several customers may share an address",
    ),
    ("order_types", "few, and the same for all customers"),
    ("phone_password_agents", "an agent serves all customers"),
    ("schema_lock", "one row, locked by a migration"),
    ("seaql_migrations", "one row per migration"),
    ("write_probes", "a few rows, written by readiness probes"),
];
/// Keys of a table that has the numbers of all customers.
const OTHER_KEYS: &[(&str, &str)] = &[
    (
        "feed_entries (event_id)",
        "finds an event that is sequenced already",
    ),
    (
        "feed_entries (position)",
        "one order for the events of all customers",
    ),
];
/// On PostgreSQL only: SQLite's migration transaction locks the whole database.
const POSTGRES_ONLY: &str = "schema_lock";
const POSTGRES_COLUMNS: &str = "\
    SELECT c.relname::text, '', a.attname::text FROM pg_class c \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')";
const POSTGRES_KEYS: &str = "\
    SELECT t.relname::text, i.relname::text, coalesce(a.attname::text, '(an expression)') \
    FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid \
    CROSS JOIN unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) \
    LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
    WHERE x.indisunique AND t.relnamespace = current_schema()::regnamespace \
    ORDER BY t.relname, i.relname, k.place";
const POSTGRES_FOREIGN_KEYS: &str = "\
    SELECT t.relname::text, c.conname::text, a.attname || ' = ' || b.attname \
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid \
    CROSS JOIN unnest(c.conkey, c.confkey) AS k (here, there) \
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.here \
    JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.there \
    WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace";
const POSTGRES_SEQUENCES: &str = "\
    SELECT relname::text, '', 'sequence' FROM pg_class \
    WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace \
    UNION ALL \
    SELECT c.relname::text, '', a.attname::text FROM pg_class c \
    JOIN pg_attribute a ON a.attrelid = c.oid \
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
    WHERE c.relnamespace = current_schema()::regnamespace \
      AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval%')";

const SQLITE_COLUMNS: &str = "\
    SELECT m.name, '', c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'";
const SQLITE_KEYS: &str = "\
    SELECT m.name, i.name, coalesce(c.name, '(an expression)') \
    FROM sqlite_schema m, pragma_index_list(m.name) i, pragma_index_info(i.name) c \
    WHERE m.type = 'table' AND i.\"unique\" ORDER BY m.name, i.name, c.seqno";
const SQLITE_FOREIGN_KEYS: &str = "\
    SELECT m.name, k.id || '', k.\"from\" || ' = ' || k.\"to\" \
    FROM sqlite_schema m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table'";
/// A single-column key of this type is an alias of SQLite's row id.
const SQLITE_SEQUENCES: &str = "\
    SELECT m.name, '', c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND c.pk = 1 AND upper(c.type) = 'INTEGER' \
      AND (SELECT count(*) FROM pragma_table_info(m.name) WHERE pk > 0) = 1";

/// Columns, or pairs of columns, by table and key.
type Keys = BTreeMap<(String, String), Vec<String>>;

async fn read(url: &str, of_postgres: &'static str, of_sqlite: &'static str) -> Keys {
    let rows: Vec<(String, String, String)> = if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let query = sqlx::query_as(of_sqlite);
        query.fetch_all(&mut connection).await.unwrap()
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let query = sqlx::query_as(of_postgres);
        query.fetch_all(&mut connection).await.unwrap()
    };
    let mut keys = Keys::new();
    for (table, key, column) in rows {
        keys.entry((table, key)).or_default().push(column);
    }
    keys
}

/// Violations of the rules.
#[derive(Debug, Default)]
struct Violations {
    of_no_customer: Vec<String>,
    other_keys: Vec<String>,
    foreign_keys: Vec<String>,
    numbered: Vec<String>,
}

async fn find_violations(url: &str) -> Violations {
    let columns = read(url, POSTGRES_COLUMNS, SQLITE_COLUMNS).await;
    assert!(columns.len() > 10, "only {} tables", columns.len());
    let is_of_customer = |table: &str| {
        let columns = &columns[&(table.to_owned(), String::new())];
        columns.iter().any(|column| column == CUSTOMER_NUMBER)
    };
    let tables = columns.keys().map(|(table, _)| table.clone());
    let keys = read(url, POSTGRES_KEYS, SQLITE_KEYS).await;
    let keyed: Vec<&String> = keys.keys().map(|(table, _)| table).collect();
    let without_key = |table: &&String| is_of_customer(table) && !keyed.contains(table);
    let mut other_keys: Vec<String> = columns
        .keys()
        .map(|(table, _)| table)
        .filter(without_key)
        .map(|table| format!("{table} (no key)"))
        .collect();
    for ((table, _), columns) in &keys {
        if is_of_customer(table) && columns[0] != CUSTOMER_NUMBER {
            other_keys.push(format!("{table} ({})", columns.join(", ")));
        }
    }
    let foreign_keys = read(url, POSTGRES_FOREIGN_KEYS, SQLITE_FOREIGN_KEYS).await;
    assert!(foreign_keys.len() >= 6, "only {}", foreign_keys.len());
    let both = format!("{CUSTOMER_NUMBER} = {CUSTOMER_NUMBER}");
    let numbered = read(url, POSTGRES_SEQUENCES, SQLITE_SEQUENCES).await;
    Violations {
        of_no_customer: tables.filter(|table| !is_of_customer(table)).collect(),
        other_keys,
        foreign_keys: foreign_keys
            .into_iter()
            .filter(|(_, pairs)| !pairs.contains(&both))
            .map(|((table, _), pairs)| format!("{table} ({})", pairs.join(", ")))
            .collect(),
        numbered: numbered.into_keys().map(|(table, _)| table).collect(),
    }
}

async fn migrated(backend: Backend, folder: &Path) -> String {
    let url = fresh_database(backend, folder.join("contacts.db")).await;
    connect(&url).await.migrate().await.unwrap();
    url
}

fn names(exceptions: &[(&str, &str)]) -> Vec<String> {
    exceptions
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

#[rstest]
#[tokio::test]
async fn keys_begin_with_the_customer_number_without_sequences(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let folder = tempdir().unwrap();
    let found = find_violations(&migrated(backend, folder.path()).await).await;
    let mut of_no_customer = names(WITHOUT_CUSTOMER);
    of_no_customer.retain(|table| backend == Backend::Postgres || table != POSTGRES_ONLY);
    // Exactly these, so that obsolete exceptions are removed.
    assert_eq!(found.of_no_customer, of_no_customer);
    let mut other_keys = found.other_keys;
    other_keys.sort();
    assert_eq!(other_keys, names(OTHER_KEYS));
    assert_eq!(found.foreign_keys, [""; 0]);
    assert_eq!(found.numbered, [""; 0]);
}

#[rstest]
#[tokio::test]
async fn table_that_violates_the_rules_is_found(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let folder = tempdir().unwrap();
    let url = migrated(backend, folder.path()).await;
    let number = match backend {
        Backend::Sqlite => "INTEGER PRIMARY KEY",
        Backend::Postgres => "SERIAL PRIMARY KEY",
    };
    let tables = format!(
        "CREATE TABLE letters (id {number}, customer_number VARCHAR(32), UNIQUE (customer_number, id));
         CREATE TABLE notes (customer_number VARCHAR(32), text VARCHAR(9));
         CREATE TABLE replies (customer_number VARCHAR(32), letter INT REFERENCES letters (id),
                               PRIMARY KEY (customer_number, letter));
         CREATE TABLE senders (name VARCHAR(32) PRIMARY KEY)"
    );
    execute(&url, &tables).await;
    let found = find_violations(&url).await;
    assert!(found.of_no_customer.contains(&"senders".to_owned()));
    assert!(found.other_keys.contains(&"notes (no key)".to_owned()));
    assert!(
        found
            .foreign_keys
            .contains(&"replies (letter = id)".to_owned())
    );
    assert!(found.numbered.contains(&"letters".to_owned()));
    if backend == Backend::Postgres {
        // SQLite keeps no index for such a key.
        assert!(found.other_keys.contains(&"letters (id)".to_owned()));
    }
}

/// The reason why one of these statements depends on its session.
fn needs_session(sql: &str) -> Option<&'static str> {
    sql.to_lowercase().split(';').find_map(|statement| {
        let words: Vec<_> = statement.split_whitespace().collect();
        match words.as_slice() {
            ["set", "local" | "transaction", ..] => None,
            ["set" | "reset" | "discard", ..] => Some("a session setting"),
            ["listen" | "unlisten" | "notify", ..] => Some("notifications"),
            ["prepare" | "deallocate", ..] => Some("a named prepared statement"),
            ["declare", ..] => Some("a cursor"),
            ["lock", ..] => Some("a table lock"),
            ["create", "temp" | "temporary", ..]
            | ["create", "local" | "global", "temp" | "temporary", ..] => Some("a temporary table"),
            _ if statement.contains("advisory") => Some("an advisory lock"),
            _ if statement.contains("nextval") || statement.contains("lastval") => {
                Some("a sequence")
            }
            _ if statement.contains("set_config") => Some("a session setting"),
            _ => None,
        }
    })
}

fn statements_that_need_sessions<'s>(
    statements: impl IntoIterator<Item = &'s String>,
) -> Vec<String> {
    statements
        .into_iter()
        .filter_map(|sql| Some(format!("{}: {sql}", needs_session(sql)?)))
        .collect()
}

#[rstest]
#[case("SELECT pg_advisory_xact_lock(1)")]
#[case("LISTEN changes")]
#[case("BEGIN; NOTIFY changes")]
#[case("SET statement_timeout = 0")]
#[case("set session characteristics as transaction read only")]
#[case("SELECT set_config('a.b', 'c', false)")]
#[case("CREATE TEMP TABLE t (a INT)")]
#[case("  create local temporary table t (a INT)")]
#[case("INSERT INTO t VALUES (nextval('s'))")]
#[case("DECLARE c CURSOR WITH HOLD FOR SELECT 1")]
#[case("PREPARE p AS SELECT 1")]
#[case("LOCK TABLE contacts")]
fn statement_that_needs_its_session_is_found(#[case] sql: &str) {
    assert!(needs_session(sql).is_some(), "{sql}");
}

#[rstest]
#[case("SET LOCAL lock_timeout = 0; SELECT id FROM schema_lock FOR UPDATE")]
#[case("UPDATE contacts SET locale = 'de'")]
#[case("SET TRANSACTION READ ONLY")]
#[case("BEGIN; ROLLBACK")]
fn statement_without_session_state_passes(#[case] sql: &str) {
    assert_eq!(needs_session(sql), None);
}

/// The executed statements, from the server's log.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Statement(&self.0));
        }
    }
}

struct Statement<'s>(&'s Mutex<Vec<String>>);

impl Visit for Statement<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, field: &Field, text: &str) {
        // `statement: …`, or `execute sqlx_s_1: …`
        if field.name() == "message"
            && let Some((how, sql)) = text.split_once(": ")
            && (how == "statement" || how.starts_with("execute "))
        {
            self.0.lock().unwrap().push(sql.to_owned());
        }
    }
}

/// Single-threaded, so that this thread's subscriber receives every statement.
#[tokio::test]
async fn no_executed_statement_needs_its_session() {
    let statements = Statements::default();
    let heard = tracing_subscriber::registry().with(statements.clone());
    let _heard = tracing::subscriber::set_default(heard);
    let url = fresh_database(Backend::Postgres, PathBuf::new()).await;
    let logged = [("log_statement", "all"), ("client_min_messages", "log")];
    let url = with_options(&url, &logged);
    let server = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
    run_all(&server, "K", &[6, 2, 400]).await;

    let made = statements.0.lock().unwrap().clone();
    for seen in [
        "CREATE TABLE",
        "SET LOCAL lock_timeout",
        "SKIP LOCKED",
        "COMMIT",
    ] {
        assert!(
            made.iter().any(|sql| sql.contains(seen)),
            "no {seen} among {}",
            made.len()
        );
    }
    assert_eq!(statements_that_need_sessions(made.iter()), [""; 0]);
    // State that outlives statements: session locks and temporary tables. Other tests share the server.
    let left = "SELECT 'pg_locks', '', locktype FROM pg_locks WHERE locktype = 'advisory' \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                UNION ALL \
                SELECT relname::text, '', 'temporary' FROM pg_class WHERE relpersistence = 't'";
    assert_eq!(read(&url, left, left).await, Keys::new());
}

/// The string literals of a source file without its doc comments.
#[derive(Default)]
struct Texts(Vec<String>);

impl VisitSyntax<'_> for Texts {
    fn visit_attribute(&mut self, _: &syn::Attribute) {}

    fn visit_lit_str(&mut self, text: &syn::LitStr) {
        self.0.push(text.value());
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        // Macro arguments are unparsed tokens.
        self.0.push(call.tokens.to_string().replace('"', ";"));
        visit::visit_macro(self, call);
    }
}

fn texts_in(folder: &Path, texts: &mut Texts) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts_in(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = read_to_string(&path).unwrap();
            texts.visit_file(&syn::parse_file(&source).unwrap());
        }
    }
}

/// Includes statements that no test executes.
#[test]
fn no_statement_in_the_sources_needs_its_session() {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let mut texts = Texts::default();
    texts_in(&Path::new(&root).join("src/storage"), &mut texts);
    for seen in ["SET LOCAL lock_timeout", "CREATE TRIGGER", "unnest($1"] {
        assert!(texts.0.iter().any(|text| text.contains(seen)), "no {seen}");
    }
    assert_eq!(statements_that_need_sessions(texts.0.iter()), [""; 0]);
}
