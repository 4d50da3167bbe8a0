//! Opens the pools, with the settings of each database and the reasons for them.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sqlx::{
    Connection as _, Executor, PgConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteJournalMode, SqliteSynchronous},
};

use super::{
    super::{database_file::DatabaseFile, error::StorageError},
    observer::StatementObserver,
    probe::{ServerTraits, probe},
    read_replica::ReadReplica,
    url::{DatabaseUrl, without_brackets},
};
use crate::{error::Error, observability::metrics::DatabasePoolName};

/// Connections of a pool.
pub(crate) const POOL_SIZE: u32 = 10;
/// Connections that stay open: a new one costs the server more than a hundred queries, and would
/// be opened under load. The pool opens these in the background and may wait minutes for a server
/// that vanished; the others are opened on demand, within the acquire timeout.
const MIN_CONNECTIONS: u32 = POOL_SIZE / 2;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Limit of the checks when a connection is returned to the pool.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Short, as reads fall back to the primary.
const REPLICA_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(500);
const CONNECTION_LIFETIME: Duration = Duration::from_mins(10);
/// A ping at every acquire would cost half as much as a query, so only connections are tested that
/// a firewall or the server may have dropped.
const PING_AFTER_IDLE: Duration = Duration::from_secs(30);
/// Writers of this process wait for the pool, those of other processes inside SQLite; both
/// together stay below the deadline of a request.
const SQLITE_QUEUE_TIMEOUT: Duration = Duration::from_secs(3);
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const OPEN_ATTEMPTS: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Lists the session timeouts that are not set.
const MISSING_TIMEOUTS: &str = "SELECT name FROM pg_settings WHERE setting = '0' AND name IN \
     ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')";

/// The open pools of a database.
pub(crate) struct Pools {
    pub(crate) readers: DatabaseConnection,
    pub(crate) writers: DatabaseConnection,
    /// The file of an embedded database.
    pub(crate) file: Option<DatabaseFile>,
    pub(crate) server: ServerTraits,
    pub(crate) observers: Observers,
}

/// The observers of the pools.
#[derive(Clone, Debug)]
pub(crate) struct Observers {
    pub(crate) readers: StatementObserver,
    pub(crate) writers: StatementObserver,
}

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

pub(crate) async fn connect(url: &DatabaseUrl) -> Result<Pools, String> {
    if url.is_sqlite() {
        create_file(url)?;
        // The first connection switches the file to WAL. SQLite does not wait if another process
        // does the same at that moment.
        let address = url.address();
        let mut writers = open_with_retry(sqlite_options(url, true), &address).await?;
        let mut readers = open_with_retry(sqlite_options(url, false), &address).await?;
        let file = url.file().map(DatabaseFile::opened).transpose();
        let file = file.map_err(|error| format!("{address} cannot be read: {}", error.kind()))?;
        Ok(Pools {
            observers: observe(url, &mut readers, &mut writers),
            readers,
            writers,
            file,
            server: ServerTraits::default(),
        })
    } else {
        warn_of_ignored_parameters(url);
        let options = url.postgres().ok_or("is no PostgreSQL URL")?;
        let options = adapt(url, options, ServerTraits::default(), false);
        let server = probe(url, &options, ACQUIRE_TIMEOUT).await?;
        let address = url.address();
        let mut writers = open_pool(postgres_options(url, server, true), &address).await?;
        let mut readers = open_pool(postgres_options(url, server, false), &address).await?;
        if url.uses_pgbouncer() {
            check_timeouts(&readers, &address).await?;
        }
        Ok(Pools {
            observers: observe(url, &mut readers, &mut writers),
            readers,
            writers,
            file: None,
            server,
        })
    }
}

