//! Opening the pools, with the settings of each database and their reasons.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sqlx::{
    Connection as _, Executor, PgConnection, PgPool,
    postgres::PgConnectOptions,
    sqlite::{SqliteJournalMode, SqliteSynchronous},
};

use crate::error::Error;
use crate::storage::pools::{
    probe::probe,
    url::{DatabaseUrl, without_brackets},
};
use crate::storage::{
    Database, database_file::DatabaseFile, error::Failure, pools::read_replica::Replica,
};

const POOL_SIZE: u32 = 10;
/// As many stay open: a new connection takes the server longer than a hundred queries, just
/// when many come at once. The pool opens them ahead, and may wait minutes for a server that has vanished. The
/// others are left to those who ask, who wait no longer than the acquire timeout.
const KEPT_OPEN: u32 = POOL_SIZE / 2;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection that is given back may take to be of use again.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The primary can answer instead.
const REPLICA_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(500);
const CONNECTION_LIFETIME: Duration = Duration::from_mins(10);
/// A ping at every acquire would cost half as much as a query: only connections
/// that a firewall or the server may have dropped meanwhile are asked.
const PING_AFTER_IDLE: Duration = Duration::from_secs(30);
/// Writers of this process queue before the pool, others inside SQLite; both
/// together stay below the deadline of a call.
const SQLITE_QUEUE_TIMEOUT: Duration = Duration::from_secs(3);
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const OPEN_ATTEMPTS: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Timeouts that a user of `PostgreSQL` lacks.
const MISSING_TIMEOUTS: &str = "SELECT name FROM pg_settings WHERE setting = '0' AND name IN \
     ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')";

