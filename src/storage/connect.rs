//! Opening the pools, with the settings of each database and their reasons.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
    str::FromStr,
    time::Duration,
};

use sea_orm::{ConnectOptions, DatabaseConnection};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Executor,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Database, failure::Failure, replica::Replica};
use crate::error::{Error, Invalid};

/// As many stay open: a new connection takes the server longer than a hundred queries, just
/// when many come at once.
const POOL_SIZE: u32 = 10;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
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

/// Where the database is. May hold a password, so it is never shown.
#[derive(Clone, Debug)]
pub struct DatabaseUrl(SecretString);

impl DatabaseUrl {
    /// Reads `sqlite://path?mode=rwc` or `postgres://user:password@host/name`.
    ///
    /// # Errors
    /// [`Invalid`] for anything else; the text does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = "must be sqlite://path?mode=rwc or postgres://user:password@host:port/name";
        let is_known = if text.starts_with("sqlite://") {
            SqliteConnectOptions::from_str(text).is_ok()
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url::Url::parse(text).is_ok() && PgConnectOptions::from_str(text).is_ok()
        } else {
            false
        };
        if !is_known {
            return Err(Invalid::new(form));
        }
        if text.contains(":memory:") || text.contains("mode=memory") {
            return Err(Invalid::new(
                "must name a file: every connection would see a memory of its own",
            ));
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Whether it names a file of this machine.
    pub fn is_sqlite(&self) -> bool {
        self.0.expose_secret().starts_with("sqlite://")
    }

    fn options(&self) -> ConnectOptions {
        let url = self.0.expose_secret();
        let url = url
            .strip_prefix("postgresql://")
            .map_or_else(|| url.to_owned(), |rest| format!("postgres://{rest}"));
        let mut options = ConnectOptions::new(url);
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
}

pub(super) async fn connect(url: &DatabaseUrl) -> Result<Database, String> {
    if url.is_sqlite() {
        make_file(url)?;
        // The first to open the file switches it to WAL, for which SQLite does not
        // wait when another process does the same at that moment.
        let writers = open_patiently(sqlite_options(url, true)).await?;
        let readers = open_patiently(sqlite_options(url, false)).await?;
        Ok(Database::new(readers, writers, None))
    } else {
        let writers = open(postgres_options(url, true)).await?;
        let readers = open(postgres_options(url, false)).await?;
        Ok(Database::new(readers, writers, None))
    }
}

/// Opens no connection yet: a replica may be down when the service starts.
pub(super) async fn connect_replica(url: &DatabaseUrl) -> Result<Replica, String> {
    let mut options = postgres_options(url, false);
    options
        .connect_lazy(true)
        .acquire_timeout(REPLICA_ACQUIRE_TIMEOUT);
    open(options).await.map(Replica::new)
}

async fn open(options: ConnectOptions) -> Result<DatabaseConnection, String> {
    sea_orm::Database::connect(options)
        .await
        .map_err(|error| Failure::from(error).why_not_connected())
}

async fn open_patiently(options: ConnectOptions) -> Result<DatabaseConnection, String> {
    for _ in 1..OPEN_ATTEMPTS {
        match sea_orm::Database::connect(options.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let failure = Failure::from(error);
                if failure.to_error() != Error::Conflict {
                    return Err(failure.why_not_connected());
                }
                tokio::time::sleep(OPEN_PAUSE).await;
            }
        }
    }
    open(options).await
}

/// Makes the file and its folder when the URL asks for it, for the owner only: what
/// SQLite puts beside the file takes over its mode.
fn make_file(url: &DatabaseUrl) -> Result<(), String> {
    let url = url.0.expose_secret();
    if !url.contains("mode=rwc") {
        return Ok(());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| "is no SQLite URL")?;
    let file = options.get_filename();
    let failed = |error: io::Error| format!("{} cannot be made: {}", file.display(), error.kind());
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
    options.open(file).map(|_| ()).map_err(failed)
}

fn sqlite_options(url: &DatabaseUrl, writes: bool) -> ConnectOptions {
    let mut options = url.options();
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
    let mut options = url.options();
    options.map_sqlx_postgres_opts(move |options| {
        options.application_name("contact-service").options([
            ("statement_timeout", "3s"),
            ("lock_timeout", "1s"),
            ("idle_in_transaction_session_timeout", "10s"),
            // Every statement goes by keys: a plan for the values at hand would be the
            // same one, made anew each time.
            ("plan_cache_mode", "force_generic_plan"),
            (
                "default_transaction_read_only",
                if writes { "off" } else { "on" },
            ),
        ])
    });
    options.min_connections(POOL_SIZE);
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
