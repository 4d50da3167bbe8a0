//! The inbox of the change feed: the events that are committed and have no position yet.
//!
//! The transaction of a change writes its event to the inbox as well, among the rows of its
//! customer. Sequencing reads the inbox in the order of its key, inserts the events into
//! `feed_entries` with the next positions, and deletes the rows after that is committed. The
//! transaction that assigns positions writes to no other table than `feed_entries` and
//! `change_feed`: on a database of several nodes it is committed by one of them, so that all of it
//! becomes visible at once. A row whose deletion failed is recognized by the id of its event.
//!
//! Events of one customer commit in the order of their sequence numbers, and are sequenced in it.
//! The events of an erased customer stay under its number until then, followed by that of the
//! erasure; their rows contain the pseudonym that replaces it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{
    database::Database,
    error::StorageError,
    pools::reader_pool::as_json,
    transaction::{Outcome, Transaction},
};
use crate::{domain::ids::CustomerNumber, error::Result};

/// Events that are sequenced in one transaction; the limit in the statements below. During a backlog the
/// requests that coincide with a batch wait for about as long as it takes.
const BATCH_SIZE: usize = 200;
/// Entries of an erased customer that are renamed in one transaction; the limit in the statement
/// below.
const RENAME_LIMIT: u64 = 5_000;

/// The rows of the inbox to sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxRange {
    /// Those of this customer, and of all whose number sorts after it.
    From(String),
    /// Those of this customer.
    Customer(CustomerNumber),
}

impl InboxRange {
    /// Returns the range of all customers.
    pub const fn all() -> Self {
        Self::From(String::new())
    }
}

/// The way to lock the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedLock {
    /// Sequences nothing if another instance holds the lock.
    Try,
    /// Waits for the lock.
    Wait,
}

/// The result of one transaction of [`Database::sequence_events`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequencedBatch {
    /// The number of events that were sequenced.
    pub count: usize,
    /// The range to continue with if more events may be waiting.
    pub next: Option<InboxRange>,
    /// False if another instance held the lock.
    pub is_locked: bool,
    /// The rows that have an entry now.
    keys: Vec<InboxKey>,
}

/// The primary key of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InboxKey {
    customer_number: String,
    sequence: i64,
    event_id: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct InboxRow {
    customer_number: String,
    sequence: i64,
    event_id: Uuid,
    event_time: DateTime<Utc>,
    kind: String,
    contact_id: Option<Uuid>,
    changed_fields: String,
    feed_number: Option<String>,
    sealed_customer_number: Option<Vec<u8>>,
}

impl Database {
    /// Sequences some committed events. Their rows are to be deleted next, by
    /// [`delete_sequenced_events`](Self::delete_sequenced_events).
    pub async fn sequence_events(
        &self,
        range: &InboxRange,
        lock: FeedLock,
    ) -> Result<SequencedBatch> {
        let range = range.clone();
        self.transaction(move |transaction| {
            let range = range.clone();
            Box::pin(async move {
                transaction.force_indexes().await?;
                let bounds = match lock {
                    FeedLock::Try => transaction.try_lock_feed().await?,
                    FeedLock::Wait => Some(transaction.lock_feed().await?),
                };
                let Some(bounds) = bounds else {
                    return Ok(Outcome::Rollback(SequencedBatch::default()));
                };
                transaction.sequence_some_events(bounds.last, range).await
            })
        })
        .await
    }

    /// Deletes the rows of sequenced events. It is safe to repeat, and to omit: the rows are found
    /// to be sequenced and are returned with a later batch.
    pub async fn delete_sequenced_events(&self, batch: &SequencedBatch) -> Result<()> {
        if batch.keys.is_empty() {
            return Ok(());
        }
        let keys = batch.keys.clone();
        self.transaction(move |transaction| {
            let keys = keys.clone();
            Box::pin(async move {
                transaction.force_indexes().await?;
                transaction.delete_inbox_rows(&keys).await?;
                Ok(Outcome::Commit(()))
            })
        })
        .await
    }
}

impl Transaction {
    /// Replaces the number of a locked customer in its waiting events, for the feed.
    pub async fn pseudonymize_waiting_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<()> {
        let values = [pseudonym.as_str().into(), number.as_str().into()];
        self.execute_on_feed(PSEUDONYMIZE, values).await?;
        Ok(())
    }

    async fn sequence_some_events(
        &self,
        last: i64,
        range: InboxRange,
    ) -> Result<Outcome<SequencedBatch>> {
        let mut rows = self.list_inbox_rows(&range).await?;
        let mut batch = SequencedBatch {
            count: 0,
            next: next_range(&range, &rows),
            is_locked: true,
            keys: rows.iter().map(InboxRow::key).collect(),
        };
        let inserted = self.insert_entries(last, &rows).await?;
        if inserted.len() < rows.len() {
            // The others were sequenced by a process that has not deleted their rows. Positions
            // have no gaps.
            rows.retain(|row| inserted.contains(&row.event_id));
            self.delete_entries_after(last).await?;
            self.insert_entries(last, &rows).await?;
        }
        if rows.is_empty() {
            return Ok(Outcome::Rollback(batch));
        }
        if !self.rename_entries(last, &rows).await? {
            self.delete_entries_after(last).await?;
            batch.next = Some(range);
            batch.keys.clear();
            return Ok(Outcome::Commit(batch));
        }
        batch.count = rows.len();
        let count = i64::try_from(batch.count).unwrap_or(i64::MAX);
        self.raise_feed(last.saturating_add(count)).await?;
        Ok(Outcome::Commit(batch))
    }

