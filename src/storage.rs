//! The database: connections, the one transaction function, and queries by noun.
//!
//! Owns everything that names `sea_orm`. Holds no rules: it loads, saves and
//! counts. Reads and writes have pools of their own: what reads never opens a
//! transaction, so an abandoned one can only ever sit in the writers' pool, where
//! every connection is rolled back before it is handed out.

mod audit;
mod batch;
mod by_index;
mod caller_verification;
mod change_feed;
mod channel_checks;
mod contact_imports;
mod contacts;
mod customer_queue;
mod customers;
mod database_file;
mod disclosures;
mod email_confirmations;
mod entity;
mod erasure;
mod error;
mod export;
mod mail_counts;
mod migration;
mod outbox;
mod pepper_versions;
mod phone_attempts;
mod phone_orders;
mod phone_password;
mod pools;
mod recipients;
mod request_ids;
mod retention;
mod rights;
mod write_probe;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::sync::{Notify, Semaphore};
use tracing::Instrument;

use self::{
    caller_verification::Channels,
    contacts::{ContactKey, FoundContact},
    database_file::DatabaseFile,
};
pub use self::{
    change_feed::{FeedReach, Placed},
    channel_checks::ChannelCheck,
    customers::LockedCustomer,
    mail_counts::RecipientHash,
    migration::MigrationState,
    phone_password::{PhonePasswordChange, PhonePasswordRecord, StoredHash},
    recipients::FoundAddressees,
    request_ids::{Answer, Fingerprint, RequestRecord},
    write_probe::Probed,
};
use crate::storage::{
    batch::batcher::SharedQuery,
    error::Failure,
    pools::{read_replica::Replica, reader_pool::HeldReaders},
};
pub use crate::storage::{
    customer_queue::{Turn, Turns},
    phone_attempts::{TriesUntilNow, TryKey},
    pools::url::DatabaseUrl,
};
use crate::{
    domain::{audit::AuditEvent, ids::CustomerNumber},
    error::{Error, Result},
    observability::metrics,
};

/// How often a transaction is tried before its caller is told of the conflict.
const ATTEMPTS: u32 = 6;
/// No attempt begins later than this: who waited for a lock in vain has waited enough.
const RETRY_WINDOW: Duration = Duration::from_secs(1);
/// Longer than the database's own timeouts, shorter than a call may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Of the readers' connections.
const BULK_READS: usize = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(4);

/// A connected database. Clones share the pools.
#[derive(Clone, Debug)]
pub struct Database {
    readers: DatabaseConnection,
    /// Connections of the readers, for what is read often.
    held: HeldReaders,
    writers: DatabaseConnection,
    replica: Option<Replica>,
    /// Of an embedded database.
    file: Option<DatabaseFile>,
    addressees: SharedQuery<CustomerNumber, FoundAddressees>,
    contacts: SharedQuery<ContactKey, FoundContact>,
    channels: Channels,
    /// Many at once are written by one statement.
    disclosures: SharedQuery<AuditEvent, bool>,
    channel_checks: SharedQuery<ChannelCheck, Result<()>>,
    bulk_reads: Arc<Semaphore>,
    turns: Turns<CustomerNumber>,
    /// Raised after a commit with events.
    events_committed: Arc<Notify>,
}

/// An open transaction, handed to the work of [`Database::transaction`].
#[derive(Debug)]
pub struct Transaction {
    inner: DatabaseTransaction,
    replica: Option<Replica>,
    has_events: AtomicBool,
}

impl Transaction {
    /// Reads of this customer go to the primary from now on.
    fn note_write(&self, number: &CustomerNumber) {
        if let Some(replica) = &self.replica {
            replica.note_write(number);
        }
    }
}

