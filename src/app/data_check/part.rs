//! The result of checking a part of the data.

use crate::domain::data_check::Finding;

/// A checked part of the data.
#[derive(Debug, Default)]
pub struct CheckedPart {
    /// The customers in it.
    pub customers: u64,
    /// Their contacts.
    pub contacts: u64,
    /// The entries of the change feed in it.
    pub feed_entries: u64,
    /// The data that did not pass.
    pub findings: Vec<Finding>,
}
