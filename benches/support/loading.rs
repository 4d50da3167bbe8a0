//! Loads rows into an empty database: COPY for PostgreSQL, multi-row INSERTs for SQLite.

use std::{mem, str::FromStr, sync::Arc};

use chrono::{DateTime, Datelike, Timelike};
use sqlx::{
    Arguments, AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::mpsc;

use super::{
    people::Population,
    rows::{Rows, TABLES, Table, Value},
};

/// Number of bytes sent to PostgreSQL at once.
const PIECE_BYTES: usize = 128 * 1024;
/// Larger statements gain little, and SQLite takes at most 32,766 values.
const ROWS_PER_STATEMENT: usize = 100;
const BATCHES_AHEAD: usize = 8;

/// Groups of tables that reference one another; each group has its own connection.
const PARTS: [&[&str]; 2] = [
    &[
        "customers",
        "contacts",
        "contact_phone_numbers",
        "email_confirmations",
    ],
    &["order_types", "audit_events", "phone_passwords"],
];

/// Fills an empty PostgreSQL database.
pub(crate) async fn fill_postgres(url: &str, population: &Population) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let is_full: bool = sqlx::query_scalar(AssertSqlSafe(any_row()))
        .fetch_one(&mut connection)
        .await?;
    assert!(!is_full, "the database is not empty");
    connection.close().await?;
    let [one, other] = PARTS;
    tokio::try_join!(
        fill_part(url, one, population),
        fill_part(url, other, population)
    )?;
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(FILL_INBOX).await?;
    connection.close().await
}

/// All events wait for the service, which sequences them.
const FILL_INBOX: &str = "\
    INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, contact_id, \
      changed_fields) \
    SELECT customer_number, sequence, event_id, event_time, kind, contact_id, changed_fields \
    FROM audit_events";

async fn fill_part(url: &str, part: &[&str], population: &Population) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    // The rows are consistent, and checking every foreign key would take most of the time. Only a
    // superuser may disable the checks.
    let _ = connection
        .execute("SET session_replication_role = replica")
        .await;
    connection
        .execute("SET maintenance_work_mem = '256MB'")
        .await?;
    connection.execute("BEGIN").await?;
    // FREEZE saves VACUUM from rewriting all rows, and requires tables that were truncated in the
    // same transaction.
    let names = part.join(", ");
    let truncate = format!("TRUNCATE {names} CASCADE");
    connection.execute(AssertSqlSafe(truncate)).await?;
    let indexes = drop_indexes(&mut connection, part).await?;
    for table in TABLES.iter().filter(|table| part.contains(&table.name)) {
        copy(&mut connection, table, population).await?;
    }
    connection.execute("COMMIT").await?;
    for index in indexes {
        connection.execute(AssertSqlSafe(index)).await?;
    }
    let vacuum = format!("VACUUM (ANALYZE) {names}");
    connection.execute(AssertSqlSafe(vacuum)).await?;
    connection.close().await
}

/// Drops the indexes without a constraint; returns the statements that create them, because
/// building an index at the end costs a fraction.
async fn drop_indexes(connection: &mut PgConnection, part: &[&str]) -> sqlx::Result<Vec<String>> {
    let tables = part.iter().map(|table| format!("'{table}'::regclass"));
    let query = format!(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
         WHERE indrelid IN ({}) AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)",
        tables.collect::<Vec<_>>().join(", ")
    );
    let indexes: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut *connection)
        .await?;
    for (name, _) in &indexes {
        let drop = format!("DROP INDEX {name}");
        connection.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(indexes.into_iter().map(|(_, made_by)| made_by).collect())
}

fn any_row() -> String {
    let any = TABLES.map(|table| format!("EXISTS (SELECT 1 FROM {})", table.name));
    format!("SELECT {}", any.join(" OR "))
}

