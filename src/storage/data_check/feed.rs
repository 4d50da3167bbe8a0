//! The change feed as it is checked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::{
    domain::ids::CustomerNumber,
    error::Result,
    storage::{
        entity::{feed_entries, feed_inbox},
        error::StorageError,
        snapshot::Snapshot,
    },
};

/// The entries of the feed that are read at once.
const PAGE_SIZE: u64 = 500;

const STATE: &str = "SELECT last_position, low_watermark, epoch FROM change_feed WHERE id = 1";
const INBOX_AFTER: &str = "\
    SELECT customer_number, sequence, event_id, event_time FROM feed_inbox \
    WHERE (customer_number, sequence, event_id) > ($1, $2, $3) \
    ORDER BY customer_number, sequence, event_id LIMIT 500";

/// The row of the feed.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub struct FeedState {
    /// The last position.
    pub last_position: i64,
    /// The last position whose event was deleted.
    pub low_watermark: i64,
    /// The epoch; every feed has one.
    pub epoch: Option<Uuid>,
}

/// An entry of the feed.
#[derive(Clone, Debug)]
pub struct FeedRow {
    /// The position.
    pub position: i64,
    /// The event.
    pub event_id: Uuid,
    /// The customer; empty if the event belongs to none.
    pub customer_number: String,
    /// True if the audit log has the event.
    pub has_event: bool,
    /// True if the customer is on file, or was erased.
    pub has_customer: bool,
}

/// An event that waits for its position.
#[derive(Clone, Debug, FromQueryResult)]
pub struct InboxRow {
    /// The customer; empty if the event belongs to none.
    pub customer_number: String,
    /// The sequence number.
    pub sequence: i64,
    /// The event.
    pub event_id: Uuid,
    event_time: DateTime<Utc>,
}

impl Snapshot {
    /// Reads the row of the feed.
    pub async fn feed_state(&self) -> Result<Option<FeedState>> {
        let rows = self.query(STATE, []).await?;
        let state = rows
            .first()
            .map(|row| FeedState::from_query_result(row, ""));
        Ok(state.transpose().map_err(StorageError::from)?)
    }

    /// Lists the entries after a position, in the order of the feed; none after the last one.
    pub async fn list_feed_entries(&self, after: i64) -> Result<Vec<FeedRow>> {
        let rows = feed_entries::Entity::find()
            .filter(feed_entries::Column::Position.gt(after))
            .order_by_asc(feed_entries::Column::Position)
            .limit(PAGE_SIZE)
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let events = rows.iter().map(|row| (row.event_time, row.event_id));
        let events = self.list_known_events(events).await?;
        let numbers = rows.iter().map(|row| row.customer_number.clone());
        let known = self.list_customers_of_feed(numbers.collect()).await?;
        let rows = rows.into_iter().map(|row| FeedRow {
            position: row.position,
            event_id: row.event_id,
            has_event: events.contains(&row.event_id),
            has_customer: known.contains(&row.customer_number),
            customer_number: row.customer_number,
        });
        Ok(rows.collect())
    }

    /// Returns which of these numbers are of customers on file, of erased ones, or of none. The entries
    /// of an erased customer have its number until the event of its erasure, which waits, is sequenced.
    async fn list_customers_of_feed(&self, numbers: BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut known = self.list_known(numbers.clone()).await?;
        let waiting: Vec<String> = feed_inbox::Entity::find()
            .select_only()
            .column(feed_inbox::Column::CustomerNumber)
            .distinct()
            .filter(feed_inbox::Column::CustomerNumber.is_in(numbers.clone()))
            .into_tuple()
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        known.extend(waiting);
        known.extend(numbers.into_iter().filter(|number| {
            number.is_empty() || CustomerNumber::from_stored(number.clone()).is_pseudonym()
        }));
        Ok(known)
    }

    /// Lists the waiting events after another one, or the first ones, and those of them that the audit
    /// log lacks.
    pub async fn list_inbox(
        &self,
        after: Option<&InboxRow>,
    ) -> Result<(Vec<InboxRow>, Vec<InboxRow>)> {
        let values = match after {
            Some(row) => [
                row.customer_number.as_str().into(),
                row.sequence.into(),
                row.event_id.into(),
            ],
            None => ["".into(), i64::MIN.into(), Uuid::nil().into()],
        };
        let rows = self.query(INBOX_AFTER, values).await?;
        let rows = rows.iter().map(|row| InboxRow::from_query_result(row, ""));
        let rows: std::result::Result<Vec<_>, _> = rows.collect();
        let rows = rows.map_err(StorageError::from)?;
        let events = rows.iter().map(|row| (row.event_time, row.event_id));
        let known = self.list_known_events(events).await?;
        let lacking = rows.iter().filter(|row| !known.contains(&row.event_id));
        let lacking = lacking.cloned().collect();
        Ok((rows, lacking))
    }
}
