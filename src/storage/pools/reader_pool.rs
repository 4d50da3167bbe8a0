//! Connections that frequent reads pin.
//!
//! A pool pings every connection that is returned to it, which costs the server as much as a
//! query. Pinned connections are returned only when they are old, idle or broken.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{DatabaseConnection, DbBackend};
use serde::Serialize;
use sqlx::{
    Connection as _, Execute as _, PgPool, Pool, Postgres, Sqlite, pool::PoolConnection,
    query::Query,
};

use super::{super::error::StorageError, observer::StatementObserver};
use crate::{
    error::{Error, Result},
    observability::metrics::DatabaseOperation,
};

/// Pinned connections of the readers' pool; the others remain for all other reads.
const MAX_PINNED: usize = 4;
/// A firewall may drop a connection that is idle for longer.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// The same as in the pool.
const LIFETIME: Duration = Duration::from_mins(10);

/// The pinned connections of either database. Clones share them.
#[derive(Clone, Debug)]
pub(crate) enum PinnedReaders {
    Postgres(PinnedPool<Postgres>),
    Sqlite(PinnedPool<Sqlite>),
}

impl PinnedReaders {
    pub(crate) fn new(readers: &DatabaseConnection, observer: StatementObserver) -> Self {
        if readers.get_database_backend() == DbBackend::Postgres {
            let pool = readers.get_postgres_connection_pool();
            // An idle pinned connection would keep its transaction open.
            let max_pinned = if uses_transaction_pooling(pool) {
                0
            } else {
                MAX_PINNED
            };
            Self::Postgres(PinnedPool::new(pool, max_pinned, observer))
        } else {
            Self::Sqlite(PinnedPool::new(
                readers.get_sqlite_connection_pool(),
                MAX_PINNED,
                observer,
            ))
        }
    }

    /// Returns the number of pinned connections that are not in use.
    pub(crate) fn idle(&self) -> usize {
        match self {
            Self::Postgres(pinned) => pinned.lock().len(),
            Self::Sqlite(pinned) => pinned.lock().len(),
        }
    }

    /// Returns the idle connections to the pool.
    pub(crate) fn release(&self) {
        match self {
            Self::Postgres(pinned) => pinned.lock().clear(),
            Self::Sqlite(pinned) => pinned.lock().clear(),
        }
    }
}

/// Returns true if `pool` connects through `PgBouncer` in transaction mode.
pub(crate) fn uses_transaction_pooling(pool: &PgPool) -> bool {
    // Only then no session options are set.
    pool.connect_options().get_options().is_none()
}

/// Encodes keys for a statement of SQLite, which has no arrays.
///
/// # Errors
/// [`Error::Internal`] for keys that have no form in JSON.
pub(crate) fn as_json(keys: &impl Serialize) -> Result<String> {
    serde_json::to_string(keys).map_err(|_| Error::internal("keys are not serializable"))
}

/// The pinned connections of a pool. Clones share them.
pub(crate) struct PinnedPool<DB: sqlx::Database> {
    pool: Pool<DB>,
    max_pinned: usize,
    observer: StatementObserver,
    idle: Arc<Mutex<Vec<IdleConnection<DB>>>>,
}

struct IdleConnection<DB: sqlx::Database> {
    inner: PoolConnection<DB>,
    opened_at: Instant,
    idle_since: Instant,
}

impl<DB: sqlx::Database> Clone for PinnedPool<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            max_pinned: self.max_pinned,
            observer: self.observer.clone(),
            idle: Arc::clone(&self.idle),
        }
    }
}

impl<DB: sqlx::Database> fmt::Debug for PinnedPool<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PinnedPool(…)")
    }
}

impl<DB: sqlx::Database> PinnedPool<DB> {
    fn new(pool: &Pool<DB>, max_pinned: usize, observer: StatementObserver) -> Self {
        Self {
            pool: pool.clone(),
            max_pinned,
            observer,
            idle: Arc::default(),
        }
    }

    /// Fetches all rows of a query, which is retried on a fresh connection if the pinned one is
    /// broken.
    pub(crate) async fn fetch_all<'q, A>(
        &self,
        query: impl Fn() -> Query<'q, DB, A>,
    ) -> Result<Vec<DB::Row>>
    where
        A: sqlx::IntoArguments<DB> + Send + 'q,
        for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    {
        let mut connection = self.acquire().await.map_err(StorageError::from)?;
        let mut rows = self.fetch_on(&mut connection.inner, &query).await;
        if rows.as_ref().is_err_and(is_broken) {
            // The server may have restarted: all pinned connections are to the old one.
            drop(connection);
            self.lock().clear();
            let tested = acquire_tested(&self.pool)
                .await
                .map_err(StorageError::from)?;
            connection = IdleConnection::new(tested);
            rows = self.fetch_on(&mut connection.inner, &query).await;
        }
        // After an error or a cancellation the connection goes back to the pool, which tests it.
        let rows = rows.map_err(StorageError::from)?;
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.len() < self.max_pinned && !self.pool.is_closed() {
            idle.push(connection);
        }
        Ok(rows)
    }

    async fn fetch_on<'q, A>(
        &self,
        connection: &mut DB::Connection,
        query: &impl Fn() -> Query<'q, DB, A>,
    ) -> sqlx::Result<Vec<DB::Row>>
    where
        A: sqlx::IntoArguments<DB> + Send + 'q,
        for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    {
        let rows = query().fetch_all(connection);
        let sql = || query().sql();
        self.observer
            .observe(DatabaseOperation::Select, sql, rows)
            .await
    }

    async fn acquire(&self) -> sqlx::Result<IdleConnection<DB>> {
        let now = Instant::now();
        // Expired connections are dropped, and so returned to the pool, outside of the lock.
        let (pinned, _expired) = {
            let mut idle = self.lock();
            let expired: Vec<_> = idle
                .extract_if(.., |connection| !connection.is_usable(now))
                .collect();
            (idle.pop(), expired)
        };
        match pinned {
            Some(connection) => Ok(connection),
            // Boxed, so that other reads do not reserve its space.
            None => Ok(IdleConnection::new(Box::pin(self.pool.acquire()).await?)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IdleConnection<DB>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Acquires a connection that answered a ping: after a restart of the server all those in the pool
/// may be broken.
pub(crate) async fn acquire_tested<DB: sqlx::Database>(
    pool: &Pool<DB>,
) -> sqlx::Result<PoolConnection<DB>> {
    for _ in 0..pool.options().get_max_connections() {
        let mut connection = Box::pin(pool.acquire()).await?;
        if connection.ping().await.is_ok() {
            return Ok(connection);
        }
    }
    Box::pin(pool.acquire()).await
}

/// Returns true if the connection failed, rather than the query.
fn is_broken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
}

impl<DB: sqlx::Database> IdleConnection<DB> {
    fn new(inner: PoolConnection<DB>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            opened_at: now,
            idle_since: now,
        }
    }

    fn is_usable(&self, now: Instant) -> bool {
        now.duration_since(self.idle_since) < MAX_IDLE
            && now.duration_since(self.opened_at) < LIFETIME
    }
}
