//! Connections to the database: URLs, pools, pinned connections and the read replica.

pub(super) mod connect;
pub(super) mod observer;
pub(super) mod probe;
pub(super) mod read_replica;
pub(super) mod reader_pool;
pub(super) mod url;
