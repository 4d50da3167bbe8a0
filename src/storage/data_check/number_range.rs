//! A page of the data: a range of customer numbers.

use sea_orm::Value;

/// A range of customer numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRange {
    /// The number before the first one; empty: the range has no start.
    pub(super) after: String,
    /// The last number; `None`: the range has no end.
    pub(super) until: Option<String>,
}

impl NumberRange {
    /// Returns the condition of the range on a column, with its values.
    pub(super) fn condition(&self, column: &str) -> (String, Vec<Value>) {
        let after = self.after.as_str().into();
        match &self.until {
            Some(until) => (
                format!("{column} > $1 AND {column} <= $2"),
                vec![after, until.as_str().into()],
            ),
            None => (format!("{column} > $1"), vec![after]),
        }
    }
}
