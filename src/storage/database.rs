//! The database handle: its pools, its batchers, and the queue of writers of each customer.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbBackend};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::{
    batch::{
        batcher::{BatchSizes, Batcher},
        channel_checks::{self, ChannelCheck},
        channels::Channels,
        contacts::{self, ContactKey, FoundContact},
        disclosures::{self, Disclosure},
        recipients::{self, FoundAddressees},
    },
    customer_queue::CustomerQueue,
    database_file::DatabaseFile,
    error::StorageError,
    pools::{
        connect::{self, Observers, Pools},
        probe::ServerTraits,
        read_replica::ReadReplica,
        reader_pool::PinnedReaders,
        url::DatabaseUrl,
    },
};
use crate::{
    domain::ids::CustomerNumber,
    error::{Error, Result},
    observability::metrics::{self, DatabasePoolName},
};

/// Bulk reads that run at once, so that connections are left to single reads.
pub(super) const BULK_READS: usize = 4;
/// Pages of the feed that are read at once. Each is held as rows until it is encoded.
const FEED_READS: usize = 4;

/// A connected database. Clones share the pools.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) readers: DatabaseConnection,
    /// Connections of the readers' pool that frequent reads keep.
    pub(super) pinned: PinnedReaders,
    pub(super) writers: DatabaseConnection,
    pub(super) replica: Option<ReadReplica>,
    server: ServerTraits,
    pub(super) observers: Observers,
    /// The file of an embedded database.
    pub(super) file: Option<DatabaseFile>,
    pub(super) addressees: Batcher<CustomerNumber, FoundAddressees>,
    pub(super) contacts: Batcher<ContactKey, FoundContact>,
    pub(super) channels: Channels,
    pub(super) disclosures: Batcher<Disclosure, bool>,
    pub(super) channel_checks: Batcher<ChannelCheck, Result<()>>,
    pub(super) bulk_reads: Arc<Semaphore>,
    pub(super) feed_reads: Arc<Semaphore>,
    pub(super) customer_queue: CustomerQueue<CustomerNumber>,
    /// Notified after a commit with audit events.
    pub(super) events_committed: Arc<Notify>,
}

impl Database {
    /// Connects. The file of an embedded database and its directory are created if missing and
    /// the URL allows it.
    ///
    /// # Errors
    /// The cause in one line, free of secrets.
    pub async fn connect(url: &DatabaseUrl) -> std::result::Result<Self, String> {
        Ok(Self::new(connect::connect(url).await?, None))
    }

    /// Adds a read replica, which may be unavailable: reads that tolerate replication lag go
    /// there.
    ///
    /// # Errors
    /// The cause in one line, free of secrets.
    pub async fn with_replica(self, url: &DatabaseUrl) -> std::result::Result<Self, String> {
        let replica = connect::connect_replica(url, self.server).await?;
        let pools = Pools {
            readers: self.readers,
            writers: self.writers,
            file: self.file,
            server: self.server,
            observers: self.observers,
        };
        Ok(Self::new(pools, Some(replica)))
    }

    fn new(pools: Pools, replica: Option<ReadReplica>) -> Self {
        let Pools {
            readers,
            writers,
            file,
            server,
            observers,
        } = pools;
        let pinned = PinnedReaders::new(&readers, observers.readers.clone());
        let sizes = if server.has_citus {
            BatchSizes::SINGLE
        } else {
            BatchSizes::SHARED
        };
        Self {
            addressees: recipients::batcher(&pinned, replica.as_ref(), sizes),
            contacts: contacts::batcher(&pinned, sizes),
            channels: Channels::new(&pinned, sizes),
            disclosures: disclosures::batcher(&writers, &observers.writers, file.as_ref(), sizes),
            channel_checks: channel_checks::batcher(&writers, &observers.writers, sizes),
            bulk_reads: Arc::new(Semaphore::new(BULK_READS)),
            feed_reads: Arc::new(Semaphore::new(FEED_READS)),
            customer_queue: CustomerQueue::default(),
            events_committed: Arc::default(),
            readers,
            pinned,
            writers,
            replica,
            server,
            observers,
            file,
        }
    }

    /// Returns true if the database is embedded in this process.
    pub fn is_embedded(&self) -> bool {
        self.writers.get_database_backend() == DbBackend::Sqlite
    }

    /// Returns true if the database may have several nodes.
    pub fn is_distributed(&self) -> bool {
        self.server.has_citus
    }

    /// Returns the number of connections of the readers' and the writers' pool.
    pub fn pools(&self) -> [(DatabasePoolName, metrics::Pool); 2] {
        [
            (
                DatabasePoolName::Readers,
                count_connections(&self.readers, self.pinned.idle()),
            ),
            (
                DatabasePoolName::Writers,
                count_connections(&self.writers, 0),
            ),
        ]
    }

    /// Closes all connections.
    pub async fn close(self) {
        self.pinned.release();
        let replica = self.replica.map(ReadReplica::into_readers);
        for pool in [self.readers, self.writers].into_iter().chain(replica) {
            if let Err(error) = pool.close().await {
                tracing::warn!(failure = %StorageError::from(error), "failed to close the database");
            }
        }
    }
}

/// Waits for a permit of a limit on concurrent reads.
pub(super) async fn acquire(reads: &Semaphore) -> Result<SemaphorePermit<'_>> {
    let closed = |_| Error::internal("a limit of concurrent reads is closed");
    reads.acquire().await.map_err(closed)
}

/// `idle_pinned` connections count as used for the pool, and as idle here.
fn count_connections(connections: &DatabaseConnection, idle_pinned: usize) -> metrics::Pool {
    let (size, idle) = if connections.get_database_backend() == DbBackend::Postgres {
        let pool = connections.get_postgres_connection_pool();
        (pool.size(), pool.num_idle())
    } else {
        let pool = connections.get_sqlite_connection_pool();
        (pool.size(), pool.num_idle())
    };
    let idle = u32::try_from(idle + idle_pinned)
        .unwrap_or(u32::MAX)
        .min(size);
    metrics::Pool {
        idle,
        used: size - idle,
    }
}
