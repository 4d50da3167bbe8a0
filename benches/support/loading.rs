//! How the rows get into an empty database: by COPY into PostgreSQL, by INSERTs of many rows
//! into SQLite.

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

/// How much is sent to PostgreSQL at once.
const PIECE_BYTES: usize = 128 * 1024;
/// More rows a statement gain little, and SQLite takes at most 32,766 values.
const ROWS_A_STATEMENT: usize = 100;
const BATCHES_AHEAD: usize = 8;

/// Tables that point to one another, and those that stand alone: each part has a connection
/// of its own.
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
    connection.execute(FEED_REACH).await?;
    connection.close().await
}

/// Events have their places already.
const FEED_REACH: &str = "UPDATE change_feed SET last_position = \
    (SELECT coalesce(max(feed_position), 0) FROM audit_events) WHERE id = 1";

async fn fill_part(url: &str, part: &[&str], population: &Population) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    // The rows fit together by themselves, and looking up every key again would take most of
    // the time. Only a superuser may leave that out.
    let _ = connection
        .execute("SET session_replication_role = replica")
        .await;
    connection
        .execute("SET maintenance_work_mem = '256MB'")
        .await?;
    connection.execute("BEGIN").await?;
    // FREEZE spares VACUUM a second writing of all rows, and asks for tables emptied in the
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

/// Drops the indexes that no constraint rests on, and gives what makes them anew: sorted at
/// once they cost a fraction.
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

/// Rows in the text format of COPY. None of the texts holds a character that needs an escape.
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

/// In the form in which sqlx writes times into SQLite, which PostgreSQL reads as well.
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
    // As long as it fills, nobody else has it open, and a file that broke is made anew. Pages
    // that come new need no journal, while a write-ahead log would hold all of them.
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
    let dropped = drop_what_slows(&mut connection).await?;
    for table in &TABLES {
        insert(&mut connection, table, *population).await?;
    }
    for made_by in dropped {
        connection.execute(AssertSqlSafe(made_by)).await?;
    }
    connection.execute(FEED_REACH).await?;
    connection.execute("COMMIT").await?;
    connection.execute("ANALYZE").await?;
    // As the service has it.
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.close().await
}

/// Drops the triggers, and the indexes that no constraint rests on, and gives what makes them
/// anew.
async fn drop_what_slows(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
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

/// The rows are made on one thread, while SQLite takes those before on another.
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
    let statement: Arc<str> = insert_statement(table, ROWS_A_STATEMENT).into();
    while let Some((rows, values)) = batches.recv().await {
        let statement = if rows == ROWS_A_STATEMENT {
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

/// The values of many rows, which leave when they are enough for a statement.
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
            self.values.reserve(row.len() * ROWS_A_STATEMENT, 0);
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
        if self.rows == ROWS_A_STATEMENT {
            self.send();
        }
    }
}