fn base_options(url: &DatabaseUrl) -> ConnectOptions {
    let text = url.as_str();
    let text = text
        .strip_prefix("postgresql://")
        .map_or_else(|| text.to_owned(), |rest| format!("postgres://{rest}"));
    let mut options = ConnectOptions::new(text);
    options
        .max_connections(POOL_SIZE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(CONNECTION_LIFETIME)
        .test_before_acquire_if_idle_for(PING_AFTER_IDLE)
        // Statements can hold personal data.
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

pub(in crate::storage) async fn connect(url: &DatabaseUrl) -> Result<Database, String> {
    if url.is_sqlite() {
        make_file(url)?;
        // The first to open the file switches it to WAL, for which SQLite does not
        // wait when another process does the same at that moment.
        let place = url.place();
        let writers = open_patiently(sqlite_options(url, true), &place).await?;
        let readers = open_patiently(sqlite_options(url, false), &place).await?;
        let file = url.file().map(DatabaseFile::opened).transpose();
        let file = file.map_err(|error| format!("{place} cannot be read: {}", error.kind()))?;
        Ok(Database::new(readers, writers, None, file))
    } else {
        warn_of_ignored(url);
        let options = url.postgres().ok_or("is no PostgreSQL URL")?;
        probe(url, &adapt(url, options, false), ACQUIRE_TIMEOUT).await?;
        let place = url.place();
        let writers = open_pool(postgres_options(url, true), &place).await?;
        let readers = open_pool(postgres_options(url, false), &place).await?;
        if url.through_pgbouncer() {
            expect_timeouts(&readers, &place).await?;
        }
        Ok(Database::new(readers, writers, None, None))
    }
}

/// Waits for no connection: a replica may be down when the service starts, and is then only
/// warned of.
pub(in crate::storage) async fn connect_replica(url: &DatabaseUrl) -> Result<Replica, String> {
    warn_of_ignored(url);
    let probed = url.clone();
    tokio::spawn(async move {
        let Some(options) = probed.postgres() else {
            return;
        };
        let options = adapt(&probed, options, false);
        if let Err(why) = probe(&probed, &options, ACQUIRE_TIMEOUT).await {
            tracing::warn!(%why, "DATABASE_REPLICA_URL: no connection; the primary answers its reads");
        }
    });
    let mut options = postgres_options(url, false);
    options
        .connect_lazy(true)
        .acquire_timeout(REPLICA_ACQUIRE_TIMEOUT);
    open(options, &url.place()).await.map(Replica::new)
}

fn warn_of_ignored(url: &DatabaseUrl) {
    if !url.ignored().is_empty() {
        let parameters = url.ignored().join(", ");
        tracing::warn!(parameters, "parameters of the database's URL are ignored");
    }
}

/// Without them a statement that hangs would keep its locks for ever.
async fn expect_timeouts(readers: &DatabaseConnection, place: &str) -> Result<(), String> {
    let query = Statement::from_string(DbBackend::Postgres, MISSING_TIMEOUTS);
    let missing = readers
        .query_all_raw(query)
        .await
        .map_err(|error| Failure::from(error).why_not_connected(place))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(
        "the user needs timeouts of its own, as PgBouncer passes none on: ALTER ROLE … SET \
         statement_timeout = '3s', the same for lock_timeout = '1s' and \
         idle_in_transaction_session_timeout = '10s'"
            .to_owned(),
    )
}

/// A server that let one connection in, and not all of a pool, has too few of them.
async fn open_pool(options: ConnectOptions, place: &str) -> Result<DatabaseConnection, String> {
    sea_orm::Database::connect(options).await.map_err(|error| {
        let failure = Failure::from(error);
        if !failure.is_lack_of_time() {
            return failure.why_not_connected(place);
        }
        format!(
            "{place} does not give the {} connections that are kept open: are max_connections, or \
             the limit of the user, reached?",
            2 * KEPT_OPEN
        )
    })
}

async fn open(options: ConnectOptions, place: &str) -> Result<DatabaseConnection, String> {
    sea_orm::Database::connect(options)
        .await
        .map_err(|error| Failure::from(error).why_not_connected(place))
}

async fn open_patiently(
    options: ConnectOptions,
    place: &str,
) -> Result<DatabaseConnection, String> {
    for _ in 1..OPEN_ATTEMPTS {
        match sea_orm::Database::connect(options.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let failure = Failure::from(error);
                if failure.to_error() != Error::Conflict {
                    return Err(failure.why_not_connected(place));
                }
                tokio::time::sleep(OPEN_PAUSE).await;
            }
        }
    }
    open(options, place).await
}

/// Makes the file and its folder when the URL asks for it, for the owner only: what
/// SQLite puts beside the file takes over its mode.
fn make_file(url: &DatabaseUrl) -> Result<(), String> {
    let Some(file) = url.file() else {
        return Err("is no SQLite URL".to_owned());
    };
    if file.is_dir() {
        return Err(format!("{} is a directory", file.display()));
    }
    if !url.makes_file() {
        if url.missing_file().is_some() {
            let file = file.display();
            return Err(format!(
                "{file} cannot be opened: there is no such file (with ?mode=rwc it is made)"
            ));
        }
        return Ok(());
    }
    let what = if file.is_file() { "written" } else { "made" };
    let failed = |error: io::Error| {
        let cause = error.kind();
        format!("{} cannot be {what}: {cause}", file.display())
    };
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&file).map(|_| ()).map_err(failed)
}

fn sqlite_options(url: &DatabaseUrl, writes: bool) -> ConnectOptions {
    let mut options = base_options(url);
    // SQLite has one writer at a time; a queue before the pool is fairer than
    // busy waiting inside SQLite.
    if writes {
        options
            .max_connections(1)
            .acquire_timeout(SQLITE_QUEUE_TIMEOUT);
    }
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a power failure.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What was deleted is not to be read from the file either.
            .pragma("secure_delete", "ON")
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .pragma("query_only", if writes { "OFF" } else { "ON" })
    });
    if writes {
        options.map_sqlx_sqlite_before_acquire(|connection, _| {
            Box::pin(async move {
                // SQLite calls a rollback without a transaction an error.
                let _ = connection.execute("ROLLBACK").await;
                Ok(true)
            })
        });
    }
    options
}