/// Opens the pool of a read replica without waiting for a connection: an unavailable replica only
/// logs a warning. It is of the same kind as the primary.
pub(crate) async fn connect_replica(
    url: &DatabaseUrl,
    server: ServerTraits,
) -> Result<ReadReplica, String> {
    warn_of_ignored_parameters(url);
    let probed = url.clone();
    tokio::spawn(async move {
        let Some(options) = probed.postgres() else {
            return;
        };
        let options = adapt(&probed, options, server, false);
        if let Err(why) = probe(&probed, &options, ACQUIRE_TIMEOUT).await {
            tracing::warn!(%why, "DATABASE_REPLICA_URL: read replica unavailable, reads fall back to the primary");
        }
    });
    let mut options = postgres_options(url, server, false);
    options
        .connect_lazy(true)
        .acquire_timeout(REPLICA_ACQUIRE_TIMEOUT);
    let readers = open(options, &url.address()).await?;
    Ok(ReadReplica::new(
        readers,
        StatementObserver::new(url, DatabasePoolName::Replica),
    ))
}

fn observe(
    url: &DatabaseUrl,
    readers: &mut DatabaseConnection,
    writers: &mut DatabaseConnection,
) -> Observers {
    let observers = Observers {
        readers: StatementObserver::new(url, DatabasePoolName::Readers),
        writers: StatementObserver::new(url, DatabasePoolName::Writers),
    };
    observers.readers.observe_all(readers);
    observers.writers.observe_all(writers);
    observers
}

fn warn_of_ignored_parameters(url: &DatabaseUrl) {
    if !url.ignored().is_empty() {
        let parameters = url.ignored().join(", ");
        tracing::warn!(parameters, "parameters of the database URL ignored");
    }
}

/// Checks that the user has timeouts: without them a hanging statement would keep its locks.
async fn check_timeouts(readers: &DatabaseConnection, address: &str) -> Result<(), String> {
    let query = Statement::from_string(DbBackend::Postgres, MISSING_TIMEOUTS);
    let missing = readers
        .query_all_raw(query)
        .await
        .map_err(|error| StorageError::from(error).describe_connection(address))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(
        "the user needs timeouts of its own, as PgBouncer does not forward them: ALTER ROLE … SET \
         statement_timeout = '3s', the same for lock_timeout = '1s' and \
         idle_in_transaction_session_timeout = '10s'"
            .to_owned(),
    )
}

/// Opens a pool. A timeout here means too few connections: the probe before it succeeded.
async fn open_pool(options: ConnectOptions, address: &str) -> Result<DatabaseConnection, String> {
    sea_orm::Database::connect(options).await.map_err(|error| {
        let failure = StorageError::from(error);
        if !failure.is_pool_timeout() {
            return failure.describe_connection(address);
        }
        format!(
            "{address} does not give the {} connections that are kept open: raise max_connections \
             or the connection limit of the user",
            2 * MIN_CONNECTIONS
        )
    })
}

async fn open(options: ConnectOptions, address: &str) -> Result<DatabaseConnection, String> {
    sea_orm::Database::connect(options)
        .await
        .map_err(|error| StorageError::from(error).describe_connection(address))
}

async fn open_with_retry(
    options: ConnectOptions,
    address: &str,
) -> Result<DatabaseConnection, String> {
    for _ in 1..OPEN_ATTEMPTS {
        match sea_orm::Database::connect(options.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let failure = StorageError::from(error);
                if failure.to_error() != Error::Conflict {
                    return Err(failure.describe_connection(address));
                }
                tokio::time::sleep(OPEN_PAUSE).await;
            }
        }
    }
    open(options, address).await
}

/// Creates the file and its directory if the URL asks for it, with access for the owner only:
/// SQLite's own files next to it inherit its mode.
fn create_file(url: &DatabaseUrl) -> Result<(), String> {
    let Some(file) = url.file() else {
        return Err("is no SQLite URL".to_owned());
    };
    if file.is_dir() {
        return Err(format!("{} is a directory", file.display()));
    }
    if !url.creates_file() {
        if url.missing_file().is_some() {
            let file = file.display();
            return Err(format!(
                "{file} cannot be opened: no such file (?mode=rwc creates it)"
            ));
        }
        return Ok(());
    }
    let operation = if file.is_file() { "write" } else { "create" };
    let failed = |error: io::Error| {
        let cause = error.kind();
        format!("failed to {operation} {}: {cause}", file.display())
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
    // SQLite has one writer at a time; the queue of the pool is fairer than busy waiting inside
    // SQLite.
    if writes {
        options
            .max_connections(1)
            .acquire_timeout(SQLITE_QUEUE_TIMEOUT);
    }
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            // Acknowledged writes survive a power failure.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Deleted rows cannot be read from the file.
            .pragma("secure_delete", "ON")
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .pragma("query_only", if writes { "OFF" } else { "ON" })
    });
    if writes {
        options.map_sqlx_sqlite_before_acquire(|connection, _| {
            Box::pin(async move {
                // SQLite returns an error for a rollback without a transaction.
                let _ = connection.execute("ROLLBACK").await;
                Ok(true)
            })
        });
    }
    options
}