async fn copy(
    connection: &mut PgConnection,
    table: &Table,
    population: &Population,
) -> sqlx::Result<()> {
    let columns = table.columns.join(", ");
    let statement = format!("COPY {} ({columns}) FROM STDIN (FREEZE)", table.name);
    let mut copy = connection.copy_in_raw(&statement).await?;
    let mut piece = Piece(Vec::with_capacity(2 * PIECE_BYTES));
    for i in 0..population.customers {
        (table.write)(population, i, &mut piece);
        if piece.0.len() >= PIECE_BYTES {
            copy.send(piece.0.as_slice()).await?;
            piece.0.clear();
        }
    }
    copy.send(piece.0.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}

/// Rows in the text format of COPY. No text contains a character that needs escaping.
struct Piece(Vec<u8>);

impl Rows for Piece {
    fn push(&mut self, row: &[Value<'_>]) {
        for (index, value) in row.iter().enumerate() {
            if index > 0 {
                self.0.push(b'\t');
            }
            match value {
                Value::Null => self.0.extend(b"\\N"),
                Value::Text(text) => self.0.extend(text.as_bytes()),
                Value::Number(number) => push_digits(&mut self.0, *number, 1),
                Value::Bool(is_so) => self.0.push(if *is_so { b't' } else { b'f' }),
                Value::Id(id) => {
                    let mut buffer = uuid::Uuid::encode_buffer();
                    self.0
                        .extend(id.hyphenated().encode_lower(&mut buffer).as_bytes());
                }
                Value::Time(seconds) => push_time(&mut self.0, *seconds),
            }
        }
        self.0.push(b'\n');
    }
}

fn push_digits(text: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap();
        rest /= 10;
        used += 1;
        if rest == 0 && used >= width {
            break;
        }
    }
    let (_, digits) = digits.split_at(digits.len() - used);
    text.extend(digits);
}

/// In the format in which sqlx stores times in SQLite, which PostgreSQL accepts as well.
fn push_time(text: &mut Vec<u8>, seconds: u64) {
    let time = DateTime::from_timestamp(i64::try_from(seconds).unwrap(), 0).unwrap();
    push_digits(text, u64::from(time.year().unsigned_abs()), 4);
    for (separator, part) in [
        (b'-', time.month()),
        (b'-', time.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        text.push(separator);
        push_digits(text, u64::from(part), 2);
    }
    text.extend(b"+00:00");
}

/// Fills an empty SQLite database.
pub(crate) async fn fill_sqlite(url: &str, population: &Population) -> sqlx::Result<()> {
    // No one else uses the file during the load, and a broken file is created again. New pages
    // need no rollback journal, while a write-ahead log would hold all of them.
    let options = SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("cache_size", "-262144");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let is_full: bool = sqlx::query_scalar(AssertSqlSafe(any_row()))
        .fetch_one(&mut connection)
        .await?;
    assert!(!is_full, "the database is not empty");
    connection.execute("BEGIN").await?;
    let dropped = drop_triggers_and_indexes(&mut connection).await?;
    for table in &TABLES {
        insert(&mut connection, table, *population).await?;
    }
    for made_by in dropped {
        connection.execute(AssertSqlSafe(made_by)).await?;
    }
    connection.execute(FILL_INBOX).await?;
    connection.execute("COMMIT").await?;
    connection.execute("ANALYZE").await?;
    // As the service sets it.
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.close().await
}

/// Drops the triggers and the indexes without a constraint; returns the statements that create
/// them.
async fn drop_triggers_and_indexes(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let tables = TABLES.map(|table| format!("'{}'", table.name)).join(", ");
    let query = format!(
        "SELECT type, name, sql FROM sqlite_master
         WHERE type IN ('index', 'trigger') AND sql IS NOT NULL AND tbl_name IN ({tables})"
    );
    let found: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut *connection)
        .await?;
    for (kind, name, _) in &found {
        let drop = format!("DROP {kind} {name}");
        connection.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(found.into_iter().map(|(.., made_by)| made_by).collect())
}

/// One thread generates rows while SQLite inserts earlier ones on another.
async fn insert(
    connection: &mut SqliteConnection,
    table: &'static Table,
    population: Population,
) -> sqlx::Result<()> {
    let (full, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let making = tokio::task::spawn_blocking(move || {
        let mut batch = Batch {
            values: SqliteArguments::default(),
            rows: 0,
            full,
        };
        for i in 0..population.customers {
            (table.write)(&population, i, &mut batch);
        }
        if batch.rows > 0 {
            batch.send();
        }
    });
    let statement: Arc<str> = insert_statement(table, ROWS_PER_STATEMENT).into();
    while let Some((rows, values)) = batches.recv().await {
        let statement = if rows == ROWS_PER_STATEMENT {
            Arc::clone(&statement)
        } else {
            insert_statement(table, rows).into()
        };
        sqlx::query_with(AssertSqlSafe(statement), values)
            .execute(&mut *connection)
            .await?;
    }
    making.await.unwrap();
    Ok(())
}

fn insert_statement(table: &Table, rows: usize) -> String {
    let columns = table.columns.join(", ");
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let rows = vec![row; rows].join(",");
    format!("INSERT INTO {} ({columns}) VALUES {rows}", table.name)
}

/// The values of many rows, sent when they fill a statement.
struct Batch {
    values: SqliteArguments,
    rows: usize,
    full: mpsc::Sender<(usize, SqliteArguments)>,
}

impl Batch {
    fn send(&mut self) {
        let batch = (mem::take(&mut self.rows), mem::take(&mut self.values));
        self.full.blocking_send(batch).unwrap();
    }
}

impl Rows for Batch {
    fn push(&mut self, row: &[Value<'_>]) {
        if self.rows == 0 {
            self.values.reserve(row.len() * ROWS_PER_STATEMENT, 0);
        }
        for value in row {
            let added = match *value {
                Value::Null => self.values.add(None::<i64>),
                Value::Text(text) => self.values.add(text.to_owned()),
                Value::Number(number) => self.values.add(i64::try_from(number).unwrap()),
                Value::Bool(is_so) => self.values.add(is_so),
                Value::Id(id) => self.values.add(id),
                Value::Time(seconds) => {
                    let mut text = Vec::with_capacity(25);
                    push_time(&mut text, seconds);
                    self.values.add(String::from_utf8(text).unwrap())
                }
            };
            added.unwrap();
        }
        self.rows += 1;
        if self.rows == ROWS_PER_STATEMENT {
            self.send();
        }
    }
}
