//! Connections to the database: how they are opened, and who holds them.

pub(super) mod connect;
pub(super) mod probe;
pub(super) mod read_replica;
pub(super) mod reader_pool;
pub(super) mod url;
