//! Transactions: begun, retried on conflicts, and ended in a task of their own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use tracing::Instrument;

use super::{
    database::Database,
    database_file,
    error::StorageError,
    pools::{connect::POOL_SIZE, read_replica::ReadReplica},
    timeout::with_timeout,
};
use crate::{
    domain::ids::CustomerNumber,
    error::{Error, Result},
    observability::{
        metrics::{self, DatabaseOperation},
        request,
    },
};

/// Attempts before the conflict is returned to the caller.
const MAX_ATTEMPTS: u32 = 6;
/// No attempt begins later than this after the first one.
const RETRY_WINDOW: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(4);

/// An open transaction, passed to the closure of [`Database::transaction`].
#[derive(Debug)]
pub struct Transaction {
    pub(super) inner: DatabaseTransaction,
    replica: Option<ReadReplica>,
    pub(super) has_events: AtomicBool,
}

impl Transaction {
    /// Sends reads of this customer to the primary for a while.
    pub(super) fn record_write(&self, number: &CustomerNumber) {
        if let Some(replica) = &self.replica {
            replica.record_write(number);
        }
    }
}

/// The fate of a transaction whose closure succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The changes are committed.
    Commit(T),
    /// The changes are rolled back, and the value is returned all the same (`validate_only`).
    Rollback(T),
    /// There are no changes: the request was answered before, and its response is returned again.
    Replayed(T),
}

impl<T> Outcome<T> {
    /// Returns `Rollback` for a request that only validates, and `Commit` for any other.
    pub fn commit_unless(validate_only: bool, value: T) -> Self {
        if validate_only {
            Self::Rollback(value)
        } else {
            Self::Commit(value)
        }
    }
}

impl Database {
    /// Runs `work` in a [`transaction`](Self::transaction) on this customer, after waiting in
    /// the customer's queue: any number of writers of one customer leave connections to others.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the wait is too long, and those of `transaction`.
    pub async fn customer_transaction<T, F>(&self, number: &CustomerNumber, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        let started = Instant::now();
        let permit = self.customer_queue.acquire(number).await?;
        request::add_wait(started.elapsed());
        self.transaction_with(permit, work).await
    }

    /// Runs `work` in a transaction, and retries it from the start after a serialization
    /// failure, a deadlock or a lost race.
    ///
    /// The transaction runs in a task of its own: a caller that is cancelled leaves neither an
    /// open transaction nor half of its work. A failed or lost commit is returned as
    /// [`Error::DatabaseUnavailable`]; its outcome is then unknown, and a request id makes the
    /// retry safe.
    ///
    /// # Errors
    /// The error of `work`, and [`Error::Conflict`] after the last attempt.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        self.transaction_with((), work).await
    }

    /// `permit` is released with the end of the transaction, which may outlive its caller.
    async fn transaction_with<T, F>(&self, permit: impl Send + 'static, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        let database = self.clone();
        let transaction = async move {
            let _permit = permit;
            let started = Instant::now();
            let mut backoff = FIRST_BACKOFF;
            for _ in 1..MAX_ATTEMPTS {
                match with_timeout(database.attempt(&work)).await {
                    Err(Error::Conflict) if started.elapsed() < RETRY_WINDOW => {
                        tokio::time::sleep(backoff).await;
                    }
                    outcome => return outcome,
                }
                backoff *= 2;
            }
            with_timeout(database.attempt(&work)).await
        };
        tokio::spawn(request::inherit(transaction.in_current_span()))
            .await
            .map_err(|_| Error::internal("a transaction's task panicked"))?
    }

    /// Begins a transaction on a connection that answers: after a restart of the server all those in
    /// the pool may be broken, and each is dropped when its BEGIN fails.
    pub(super) async fn begin(&self) -> std::result::Result<DatabaseTransaction, StorageError> {
        for _ in 0..POOL_SIZE {
            match self.begin_once().await {
                Err(failure) if !self.is_embedded() && !failure.is_pool_timeout() => {}
                begun => return begun,
            }
        }
        self.begin_once().await
    }

    async fn begin_once(&self) -> std::result::Result<DatabaseTransaction, StorageError> {
        let options = TransactionOptions {
            // A deferred SQLite transaction that reads first cannot become a writer once another
            // one wrote; IMMEDIATE waits for the lock at the start.
            sqlite_transaction_mode: self
                .is_embedded()
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.writers.begin_with_options(options).await?)
    }

    /// Runs `work` once, without a time limit.
    pub(super) async fn attempt<T, F>(&self, work: &F) -> Result<T>
    where
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync,
    {
        let started = Instant::now();
        let observer = &self.observers.writers;
        let inner = observer
            .observe_step(DatabaseOperation::Begin, self.begin())
            .await?;
        metrics::transaction_wait(started.elapsed());
        let transaction = Transaction {
            inner,
            replica: self.replica.clone(),
            has_events: AtomicBool::new(false),
        };
        match work(&transaction).await {
            Ok(Outcome::Commit(value)) => {
                let has_events = transaction.has_events.load(Ordering::Relaxed);
                let committed = transaction.inner.commit();
                let committed = observer.observe_step(DatabaseOperation::Commit, committed);
                let committed = committed.await;
                committed.map_err(|error| StorageError::from(error).of_commit())?;
                database_file::ensure_present(self.file.as_ref())?;
                if has_events {
                    self.events_committed.notify_one();
                }
                Ok(value)
            }
            Ok(Outcome::Rollback(value) | Outcome::Replayed(value)) => {
                let rolled_back = transaction.inner.rollback();
                let rolled_back = observer.observe_step(DatabaseOperation::Rollback, rolled_back);
                rolled_back.await.map_err(StorageError::from)?;
                Ok(value)
            }
            Err(error) => {
                // The error of the work matters more than a failed rollback; the pool rolls back
                // once more before it hands the connection out.
                let rolled_back = transaction.inner.rollback();
                let rolled_back = observer.observe_step(DatabaseOperation::Rollback, rolled_back);
                let _ = rolled_back.await;
                Err(error)
            }
        }
    }
}
