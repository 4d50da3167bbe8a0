//! The feed of changes: which place each event has.
//!
//! A number that an event takes when it is written says nothing about when it is committed:
//! whoever read up to it would miss an earlier one that is committed later. So events get
//! their places once they are committed, by one transaction at a time, which holds the row of
//! the feed: what is read up to a place is whole. Events of a customer are committed in
//! their order, and get their places in it.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, Statement, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    Database, Outcome, Transaction,
    audit::to_event,
    bounded,
    entity::audit_events::{Column, Entity},
};
use crate::storage::error::Failure;
use crate::{
    domain::{audit::Change, ids::CustomerNumber},
    error::{Error, Result},
};

/// How many events get their places in one transaction, as `PLACE` says.
const PLACED_AT_ONCE: usize = 1_000;

/// How far the feed reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReach {
    /// The last place that was given.
    pub last: i64,
    /// The last place whose event is not kept any more.
    pub forgotten: i64,
    /// A random id, renewed when the database was restored: places of another epoch may be of
    /// other events.
    pub epoch: Uuid,
}

/// What came of giving places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// How many events got one.
    pub count: usize,
    /// The customer to go on with, where more events may wait.
    pub next: Option<String>,
}

impl Database {
    /// Waits until an event was committed by this process; one before counts.
    pub async fn event_committed(&self) {
        self.events_committed.notified().await;
    }

    /// Gives places to some committed events, of customers from `from` on (`""`: of all),
    /// unless another process is about it.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn place_events(&self, from: &str) -> Result<Placed> {
        let from = from.to_owned();
        self.transaction(move |transaction| {
            let from = from.clone();
            Box::pin(async move {
                transaction.go_by_indexes().await?;
                let Some(reach) = transaction.lock_feed().await? else {
                    let (count, next) = (0, None);
                    return Ok(Outcome::Rollback(Placed { count, next }));
                };
                let placed = transaction.place_some_events(reach.last, &from).await?;
                Ok(if placed.count == 0 {
                    Outcome::Rollback(placed)
                } else {
                    Outcome::Commit(placed)
                })
            })
        })
        .await
    }

    /// How far the feed reaches.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn feed_reach(&self) -> Result<FeedReach> {
        let statement = Statement::from_string(self.readers.get_database_backend(), REACH);
        let row = self.readers.query_one_raw(statement);
        let row = bounded(async { Ok(row.await.map_err(Failure::from)?) }).await?;
        to_reach(&row.ok_or_else(|| Error::data_loss("change_feed"))?)
    }

    /// Renews the epoch of the feed, which invalidates all cursors.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn renew_feed_epoch(&self, epoch: Uuid) -> Result<()> {
        self.transaction(move |transaction| {
            Box::pin(async move {
                let backend = transaction.inner.get_database_backend();
                let renew = Statement::from_sql_and_values(backend, RENEW, [epoch.into()]);
                let renewed = transaction.inner.execute_raw(renew).await;
                match renewed.map_err(Failure::from)?.rows_affected() {
                    1 => Ok(Outcome::Commit(())),
                    _ => Err(Error::data_loss("change_feed")),
                }
            })
        })
        .await
    }

    /// Up to `limit` events from a place on, in the order of the feed.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_changes(&self, from: i64, limit: u64) -> Result<Vec<Change>> {
        let rows = Entity::find()
            .filter(Column::FeedPosition.gte(from))
            // What the index is limited to: places are from 1 on.
            .filter(Expr::cust("feed_position > 0"))
            .order_by_asc(Column::FeedPosition)
            .limit(limit)
            .all(&self.readers);
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        let changes = rows.into_iter().map(|mut row| {
            let position = row.feed_position;
            Ok(Change {
                position: position.ok_or_else(|| Error::internal("an event without a place"))?,
                sealed_number: row.sealed_customer_number.take(),
                event: to_event(row)?,
            })
        });
        changes.collect()
    }
}

impl Transaction {
    /// `None`: another transaction holds the feed.
    async fn lock_feed(&self) -> Result<Option<FeedReach>> {
        self.read_feed(LOCK_POSTGRES).await
    }

    /// The row of the feed; SQLite's is locked by its immediate transaction already.
    async fn read_feed(&self, on_postgres: &str) -> Result<Option<FeedReach>> {
        let backend = self.inner.get_database_backend();
        let sql = if backend == DbBackend::Postgres {
            on_postgres
        } else {
            REACH
        };
        let row = self
            .inner
            .query_one_raw(Statement::from_string(backend, sql))
            .await
            .map_err(Failure::from)?;
        row.as_ref().map(to_reach).transpose()
    }