/// What becomes of the changes when the work succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// They are kept.
    Commit(T),
    /// They are undone; the answer is given all the same (`validate_only`).
    Rollback(T),
    /// There are none: the request was answered before, and its response is returned again.
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
    /// Connects; an embedded database file and its folder are made when missing.
    ///
    /// # Errors
    /// One line that says why not, free of secrets.
    pub async fn connect(url: &DatabaseUrl) -> std::result::Result<Self, String> {
        pools::connect::connect(url).await
    }

    /// The same database with a replica, which may be down: reads that may be a moment old
    /// go there.
    ///
    /// # Errors
    /// One line that says why it cannot be used, free of secrets.
    pub async fn with_replica(self, url: &DatabaseUrl) -> std::result::Result<Self, String> {
        let replica = pools::connect::connect_replica(url).await?;
        Ok(Self::new(
            self.readers,
            self.writers,
            Some(replica),
            self.file,
        ))
    }

    fn new(
        readers: DatabaseConnection,
        writers: DatabaseConnection,
        replica: Option<Replica>,
        file: Option<DatabaseFile>,
    ) -> Self {
        let held = HeldReaders::of(&readers);
        let of_contacts = held.clone();
        let (primary, secondary) = (held.clone(), replica.clone());
        let (of_disclosures, disclosed_to) = (writers.clone(), file.clone());
        let of_checks = writers.clone();
        Self {
            addressees: SharedQuery::new("addressees", move |numbers: Vec<CustomerNumber>| {
                let (primary, secondary) = (primary.clone(), secondary.clone());
                async move { recipients::load(&primary, secondary.as_ref(), &numbers).await }
            }),
            contacts: SharedQuery::new("contacts", move |keys: Vec<ContactKey>| {
                let readers = of_contacts.clone();
                async move { contacts::find_many(&readers, &keys).await }
            }),
            channels: Channels::new(&held),
            disclosures: SharedQuery::new("disclosures", move |events: Vec<AuditEvent>| {
                let (writers, file) = (of_disclosures.clone(), disclosed_to.clone());
                async move {
                    let written = disclosures::insert_many(&writers, &events).await?;
                    expect_file(file.as_ref())?;
                    Ok(written)
                }
            }),
            channel_checks: SharedQuery::new("channel_checks", move |checks: Vec<ChannelCheck>| {
                let writers = of_checks.clone();
                async move { channel_checks::count_many(&writers, &checks).await }
            }),
            bulk_reads: Arc::new(Semaphore::new(BULK_READS)),
            turns: Turns::default(),
            events_committed: Arc::default(),
            readers,
            held,
            writers,
            replica,
            file,
        }
    }

    /// Whether the database is embedded in this process.
    pub fn is_embedded(&self) -> bool {
        self.writers.get_database_backend() == DbBackend::Sqlite
    }

    /// Returns true if what is written would be lost: the file of an embedded database was
    /// replaced or removed since it was opened.
    fn is_file_lost(&self) -> bool {
        self.file.as_ref().is_some_and(DatabaseFile::is_lost)
    }

    /// The connections of the pools of reads and writes.
    pub fn pools(&self) -> [(&'static str, metrics::Pool); 2] {
        [
            ("readers", pool_of(&self.readers, self.held.idle())),
            ("writers", pool_of(&self.writers, 0)),
        ]
    }

    /// Closes all connections.
    pub async fn close(self) {
        self.held.release();
        let replica = self.replica.map(Replica::into_readers);
        for pool in [self.readers, self.writers].into_iter().chain(replica) {
            if let Err(error) = pool.close().await {
                tracing::warn!(failure = %Failure::from(error), "closing the database failed");
            }
        }
    }

    /// Runs `work` in a [`transaction`](Self::transaction) that locks this customer, when it
    /// is its turn: however many write to one customer, they leave connections to others.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the turn does not come in time, and those of `transaction`.
    pub async fn transaction_of<T, F>(&self, number: &CustomerNumber, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        let turn = self.turns.take(number).await?;
        self.transaction_with(turn, work).await
    }

    /// Runs `work` in a transaction, and again from its start when the database
    /// asks for that (serialisation failure, deadlock, lost race).
    ///
    /// The transaction runs in a task of its own: a caller that hangs up leaves
    /// neither an open transaction nor half of its work. A failed or lost commit
    /// is told as [`Error::DatabaseUnavailable`]; whether it took place is then
    /// unknown, which is what request ids are for.
    ///
    /// # Errors
    /// What `work` answers, [`Error::Conflict`] after the last attempt, and the
    /// failures of the database.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        self.transaction_with((), work).await
    }

    /// `turn` ends with the transaction, which its caller may not wait for.
    async fn transaction_with<T, F>(&self, turn: impl Send + 'static, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync + 'static,
    {
        let database = self.clone();
        let transaction = async move {
            let _turn = turn;
            let started = Instant::now();
            let mut backoff = FIRST_BACKOFF;
            for _ in 1..ATTEMPTS {
                match bounded(database.attempt(&work)).await {
                    Err(Error::Conflict) if started.elapsed() < RETRY_WINDOW => {
                        tokio::time::sleep(backoff).await;
                    }
                    outcome => return outcome,
                }
                backoff *= 2;
            }
            bounded(database.attempt(&work)).await
        };
        tokio::spawn(transaction.instrument(tracing::info_span!("transaction")))
            .await
            .map_err(|_| Error::internal("a transaction's task panicked"))?
    }
}