fn postgres_options(url: &DatabaseUrl, writes: bool) -> ConnectOptions {
    let mut options = base_options(url);
    let adapted = url.clone();
    options.map_sqlx_postgres_opts(move |options| adapt(&adapted, options, writes));
    if url.through_pgbouncer() {
        set_for_pgbouncer(&mut options, writes);
    } else {
        set_for_sessions(&mut options);
    }
    if writes {
        // A future dropped inside BEGIN leaves a transaction open that the next
        // borrower would write into: acknowledged, then lost.
        options.map_sqlx_postgres_before_acquire(|connection, _| {
            Box::pin(async move {
                // A BEGIN before it spares the server's log a warning for every write.
                // Inside an aborted transaction it fails, and the pool drops the
                // connection.
                connection.execute("BEGIN; ROLLBACK").await?;
                Ok(true)
            })
        });
    }
    options
}

/// Adds the startup parameters of each connection.
fn adapt(url: &DatabaseUrl, options: PgConnectOptions, writes: bool) -> PgConnectOptions {
    let options = without_brackets(options).application_name("contact-service");
    if url.through_pgbouncer() {
        // In transaction mode a session of the server is another one after every transaction:
        // nothing may be set for it, or prepared in it. It refuses startup parameters that it
        // does not know.
        return options.extra_float_digits(None).statement_cache_capacity(0);
    }
    options.options([
        ("statement_timeout", "3s"),
        ("lock_timeout", "1s"),
        ("idle_in_transaction_session_timeout", "10s"),
        // Every statement goes by keys: a plan for the values at hand would be the
        // same one, made again each time.
        ("plan_cache_mode", "force_generic_plan"),
        // None is long enough to be worth compiling, whatever it is believed to cost.
        ("jit", "off"),
        (
            "default_transaction_read_only",
            if writes { "off" } else { "on" },
        ),
    ])
}

fn set_for_sessions(options: &mut ConnectOptions) {
    options
        .min_connections(KEPT_OPEN)
        .map_sqlx_postgres_pool_opts(|options| {
            options.after_release(|connection, _| Box::pin(sign_of_life(connection)))
        });
}

fn set_for_pgbouncer(options: &mut ConnectOptions, writes: bool) {
    if writes {
        options
            .min_connections(KEPT_OPEN)
            .map_sqlx_postgres_pool_opts(|options| {
                options.after_release(|connection, _| Box::pin(sign_of_life(connection)))
            });
        return;
    }
    // The driver prepares a statement and runs it in two steps. Outside a transaction
    // these may meet two servers: the second runs nothing, or what another client
    // prepared. So reads have a transaction as well, from the pool to the pool.
    options
        .connect_lazy(true)
        .map_sqlx_postgres_before_acquire(|connection, _| {
            Box::pin(async move {
                connection.execute("BEGIN READ ONLY").await?;
                Ok(true)
            })
        })
        .map_sqlx_postgres_pool_opts(|options| {
            options
                // A new connection does not pass the hook above. Those that a pool opens
                // ahead would wait in a transaction, so it opens none.
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        connection.execute("BEGIN READ ONLY").await?;
                        Ok(())
                    })
                })
                .after_release(|connection, _| {
                    Box::pin(in_time(async move { connection.execute("ROLLBACK").await }))
                })
        });
}

/// The pool asks for one itself, but waits for ever when the server vanished without a
/// word, and the place of the connection is lost meanwhile.
async fn sign_of_life(connection: &mut PgConnection) -> sqlx::Result<bool> {
    in_time(connection.ping()).await
}

async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<bool> {
    tokio::time::timeout(RELEASE_TIMEOUT, answer)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(true)
}

/// Whether a connection is in a transaction as long as the pool lends it.
pub(in crate::storage) fn lends_transactions(pool: &PgPool) -> bool {
    // Only through PgBouncer no options are given.
    pool.connect_options().get_options().is_none()
}

#[cfg(test)]
mod tests;