    async fn place_some_events(&self, last: i64, from: &str) -> Result<Placed> {
        let backend = self.inner.get_database_backend();
        let place = if backend == DbBackend::Postgres {
            PLACE_POSTGRES
        } else {
            PLACE_SQLITE
        };
        let values = [last.into(), from.into()];
        let rows = self
            .inner
            .query_all_raw(Statement::from_sql_and_values(backend, place, values))
            .await
            .map_err(Failure::from)?;
        let count = rows.len();
        let (mut next, mut highest) = (None, last);
        for row in &rows {
            let number: String = row.try_get_by_index(0).map_err(Failure::from)?;
            next = next.max(Some(number));
            highest = highest.max(row.try_get_by_index(1).map_err(Failure::from)?);
        }
        if count > 0 {
            self.raise_feed(highest).await?;
        }
        Ok(Placed {
            count,
            next: next.filter(|_| count == PLACED_AT_ONCE),
        })
    }

    async fn raise_feed(&self, last: i64) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let raise = Statement::from_sql_and_values(backend, RAISE, [last.into()]);
        self.inner.execute_raw(raise).await.map_err(Failure::from)?;
        Ok(())
    }

    /// Waits for the feed: until the transaction ends, nobody else gives places or takes
    /// events out of it.
    pub(super) async fn hold_feed(&self) -> Result<FeedReach> {
        let reach = self.read_feed(HOLD_POSTGRES).await?;
        reach.ok_or_else(|| Error::data_loss("change_feed"))
    }

    /// Gives all events of a locked customer their places, and one more to an event that is
    /// still to be written; gives that one. Nobody else gives any until the transaction ends,
    /// so that what is recorded of the same number afterwards comes behind them.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn place_trail(&self, number: &CustomerNumber) -> Result<i64> {
        let last = self.hold_feed().await?.last;
        let backend = self.inner.get_database_backend();
        let values = [last.into(), number.as_str().into()];
        let placed = Statement::from_sql_and_values(backend, PLACE_TRAIL, values);
        let placed = self.inner.execute_raw(placed).await;
        let count = placed.map_err(Failure::from)?.rows_affected();
        let next = last + i64::try_from(count).unwrap_or(i64::MAX) + 1;
        self.raise_feed(next).await?;
        Ok(next)
    }

    /// The feed is whole behind this place only.
    ///
    /// # Errors
    /// The failures of the database.
    pub(super) async fn forget_feed_until(&self, position: i64) -> Result<()> {
        let backend = self.inner.get_database_backend();
        let values = [position.into()];
        self.inner
            .execute_raw(Statement::from_sql_and_values(backend, FORGET, values))
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

const REACH: &str = "SELECT last_position, forgotten_position, epoch FROM change_feed WHERE id = 1";
const LOCK_POSTGRES: &str = "SELECT last_position, forgotten_position, epoch FROM change_feed \
    WHERE id = 1 FOR UPDATE SKIP LOCKED";
const HOLD_POSTGRES: &str = "SELECT last_position, forgotten_position, epoch FROM change_feed \
    WHERE id = 1 FOR UPDATE";

/// The events that wait, in the order of their index. A customer whose events do not all fit is
/// gone on with, from its earliest one on.
macro_rules! place {
    ($row:literal) => {
        concat!(
            "UPDATE audit_events SET feed_position = $1 + waiting.place \
             FROM (SELECT place_in_table, row_number() \
                     OVER (ORDER BY customer_number, sequence, event_id) AS place \
                   FROM (SELECT customer_number, sequence, event_id, ",
            $row,
            " AS place_in_table FROM audit_events \
                         WHERE feed_position IS NULL AND customer_number >= $2 \
                         ORDER BY customer_number, sequence, event_id LIMIT 1000) AS first) \
               AS waiting WHERE audit_events.",
            $row,
            " = waiting.place_in_table RETURNING audit_events.customer_number, \
             audit_events.feed_position"
        )
    };
}
/// By the places of the rows, as the retention has it. None of them moves meanwhile: whoever
/// changes an event that waits holds the feed.
const PLACE_POSTGRES: &str = place!("ctid");
pub(super) const PLACE_SQLITE: &str = place!("rowid");
const PLACE_TRAIL: &str = "\
    UPDATE audit_events SET feed_position = $1 + waiting.place \
    FROM (SELECT sequence, event_id, row_number() OVER (ORDER BY sequence, event_id) AS place \
          FROM audit_events WHERE customer_number = $2 AND feed_position IS NULL) AS waiting \
    WHERE audit_events.customer_number = $2 AND audit_events.sequence = waiting.sequence \
      AND audit_events.event_id = waiting.event_id";
const RAISE: &str = "UPDATE change_feed SET last_position = $1 WHERE id = 1";
const RENEW: &str = "UPDATE change_feed SET epoch = $1 WHERE id = 1";
const FORGET: &str = "UPDATE change_feed SET forgotten_position = $1 \
    WHERE id = 1 AND forgotten_position < $1";

fn to_reach(row: &QueryResult) -> Result<FeedReach> {
    Ok(FeedReach {
        last: row.try_get_by_index(0).map_err(Failure::from)?,
        forgotten: row.try_get_by_index(1).map_err(Failure::from)?,
        epoch: row.try_get_by_index(2).map_err(Failure::from)?,
    })
}
