//! Statements and connections of the database.

use std::{sync::OnceLock, time::Duration};

use metrics::{
    Histogram, IntoF64, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

pub(super) const OPERATION_DURATION: &str = "db_client_operation_duration_seconds";
pub(super) const CONNECTION_WAIT: &str = "db_client_connection_wait_time_seconds";
pub(super) const SHARED_QUERY_SIZE: &str = "contact_shared_query_size";
const CONNECTIONS: &str = "db_client_connection_count";
const UNREACHABLE_NODES: &str = "contact_database_nodes_unreachable";
const REPLICA_FALLBACKS: &str = "contact_read_replica_fallbacks_total";
const POOL: &str = "db_client_connection_pool_name";
const OPERATION: &str = "db_operation_name";

/// The handles of metrics that frequent requests record: looking one up takes longer than recording. By
/// [`DatabasePoolName`], the durations of `SELECT`.
static SELECT_DURATIONS: OnceLock<Vec<Histogram>> = OnceLock::new();
/// By [`SharedQuery`].
static SHARED_QUERY_SIZES: OnceLock<Vec<Histogram>> = OnceLock::new();

label! {
    /// A pool of database connections.
    DatabasePoolName {
        /// Reads only.
        Readers => "readers",
        /// Transactions, and single statements that write.
        Writers => "writers",
        /// Reads from the read replica.
        Replica => "replica",
    }
}

label! {
    /// The verb of a statement of the database.
    DatabaseOperation {
        /// Reads rows.
        Select => "SELECT",
        /// Inserts rows.
        Insert => "INSERT",
        /// Changes rows.
        Update => "UPDATE",
        /// Deletes rows.
        Delete => "DELETE",
        /// Begins a transaction, on a connection that it may have to wait for.
        Begin => "BEGIN",
        /// Commits a transaction.
        Commit => "COMMIT",
        /// Rolls back a transaction.
        Rollback => "ROLLBACK",
        /// Any other statement.
        Other => "OTHER",
    }
}

label! {
    /// A query that requests share.
    SharedQuery {
        /// Reads the customers and contacts that a purpose considers.
        Addressees => "addressees",
        /// Reads contacts.
        Contacts => "contacts",
        /// Reads the owners of phone numbers.
        PhoneNumbers => "phone_numbers",
        /// Reads the owners of e-mail addresses.
        Emails => "emails",
        /// Counts the channel checks of an agent and a customer.
        ChannelChecks => "channel_checks",
        /// Inserts disclosures into the audit log.
        Disclosures => "disclosures",
    }
}

fn operation_duration(pool: DatabasePoolName, operation: DatabaseOperation) -> Histogram {
    histogram!(OPERATION_DURATION, POOL => pool.as_str(), OPERATION => operation.as_str())
}

/// Records the duration of a statement, except the begin of a transaction, which waits for a connection.
pub fn database_operation(pool: DatabasePoolName, operation: DatabaseOperation, elapsed: Duration) {
    if operation == DatabaseOperation::Select {
        record(&SELECT_DURATIONS, pool as usize, elapsed);
    } else if operation != DatabaseOperation::Begin {
        operation_duration(pool, operation).record(elapsed);
    }
}

/// Counts a query that was sent to the primary because the read replica is unavailable.
pub fn replica_fallback() {
    counter!(REPLICA_FALLBACKS).increment(1);
}

/// Records the number of requests that shared a query.
pub fn shared_query(query: SharedQuery, requests: usize) {
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    record(&SHARED_QUERY_SIZES, query as usize, requests);
}

fn record(handles: &OnceLock<Vec<Histogram>>, index: usize, value: impl IntoF64) {
    if let Some(handle) = handles.get().and_then(|handles| handles.get(index)) {
        handle.record(value);
    }
}

/// Records the wait of a transaction for a connection and its begin.
pub fn transaction_wait(waited: Duration) {
    histogram!(CONNECTION_WAIT, POOL => DatabasePoolName::Writers.as_str()).record(waited);
}

/// The number of connections of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Connections that are idle.
    pub idle: u32,
    /// Connections in use.
    pub used: u32,
}

/// Sets the number of connections of the pool `name`.
pub fn connections(name: DatabasePoolName, pool: Pool) {
    for (state, count) in [("idle", pool.idle), ("used", pool.used)] {
        gauge!(CONNECTIONS, POOL => name.as_str(), "db_client_connection_state" => state)
            .set(count);
    }
}

/// Sets the number of database nodes that are not reachable.
pub fn unreachable_nodes(count: u32) {
    gauge!(UNREACHABLE_NODES).set(count);
}

pub(super) fn register() {
    describe_histogram!(
        OPERATION_DURATION,
        Unit::Seconds,
        "Duration of database statements"
    );
    describe_histogram!(SHARED_QUERY_SIZE, "Requests that shared a database query");
    describe_gauge!(
        CONNECTIONS,
        "Connections to the database, by pool and state"
    );
    describe_gauge!(
        UNREACHABLE_NODES,
        "Nodes of a distributed database that the instance's node does not reach"
    );
    describe_histogram!(
        CONNECTION_WAIT,
        Unit::Seconds,
        "Wait of transactions for a connection and their begin"
    );
    describe_counter!(
        REPLICA_FALLBACKS,
        "Queries sent to the primary because the read replica was unavailable"
    );
    for operation in DatabaseOperation::ALL {
        if *operation != DatabaseOperation::Begin {
            let _registered = operation_duration(DatabasePoolName::Writers, *operation);
        }
    }
    let pools = DatabasePoolName::ALL.iter();
    let durations = pools.map(|pool| operation_duration(*pool, DatabaseOperation::Select));
    SELECT_DURATIONS.get_or_init(|| durations.collect());
    let queries = SharedQuery::ALL.iter();
    let sizes = queries.map(|query| histogram!(SHARED_QUERY_SIZE, "query" => query.as_str()));
    SHARED_QUERY_SIZES.get_or_init(|| sizes.collect());
    let _registered = histogram!(CONNECTION_WAIT, POOL => DatabasePoolName::Writers.as_str());
    for pool in [DatabasePoolName::Readers, DatabasePoolName::Writers] {
        connections(pool, Pool::default());
    }
    unreachable_nodes(0);
    counter!(REPLICA_FALLBACKS).increment(0);
}
