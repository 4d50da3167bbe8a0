//! The change feed as it is read: entries by position, and the bounds of the positions.
//!
//! Events commit in another order than they are inserted: a reader that goes by insertion would
//! miss an event that commits late. So events get their positions after they are committed, by one
//! transaction at a time, which locks the row of the feed (`feed_inbox.rs`): a position is final
//! when it is visible, and the feed up to a position is complete.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, Statement,
};
use uuid::Uuid;

use super::{
    database::{Database, acquire},
    entity::feed_entries::{Column, Entity, Model},
    error::StorageError,
    timeout::with_timeout,
    transaction::{Outcome, Transaction},
};
use crate::{
    domain::{
        audit::FeedEvent,
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

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

impl Database {
    /// Waits until this process commits an event; a commit since the last call counts.
    pub async fn event_committed(&self) {
        self.events_committed.notified().await;
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
            .filter(Column::Position.gte(from))
            .order_by_asc(Column::Position)
            .limit(limit)
            .all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        rows.into_iter().map(to_feed_event).collect()
    }
}

impl Transaction {
    /// Locks the feed; returns `None` if another transaction holds the lock.
    pub(super) async fn try_lock_feed(&self) -> Result<Option<FeedBounds>> {
        self.read_feed(TRY_LOCK_POSTGRES).await
    }

    /// Waits for the lock on the feed. Until the transaction ends, no other one sequences events or
    /// deletes sequenced ones.
    pub(super) async fn lock_feed(&self) -> Result<FeedBounds> {
        let bounds = self.read_feed(LOCK_POSTGRES).await?;
        bounds.ok_or_else(|| Error::data_loss("change_feed"))
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

    /// Records the last position. The feed must be locked.
    pub(super) async fn raise_feed(&self, last: i64) -> Result<()> {
        self.set_bound(RAISE, last).await
    }

    /// Records that events up to this position were deleted. The feed must be locked.
    pub(super) async fn raise_low_watermark(&self, position: i64) -> Result<()> {
        self.set_bound(RAISE_LOW_WATERMARK, position).await
    }

    async fn set_bound(&self, sql: &str, position: i64) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let set = Statement::from_sql_and_values(backend, sql, [position.into()]);
        self.inner
            .execute_raw(set)
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

fn to_feed_event(row: Model) -> Result<FeedEvent> {
    let number = Some(row.customer_number).filter(|number| !number.is_empty());
    Ok(FeedEvent {
        position: row.position,
        id: row.event_id,
        event_time: row.event_time,
        kind: row.kind,
        customer_number: number.map(CustomerNumber::from_stored),
        contact_id: row.contact_id.map(ContactId),
        changed_fields: serde_json::from_str(&row.changed_fields)
            .map_err(|_| Error::data_loss("feed_entries.changed_fields"))?,
        sealed_number: row.sealed_customer_number,
    })
}
