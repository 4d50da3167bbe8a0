//! The change feed: the position of each event.
//!
//! Events commit in another order than they are inserted: a reader that goes by insertion would
//! miss an event that commits late. So events get their positions after they are committed, by one
//! transaction at a time, which locks the row of the feed: the feed up to a position is complete.
//! Events of one customer commit in their order and are sequenced in it.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, Statement, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    audit::to_event,
    database::{Database, acquire},
    entity::audit_events::{Column, Entity},
    error::StorageError,
    timeout::with_timeout,
    transaction::{Outcome, Transaction},
};
use crate::{
    domain::{audit::FeedEvent, ids::CustomerNumber},
    error::{Error, Result},
};

/// Events that are sequenced in one transaction; the limit in the statements below.
const BATCH_SIZE: usize = 1_000;

/// The bounds of the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedBounds {
    /// The last position.
    pub last: i64,
    /// The last position whose event was deleted.
    pub low_watermark: i64,
    /// A random id, renewed after the database was restored: positions of another epoch may belong
    /// to other events.
    pub epoch: Uuid,
}

/// The result of one transaction of [`Database::sequence_events`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencedBatch {
    /// The number of events that were sequenced.
    pub count: usize,
    /// The customer to continue with if more events may be waiting.
    pub next: Option<String>,
}

impl Database {
    /// Waits until this process commits an event; a commit since the last call counts.
    pub async fn event_committed(&self) {
        self.events_committed.notified().await;
    }

    /// Sequences some committed events of customers from `from` on (`""` for all), unless another
    /// instance does.
    pub async fn sequence_events(&self, from: &str) -> Result<SequencedBatch> {
        let from = from.to_owned();
        self.transaction(move |transaction| {
            let from = from.clone();
            Box::pin(async move {
                transaction.force_indexes().await?;
                let Some(bounds) = transaction.try_lock_feed().await? else {
                    let (count, next) = (0, None);
                    return Ok(Outcome::Rollback(SequencedBatch { count, next }));
                };
                let batch = transaction.sequence_some_events(bounds.last, &from).await?;
                Ok(if batch.count == 0 {
                    Outcome::Rollback(batch)
                } else {
                    Outcome::Commit(batch)
                })
            })
        })
        .await
    }

    /// Reads the bounds of the feed.
    pub async fn feed_bounds(&self) -> Result<FeedBounds> {
        let statement = Statement::from_string(self.readers.get_database_backend(), BOUNDS);
        let row = self.readers.query_one_raw(statement);
        let row = with_timeout(async { Ok(row.await.map_err(StorageError::from)?) }).await?;
        to_bounds(&row.ok_or_else(|| Error::data_loss("change_feed"))?)
    }

    /// Sets a new epoch of the feed, which invalidates all cursors.
    pub async fn renew_feed_epoch(&self, epoch: Uuid) -> Result<()> {
        self.transaction(move |transaction| {
            Box::pin(async move {
                let backend = transaction.inner.get_database_backend();
                let renew = Statement::from_sql_and_values(backend, RENEW, [epoch.into()]);
                let renewed = transaction.inner.execute_raw(renew).await;
                match renewed.map_err(StorageError::from)?.rows_affected() {
                    1 => Ok(Outcome::Commit(())),
                    _ => Err(Error::data_loss("change_feed")),
                }
            })
        })
        .await
    }

    /// Reads up to `limit` events from a position on, in the order of the feed, and then its bounds:
    /// a deletion between the two shows as a gap. The number of concurrent reads is limited, as all
    /// watches read at once when an event arrives.
    pub async fn read_changes(
        &self,
        from: i64,
        limit: u64,
    ) -> Result<(Vec<FeedEvent>, FeedBounds)> {
        let _permit = acquire(&self.feed_reads).await?;
        let changes = self.list_changes(from, limit).await?;
        Ok((changes, self.feed_bounds().await?))
    }

    async fn list_changes(&self, from: i64, limit: u64) -> Result<Vec<FeedEvent>> {
        let rows = Entity::find()
            .filter(Column::FeedPosition.gte(from))
            // The condition of the partial index: positions begin with 1.
            .filter(Expr::cust("feed_position > 0"))
            .order_by_asc(Column::FeedPosition)
            .limit(limit)
            .all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        let changes = rows.into_iter().map(|mut row| {
            let position = row.feed_position;
            Ok(FeedEvent {
                position: position.ok_or_else(|| Error::internal("an event without a position"))?,
                sealed_number: row.sealed_customer_number.take(),
                event: to_event(row)?,
            })
        });
        changes.collect()
    }
}

impl Transaction {
    /// Locks the feed; returns `None` if another transaction holds the lock.
    async fn try_lock_feed(&self) -> Result<Option<FeedBounds>> {
        self.read_feed(TRY_LOCK_POSTGRES).await
    }

    /// Reads the row of the feed. On SQLite the immediate transaction has locked it already.
    async fn read_feed(&self, postgres_sql: &str) -> Result<Option<FeedBounds>> {
        let backend = self.inner.get_database_backend();
        let sql = if backend == DbBackend::Postgres {
            postgres_sql
        } else {
            BOUNDS
        };
        let row = self
            .inner
            .query_one_raw(Statement::from_string(backend, sql))
            .await
            .map_err(StorageError::from)?;
        row.as_ref().map(to_bounds).transpose()
    }

