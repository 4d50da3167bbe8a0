//! Opening the pools, with the settings of each database and their reasons.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
    str::FromStr,
    time::Duration,
};

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, Executor, PgConnection, PgPool,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Database, failure::Failure, replica::Replica};
use crate::error::{Error, Invalid};

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

/// The parameter that says that a URL leads to `PgBouncer`, in transaction mode.
const PGBOUNCER: &str = "pgbouncer";
/// Timeouts that a user of `PostgreSQL` lacks.
const MISSING_TIMEOUTS: &str = "SELECT name FROM pg_settings WHERE setting = '0' AND name IN \
     ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')";

/// Where the database is. May hold a password, so it is never shown.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    url: SecretString,
    through_pgbouncer: bool,
}

impl DatabaseUrl {
    /// Reads `sqlite://path?mode=rwc` or `postgres://user:password@host/name`, the latter
    /// with `?pgbouncer=true` at will.
    ///
    /// # Errors
    /// [`Invalid`] for anything else; the text does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = "must be sqlite://path?mode=rwc or postgres://user:password@host:port/name";
        let (text, through_pgbouncer) = take_pgbouncer(text)?;
        let is_known = if text.starts_with("sqlite://") {
            SqliteConnectOptions::from_str(&text).is_ok()
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url::Url::parse(&text).is_ok() && PgConnectOptions::from_str(&text).is_ok()
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
        Ok(Self {
            url: SecretString::from(text),
            through_pgbouncer,
        })
    }

    /// Whether it names a file of this machine.
    pub fn is_sqlite(&self) -> bool {
        self.url.expose_secret().starts_with("sqlite://")
    }

    fn options(&self) -> ConnectOptions {
        let url = self.url.expose_secret();
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
        if url.through_pgbouncer {
            expect_timeouts(&readers).await?;
        }
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

/// Without them a statement that hangs would keep its locks for ever.
async fn expect_timeouts(readers: &DatabaseConnection) -> Result<(), String> {
    let query = Statement::from_string(DbBackend::Postgres, MISSING_TIMEOUTS);
    let missing = readers
        .query_all_raw(query)
        .await
        .map_err(|error| Failure::from(error).why_not_connected())?;
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
    let url = url.url.expose_secret();
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
    let mut options = url.options();
    if url.through_pgbouncer {
        set_for_pgbouncer(&mut options, writes);
    } else {
        set_for_sessions(&mut options, writes);
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

fn set_for_sessions(options: &mut ConnectOptions, writes: bool) {
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
    options
        .min_connections(KEPT_OPEN)
        .map_sqlx_postgres_pool_opts(|options| {
            options.after_release(|connection, _| Box::pin(sign_of_life(connection)))
        });
}

/// In transaction mode a session of the server is another one after every transaction:
/// nothing may be set for it, or prepared in it.
fn set_for_pgbouncer(options: &mut ConnectOptions, writes: bool) {
    options.map_sqlx_postgres_opts(|options| {
        // It refuses startup parameters that it does not know.
        options
            .application_name("contact-service")
            .extra_float_digits(None)
            .statement_cache_capacity(0)
    });
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
pub(super) fn lends_transactions(pool: &PgPool) -> bool {
    // Only through PgBouncer no options are given.
    pool.connect_options().get_options().is_none()
}

/// Takes the parameter out of a URL, as the driver does not know it.
fn take_pgbouncer(text: &str) -> Result<(String, bool), Invalid> {
    let is_given = |url: &url::Url| url.query_pairs().any(|(name, _)| name == PGBOUNCER);
    let Some(mut url) = url::Url::parse(text).ok().filter(is_given) else {
        return Ok((text.to_owned(), false));
    };
    let (ours, others): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| name == PGBOUNCER);
    if url.scheme() == "sqlite" || ours.iter().any(|(_, value)| value != "true") {
        return Err(Invalid::new(
            "takes pgbouncer=true only, and that with postgres://",
        ));
    }
    if others.iter().any(|(name, _)| name.starts_with("options")) {
        return Err(Invalid::new(
            "takes no options beside pgbouncer=true: PgBouncer passes none on",
        ));
    }
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    Ok((url.into(), true))
}

#[cfg(test)]
mod tests;
