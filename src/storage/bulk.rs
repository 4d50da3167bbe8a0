//! Insertion of many rows.

use sea_orm::{ActiveModelTrait, EntityTrait};

use super::{error::StorageError, transaction::Transaction};
use crate::error::Result;

/// The most rows of a statement. A statement of more rows is hardly faster, and a connection keeps
/// all that it has prepared.
const MAX_ROWS: usize = 64;

impl Transaction {
    /// Inserts rows, which may be of many customers, with few statements.
    pub(super) async fn insert_rows<A: ActiveModelTrait>(&self, rows: Vec<A>) -> Result<()> {
        for rows in chunks(rows) {
            A::Entity::insert_many(rows)
                .exec_without_returning(&self.inner)
                .await
                .map_err(StorageError::from)?;
        }
        Ok(())
    }
}

/// Splits rows into chunks for one statement each. Their sizes are powers of two: a connection
/// prepares only a few statements, each once.
pub(super) fn chunks<T>(rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let size = (1 << rows.len().checked_ilog2()?).min(MAX_ROWS);
        Some(rows.by_ref().take(size).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_chunks_are_powers_of_two() {
        let sizes = |count: usize| -> Vec<usize> {
            chunks((0..count).collect())
                .map(|rows| rows.len())
                .collect()
        };
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(203), [64, 64, 64, 8, 2, 1]);
        let rows: Vec<usize> = chunks((0..203).collect()).flatten().collect();
        assert_eq!(rows, (0..203).collect::<Vec<_>>());
    }
}