    async fn sequence_some_events(&self, last: i64, from: &str) -> Result<SequencedBatch> {
        let backend = self.inner.get_database_backend();
        let sql = if backend == DbBackend::Postgres {
            SEQUENCE_POSTGRES
        } else {
            SEQUENCE_SQLITE
        };
        let values = [last.into(), from.into()];
        let rows = self
            .inner
            .query_all_raw(Statement::from_sql_and_values(backend, sql, values))
            .await
            .map_err(StorageError::from)?;
        let count = rows.len();
        let (mut next, mut highest) = (None, last);
        for row in &rows {
            let number: String = row.try_get_by_index(0).map_err(StorageError::from)?;
            next = next.max(Some(number));
            highest = highest.max(row.try_get_by_index(1).map_err(StorageError::from)?);
        }
        if count > 0 {
            self.raise_feed(highest).await?;
        }
        Ok(SequencedBatch {
            count,
            next: next.filter(|_| count == BATCH_SIZE),
        })
    }

    async fn raise_feed(&self, last: i64) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let raise = Statement::from_sql_and_values(backend, RAISE, [last.into()]);
        self.inner
            .execute_raw(raise)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Waits for the lock on the feed. Until the transaction ends, no other one sequences events or
    /// deletes sequenced ones.
    pub(super) async fn lock_feed(&self) -> Result<FeedBounds> {
        let bounds = self.read_feed(LOCK_POSTGRES).await?;
        bounds.ok_or_else(|| Error::data_loss("change_feed"))
    }

    /// Sequences all events of a locked customer, and returns the next position, for an event that
    /// is yet to be inserted. The feed stays locked until the transaction ends, so later events of
    /// the same number follow these.
    pub async fn sequence_customer_events(&self, number: &CustomerNumber) -> Result<i64> {
        let last = self.lock_feed().await?.last;
        let backend = self.inner.get_database_backend();
        let values = [last.into(), number.as_str().into()];
        let update = Statement::from_sql_and_values(backend, SEQUENCE_CUSTOMER, values);
        let updated = self.inner.execute_raw(update).await;
        let count = updated.map_err(StorageError::from)?.rows_affected();
        let next = last + i64::try_from(count).unwrap_or(i64::MAX) + 1;
        self.raise_feed(next).await?;
        Ok(next)
    }

    /// Records that events up to this position were deleted.
    pub(super) async fn raise_low_watermark(&self, position: i64) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let values = [position.into()];
        self.inner
            .execute_raw(Statement::from_sql_and_values(
                backend,
                RAISE_LOW_WATERMARK,
                values,
            ))
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

const BOUNDS: &str = "SELECT last_position, low_watermark, epoch FROM change_feed WHERE id = 1";
const TRY_LOCK_POSTGRES: &str = "SELECT last_position, low_watermark, epoch FROM change_feed \
    WHERE id = 1 FOR UPDATE SKIP LOCKED";
const LOCK_POSTGRES: &str = "SELECT last_position, low_watermark, epoch FROM change_feed \
    WHERE id = 1 FOR UPDATE";

/// Sequences the waiting events in the order of their index. The next batch continues with the
/// earliest event of the last customer.
macro_rules! sequence {
    ($row:literal) => {
        concat!(
            "UPDATE audit_events SET feed_position = $1 + waiting.ordinal \
             FROM (SELECT row_location, row_number() \
                     OVER (ORDER BY customer_number, sequence, event_id) AS ordinal \
                   FROM (SELECT customer_number, sequence, event_id, ",
            $row,
            " AS row_location FROM audit_events \
                         WHERE feed_position IS NULL AND customer_number >= $2 \
                         ORDER BY customer_number, sequence, event_id LIMIT 1000) AS first) \
               AS waiting WHERE audit_events.",
            $row,
            " = waiting.row_location RETURNING audit_events.customer_number, \
             audit_events.feed_position"
        )
    };
}
/// Addresses rows by their physical location, which is stable: every transaction that changes a
/// waiting event holds the lock on the feed.
const SEQUENCE_POSTGRES: &str = sequence!("ctid");
pub(super) const SEQUENCE_SQLITE: &str = sequence!("rowid");
const SEQUENCE_CUSTOMER: &str = "\
    UPDATE audit_events SET feed_position = $1 + waiting.ordinal \
    FROM (SELECT sequence, event_id, row_number() OVER (ORDER BY sequence, event_id) AS ordinal \
          FROM audit_events WHERE customer_number = $2 AND feed_position IS NULL) AS waiting \
    WHERE audit_events.customer_number = $2 AND audit_events.sequence = waiting.sequence \
      AND audit_events.event_id = waiting.event_id";
const RAISE: &str = "UPDATE change_feed SET last_position = $1 WHERE id = 1";
const RENEW: &str = "UPDATE change_feed SET epoch = $1 WHERE id = 1";
const RAISE_LOW_WATERMARK: &str = "UPDATE change_feed SET low_watermark = $1 \
    WHERE id = 1 AND low_watermark < $1";

fn to_bounds(row: &QueryResult) -> Result<FeedBounds> {
    Ok(FeedBounds {
        last: row.try_get_by_index(0).map_err(StorageError::from)?,
        low_watermark: row.try_get_by_index(1).map_err(StorageError::from)?,
        epoch: row.try_get_by_index(2).map_err(StorageError::from)?,
    })
}