    async fn list_inbox_rows(&self, range: &InboxRange) -> Result<Vec<InboxRow>> {
        let (sql, number) = match range {
            InboxRange::From(number) => (READ_FROM, number.as_str()),
            InboxRange::Customer(number) => (READ_CUSTOMER, number.as_str()),
        };
        let rows = self.query_feed(sql, [number.into()]).await?;
        let rows = rows.iter().map(|row| InboxRow::from_query_result(row, ""));
        let rows: std::result::Result<_, _> = rows.collect();
        Ok(rows.map_err(StorageError::from)?)
    }

    /// Renames the entries up to the position `last` of customers that were erased since. All of
    /// them under such a number belong to the erased customer: one that was created under it later
    /// has its events after these. Returns false if there are more entries than one transaction
    /// renames.
    async fn rename_entries(&self, last: i64, rows: &[InboxRow]) -> Result<bool> {
        let mut erased = BTreeMap::new();
        for row in rows {
            if let Some(pseudonym) = &row.feed_number {
                // The entries belong to the first of several erased customers with this number.
                erased.entry(&row.customer_number).or_insert(pseudonym);
            }
        }
        let sql = if self.is_postgres() {
            RENAME_POSTGRES
        } else {
            RENAME_SQLITE
        };
        for (number, pseudonym) in erased {
            let names = [pseudonym.as_str(), number.as_str()];
            let values = [names[0].into(), names[1].into(), last.into()];
            if self.execute_on_feed(sql, values).await? >= RENAME_LIMIT {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Inserts the events that have no entry with the positions after `last`, and returns their
    /// ids.
    async fn insert_entries(&self, last: i64, rows: &[InboxRow]) -> Result<HashSet<Uuid>> {
        let inserted = if rows.is_empty() {
            Vec::new()
        } else if self.is_postgres() {
            // Arrays have no NULL here.
            let contacts = rows.iter().map(|row| row.contact_id.unwrap_or_default());
            let sealed = rows.iter().map(|row| row.sealed_customer_number.clone());
            let values: [Value; 8] = [
                last.into(),
                array(rows.iter().map(|row| row.event_id)),
                array(rows.iter().map(|row| row.entry_number().to_owned())),
                array(rows.iter().map(|row| row.event_time)),
                array(rows.iter().map(|row| row.kind.clone())),
                array(contacts),
                array(rows.iter().map(|row| row.changed_fields.clone())),
                array(sealed.map(Option::unwrap_or_default)),
            ];
            self.query_feed(INSERT_POSTGRES, values).await?
        } else {
            let keys: Vec<_> = rows.iter().map(InboxRow::key).collect();
            let values = [last.into(), keys_as_json(&keys)?.into()];
            self.query_feed(INSERT_SQLITE, values).await?
        };
        let ids = inserted.iter().map(|row| row.try_get_by_index(0));
        let ids: std::result::Result<_, _> = ids.collect();
        Ok(ids.map_err(StorageError::from)?)
    }

    /// Deletes the entries of this transaction.
    async fn delete_entries_after(&self, last: i64) -> Result<()> {
        self.execute_on_feed(DELETE_ENTRIES, [last.into()]).await?;
        Ok(())
    }

    /// Deletes rows, which are in the order of their keys.
    async fn delete_inbox_rows(&self, keys: &[InboxKey]) -> Result<()> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(());
        };
        if self.is_postgres() {
            let values = [
                first.customer_number.as_str().into(),
                first.sequence.into(),
                first.event_id.into(),
                last.customer_number.as_str().into(),
                last.sequence.into(),
                last.event_id.into(),
                array(keys.iter().map(|key| key.event_id)),
            ];
            self.execute_on_feed(DELETE_POSTGRES, values).await?;
            return Ok(());
        }
        // SQLite may scan a table that it estimates to be small for a list of rows.
        for key in keys {
            let values = [
                key.customer_number.as_str().into(),
                key.sequence.into(),
                key.event_id.into(),
            ];
            self.execute_on_feed(DELETE_SQLITE, values).await?;
        }
        Ok(())
    }

    fn is_postgres(&self) -> bool {
        self.inner.get_database_backend() == DbBackend::Postgres
    }

    async fn query_feed<const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<QueryResult>> {
        let backend = self.inner.get_database_backend();
        let query = Statement::from_sql_and_values(backend, sql, values);
        let rows = self.inner.query_all_raw(query).await;
        Ok(rows.map_err(StorageError::from)?)
    }

    async fn execute_on_feed<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64> {
        let backend = self.inner.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let executed = self.inner.execute_raw(statement).await;
        Ok(executed.map_err(StorageError::from)?.rows_affected())
    }
}

impl InboxRow {
    fn key(&self) -> InboxKey {
        InboxKey {
            customer_number: self.customer_number.clone(),
            sequence: self.sequence,
            event_id: self.event_id,
        }
    }