/// Of those that the pool counts as used, `held` are not.
fn pool_of(connections: &DatabaseConnection, held: usize) -> metrics::Pool {
    let (size, idle) = if connections.get_database_backend() == DbBackend::Postgres {
        let pool = connections.get_postgres_connection_pool();
        (pool.size(), pool.num_idle())
    } else {
        let pool = connections.get_sqlite_connection_pool();
        (pool.size(), pool.num_idle())
    };
    let idle = u32::try_from(idle + held).unwrap_or(u32::MAX).min(size);
    metrics::Pool {
        idle,
        used: size - idle,
    }
}

/// A connection whose server vanished never answers: the database's own timeouts
/// are gone with it.
async fn bounded<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| {
            tracing::warn!("the database did not answer in time");
            Err(Error::DatabaseUnavailable)
        })
}

/// Nothing is acknowledged that was written to a file which is lost.
fn expect_file(file: Option<&DatabaseFile>) -> Result<()> {
    if file.is_some_and(DatabaseFile::is_lost) {
        return Err(Error::DatabaseUnavailable);
    }
    Ok(())
}

/// A change of one version of one row that met none: somebody else was faster.
fn expect_one_row(rows_affected: u64) -> Result<()> {
    if rows_affected == 1 {
        Ok(())
    } else {
        Err(Error::Conflict)
    }
}

impl Database {
    /// Begins a transaction that writes.
    async fn begin(&self) -> std::result::Result<DatabaseTransaction, Failure> {
        let options = TransactionOptions {
            // A deferred SQLite transaction that reads first cannot become a writer once another
            // one wrote; IMMEDIATE waits its turn at the start.
            sqlite_transaction_mode: self
                .is_embedded()
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.writers.begin_with_options(options).await?)
    }

    async fn attempt<T, F>(&self, work: &F) -> Result<T>
    where
        F: for<'t> Fn(&'t Transaction) -> BoxFuture<'t, Result<Outcome<T>>> + Send + Sync,
    {
        let asked = Instant::now();
        let inner = self.begin().await?;
        metrics::transaction_wait(asked.elapsed());
        let transaction = Transaction {
            inner,
            replica: self.replica.clone(),
            has_events: AtomicBool::new(false),
        };
        match work(&transaction).await {
            Ok(Outcome::Commit(answer)) => {
                let has_events = transaction.has_events.load(Ordering::Relaxed);
                transaction.inner.commit().await.map_err(Failure::from)?;
                expect_file(self.file.as_ref())?;
                if has_events {
                    self.events_committed.notify_one();
                }
                Ok(answer)
            }
            Ok(Outcome::Rollback(answer) | Outcome::Replayed(answer)) => {
                transaction.inner.rollback().await.map_err(Failure::from)?;
                Ok(answer)
            }
            Err(error) => {
                // The work's own error matters more than a failed rollback; the pool
                // rolls back once more before it hands the connection out.
                let _ = transaction.inner.rollback().await;
                Err(error)
            }
        }
    }
}
