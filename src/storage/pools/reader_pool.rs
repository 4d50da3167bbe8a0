//! Connections that frequent reads hold on to.
//!
//! A pool asks for a sign of life whenever a connection is given back, which takes the
//! server as long as a query. These are given back when they are old, idle, or failed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{DatabaseConnection, DbBackend};
use serde::Serialize;
use sqlx::{Connection as _, Pool, Postgres, Sqlite, pool::PoolConnection, query::Query};

use super::connect;
use crate::error::{Error, Result};
use crate::storage::error::Failure;

/// Of the readers' connections; the others are left to the rest of the reads.
const MOST_HELD: usize = 4;
/// A firewall may have dropped it meanwhile.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// As long as the pool keeps one.
const LIFETIME: Duration = Duration::from_mins(10);

/// The readers' connections of either database. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::storage) enum HeldReaders {
    Postgres(Held<Postgres>),
    Sqlite(Held<Sqlite>),
}

impl HeldReaders {
    pub(in crate::storage) fn of(readers: &DatabaseConnection) -> Self {
        if readers.get_database_backend() == DbBackend::Postgres {
            let pool = readers.get_postgres_connection_pool();
            // A transaction is not to be held open while nobody reads.
            let most = if connect::lends_transactions(pool) {
                0
            } else {
                MOST_HELD
            };
            Self::Postgres(Held::new(pool, most))
        } else {
            Self::Sqlite(Held::new(readers.get_sqlite_connection_pool(), MOST_HELD))
        }
    }

    /// How many are held and not in use.
    pub(in crate::storage) fn idle(&self) -> usize {
        match self {
            Self::Postgres(held) => held.lock().len(),
            Self::Sqlite(held) => held.lock().len(),
        }
    }

    /// Gives back what nobody uses.
    pub(in crate::storage) fn release(&self) {
        match self {
            Self::Postgres(held) => held.lock().clear(),
            Self::Sqlite(held) => held.lock().clear(),
        }
    }
}

/// Keys for a statement of a database that knows no arrays.
///
/// # Errors
/// [`Error::Internal`] for what is no JSON.
pub(in crate::storage) fn as_json(keys: &impl Serialize) -> Result<String> {
    serde_json::to_string(keys).map_err(|_| Error::internal("keys cannot be written"))
}

/// Clones share the connections.
pub(in crate::storage) struct Held<DB: sqlx::Database> {
    pool: Pool<DB>,
    most: usize,
    idle: Arc<Mutex<Vec<Connection<DB>>>>,
}

struct Connection<DB: sqlx::Database> {
    inner: PoolConnection<DB>,
    held_since: Instant,
    idle_since: Instant,
}

impl<DB: sqlx::Database> Clone for Held<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            most: self.most,
            idle: Arc::clone(&self.idle),
        }
    }
}

impl<DB: sqlx::Database> fmt::Debug for Held<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Held(…)")
    }
}

impl<DB: sqlx::Database> Held<DB> {
    fn new(pool: &Pool<DB>, most: usize) -> Self {
        Self {
            pool: pool.clone(),
            most,
            idle: Arc::default(),
        }
    }

    /// All rows of a query, which is made anew when a connection turns out to be broken.
    ///
    /// # Errors
    /// The failures of the database.
    pub(in crate::storage) async fn fetch_all<'q, A>(
        &self,
        query: impl Fn() -> Query<'q, DB, A>,
    ) -> Result<Vec<DB::Row>>
    where
        A: sqlx::IntoArguments<DB> + Send + 'q,
        for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    {
        let mut connection = self.take().await.map_err(Failure::from)?;
        let mut rows = query().fetch_all(&mut *connection.inner).await;
        if rows.as_ref().is_err_and(is_broken) {
            // The server went away and may be back: those that are held are of the old one.
            drop(connection);
            self.lock().clear();
            connection = self.take_tested().await.map_err(Failure::from)?;
            rows = query().fetch_all(&mut *connection.inner).await;
        }
        // One that failed, or whose caller went away, goes back to the pool, which tests it.
        let rows = rows.map_err(Failure::from)?;
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.len() < self.most && !self.pool.is_closed() {
            idle.push(connection);
        }
        Ok(rows)
    }

    async fn take(&self) -> sqlx::Result<Connection<DB>> {
        let now = Instant::now();
        // What is not usable any more is dropped, and so given back, outside of the lock.
        let (held, _old) = {
            let mut idle = self.lock();
            let old: Vec<_> = idle
                .extract_if(.., |connection| !connection.is_usable(now))
                .collect();
            (idle.pop(), old)
        };
        match held {
            Some(connection) => Ok(connection),
            None => Ok(Connection::new(self.pool.acquire().await?)),
        }
    }

    /// A connection that gave a sign of life; those in the pool may be broken as well.
    async fn take_tested(&self) -> sqlx::Result<Connection<DB>> {
        for _ in 0..self.pool.options().get_max_connections() {
            let mut connection = self.pool.acquire().await?;
            if connection.ping().await.is_ok() {
                return Ok(Connection::new(connection));
            }
        }
        Ok(Connection::new(self.pool.acquire().await?))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection<DB>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the connection failed, and not the query.
fn is_broken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
}

impl<DB: sqlx::Database> Connection<DB> {
    fn new(inner: PoolConnection<DB>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            held_since: now,
            idle_since: now,
        }
    }

    fn is_usable(&self, now: Instant) -> bool {
        now.duration_since(self.idle_since) < LONGEST_IDLE
            && now.duration_since(self.held_since) < LIFETIME
    }
}