    /// The customer number in the feed.
    fn entry_number(&self) -> &str {
        self.feed_number.as_ref().unwrap_or(&self.customer_number)
    }
}

/// Returns the range after a full batch: it begins with the last customer, which may have more.
fn next_range(range: &InboxRange, rows: &[InboxRow]) -> Option<InboxRange> {
    let last = rows.last().filter(|_| rows.len() == BATCH_SIZE)?;
    Some(match range {
        InboxRange::From(_) => InboxRange::From(last.customer_number.clone()),
        InboxRange::Customer(_) => range.clone(),
    })
}

fn array<T>(values: impl Iterator<Item = T>) -> Value
where
    Vec<T>: Into<Value>,
{
    values.collect::<Vec<_>>().into()
}

/// Returns keys as SQLite's JSON functions read them.
fn keys_as_json(keys: &[InboxKey]) -> Result<String> {
    let key = |key: &InboxKey| {
        let id = key.event_id.simple().to_string();
        (key.customer_number.clone(), key.sequence, id)
    };
    as_json(&keys.iter().map(key).collect::<Vec<_>>())
}

macro_rules! read_inbox {
    ($condition:literal) => {
        concat!(
            "SELECT customer_number, sequence, event_id, event_time, kind, contact_id, \
               changed_fields, feed_number, sealed_customer_number FROM feed_inbox WHERE ",
            $condition,
            " ORDER BY customer_number, sequence, event_id LIMIT 200"
        )
    };
}
pub(super) const READ_FROM: &str = read_inbox!("customer_number >= $1");
pub(super) const READ_CUSTOMER: &str = read_inbox!("customer_number = $1");

/// The feed is locked, and no other transaction changes the number of an entry.
/// Rows are addressed by physical location, as a join by key could begin with either side; the sign
/// rules out the index of the positions.
const RENAME_POSTGRES: &str = "\
    UPDATE feed_entries SET customer_number = $1 WHERE ctid = ANY (ARRAY( \
      SELECT ctid FROM feed_entries WHERE customer_number = $2 AND +position <= $3 LIMIT 5000))";
pub(super) const RENAME_SQLITE: &str = "\
    UPDATE feed_entries INDEXED BY feed_entries_by_customer SET customer_number = $1 \
    WHERE customer_number = $2 AND rowid IN ( \
      SELECT rowid FROM feed_entries INDEXED BY feed_entries_by_customer \
      WHERE customer_number = $2 AND position <= $3 LIMIT 5000)";

const DELETE_ENTRIES: &str = "DELETE FROM feed_entries WHERE position > $1";
const INSERT_POSTGRES: &str = "\
    INSERT INTO feed_entries (position, event_id, customer_number, event_time, kind, contact_id, \
      changed_fields, sealed_customer_number) \
    SELECT $1 + ordinal, event_id, number, event_time, kind, \
      nullif(contact_id, '00000000-0000-0000-0000-000000000000'), changed_fields, \
      nullif(sealed, '') \
    FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::uuid[], $7::text[], \
        $8::bytea[]) WITH ORDINALITY \
      AS event (event_id, number, event_time, kind, contact_id, changed_fields, sealed, ordinal) \
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id";
/// CROSS JOIN keeps the order of the tables: each row is searched by its key, whatever the
/// statistics are.
pub(super) const INSERT_SQLITE: &str = "\
    INSERT INTO feed_entries (position, event_id, customer_number, event_time, kind, contact_id, \
      changed_fields, sealed_customer_number) \
    SELECT $1 + 1 + keys.key, event_id, coalesce(feed_number, customer_number), event_time, kind, \
      contact_id, changed_fields, sealed_customer_number \
    FROM json_each($2) AS keys CROSS JOIN feed_inbox INDEXED BY sqlite_autoindex_feed_inbox_1 \
    WHERE customer_number = keys.value ->> 0 AND sequence = keys.value ->> 1 \
      AND event_id = unhex(keys.value ->> 2) \
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id";

/// The range of a batch in the only index; another plan is impossible, whatever the statistics are.
const DELETE_POSTGRES: &str = "\
    DELETE FROM feed_inbox WHERE (customer_number, sequence, event_id) >= ($1, $2, $3) \
      AND (customer_number, sequence, event_id) <= ($4, $5, $6) \
      AND (event_id = ANY ($7)) IS TRUE";
pub(super) const DELETE_SQLITE: &str = "\
    DELETE FROM feed_inbox WHERE customer_number = $1 AND sequence = $2 AND event_id = $3";

const PSEUDONYMIZE: &str = "UPDATE feed_inbox SET feed_number = $1 \
    WHERE customer_number = $2 AND feed_number IS NULL";
