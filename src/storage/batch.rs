//! Reads and inserts of many requests in one statement.

pub(super) mod batcher;
pub(super) mod channel_checks;
pub(super) mod channels;
pub(super) mod contacts;
pub(super) mod disclosures;
pub(super) mod recipients;