fn postgres_options(url: &DatabaseUrl, server: ServerTraits, writes: bool) -> ConnectOptions {
    let mut options = base_options(url);
    let adapted = url.clone();
    options.map_sqlx_postgres_opts(move |options| adapt(&adapted, options, server, writes));
    if url.uses_pgbouncer() {
        set_for_pgbouncer(&mut options, writes);
    } else {
        set_for_sessions(&mut options, writes);
    }
    options
}

/// Adds the startup parameters of every connection.
fn adapt(
    url: &DatabaseUrl,
    options: PgConnectOptions,
    server: ServerTraits,
    writes: bool,
) -> PgConnectOptions {
    let options = without_brackets(options).application_name("contact-service");
    if url.uses_pgbouncer() {
        // In transaction mode the server session changes after every transaction, so it takes no
        // settings and no prepared statements. PgBouncer rejects unknown startup parameters.
        return options.extra_float_digits(None).statement_cache_capacity(0);
    }
    // A shard that moves to another node is locked for about a second at the end. The second waiter
    // for a row may wait twice, within the timeout of the statement.
    let lock_timeout = if server.has_citus { "1500ms" } else { "1s" };
    let options = options.options([
        ("statement_timeout", "3s"),
        ("lock_timeout", lock_timeout),
        ("idle_in_transaction_session_timeout", "10s"),
        // No statement runs long enough to be worth compiling.
        ("jit", "off"),
        (
            "default_transaction_read_only",
            if writes { "off" } else { "on" },
        ),
    ]);
    if server.has_citus {
        // A plan for unknown values knows no shards: statements over several of them fail.
        return options;
    }
    // All statements look up keys: a plan for particular values would be the same one, planned
    // again each time.
    options.options([("plan_cache_mode", "force_generic_plan")])
}

fn set_for_sessions(options: &mut ConnectOptions, writes: bool) {
    options
        .min_connections(MIN_CONNECTIONS)
        .map_sqlx_postgres_pool_opts(move |options| {
            options.after_release(move |connection, _| Box::pin(test(connection, writes)))
        });
}

fn set_for_pgbouncer(options: &mut ConnectOptions, writes: bool) {
    if writes {
        return set_for_sessions(options, writes);
    }
    // The driver prepares and runs a statement in two steps. Outside a transaction they may reach
    // two server sessions: the second one lacks the statement, or has another client's. So reads
    // have a transaction as well, from acquire to release.
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
                // A new connection does not pass the hook above. Connections opened ahead would
                // idle in a transaction, so there are none.
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

/// Tests a connection with a time limit when it is returned. The pool's own ping waits forever for a
/// server that vanished, and occupies a slot of the pool.
async fn test(connection: &mut PgConnection, writes: bool) -> sqlx::Result<bool> {
    if writes {
        // A future that is dropped inside BEGIN leaves a transaction open. The next user of the
        // connection would write into it: acknowledged, then lost. The BEGIN avoids a warning in the
        // server's log for every write; inside an aborted transaction it fails, and the pool drops
        // the connection.
        return in_time(connection.execute("BEGIN; ROLLBACK")).await;
    }
    in_time(connection.ping()).await
}

async fn in_time<T>(operation: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<bool> {
    tokio::time::timeout(RELEASE_TIMEOUT, operation)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(true)
}

#[cfg(test)]
mod tests;
