//! Reads and inserts of many callers in one statement.

pub(super) mod batcher;
