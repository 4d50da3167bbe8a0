//! Retention: deletes expired rows in batches, the oldest first.
//!
//! A batch is a short transaction, followed by a pause that is longer than the batch took. A long run,
//! over millions of rows, takes one hundredth of the time, so that fewer requests coincide with a batch
//! than the 99th percentile of their latency counts. A batch is a range of time that begins with the oldest
//! rows: a range suits an index on every database, and every node of a distributed one. Rows of the
//! same time are in the same batch, which one request has written. A batch that fails is retried with
//! fewer rows: on a slow disk the usual number may exceed the statement timeout.

mod rules;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Statement, TryGetable, Value};

use self::rules::{
    AGENTS, Action, CALLS, CHECKS_OF_AGENTS, CHECKS_OF_CUSTOMERS, CODES, CONFIRMED, DEAD_MAILS,
    EVENTS, EXPIRED, FEED_ENTRIES, MAIL_CUSTOMERS, MAIL_RECIPIENTS, ORPHAN_ATTEMPTS, PHONE_ORDERS,
    REQUEST_IDS, Rule, SEALED_NUMBERS, SEARCHES_OF_AGENTS, SUPERSEDED,
};
use super::{
    database::Database,
    error::StorageError,
    transaction::{Outcome, Transaction},
};
use crate::error::Result;

const MAX_BATCH: u64 = 1_000;
const MIN_BATCH: u64 = 10;
/// Batches after which a run is a long one.
const SHORT_RUN: u32 = 20;
/// Pause after a batch of a short run, as a multiple of its duration.
const PAUSE_FACTOR: u32 = 3;
/// The same for a long run.
const LONG_RUN_PAUSE_FACTOR: u32 = 99;
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// A slow database deletes 100 rows a second all the same, several million a day.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Interval of log lines in a long run.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// The result of a batch.
#[derive(Clone, Copy, Debug)]
struct ExpiredBatch {
    count: u64,
    /// The time of its newest rows, unless it was the last batch.
    newest: Option<DateTime<Utc>>,
}

impl Database {
    /// Deletes the records of phone orders that were decided before `time`, and returns their number.
    pub async fn delete_old_phone_orders(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&PHONE_ORDERS, time).await
    }

    /// Deletes events from before `time` from the audit log, and returns their number.
    pub async fn delete_old_audit_events(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&EVENTS, time).await
    }

    /// Deletes the events from before `time` up to the position `last` from the change feed, raises
    /// its low watermark, and returns their number.
    pub async fn delete_old_feed_entries(&self, time: DateTime<Utc>, last: i64) -> Result<u64> {
        self.expire_up_to(&FEED_ENTRIES, time, Some(last)).await
    }

    /// Clears the encrypted customer numbers in the change feed for erasures from before `time`, and
    /// returns their number.
    pub async fn clear_sealed_numbers(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&SEALED_NUMBERS, time).await
    }

    /// Deletes the request ids of all actors that expired by `now`, and returns their number.
    pub async fn delete_expired_requests(&self, now: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&REQUEST_IDS, now).await
    }

    /// Deletes the confirmations of all customers that expired before `time`, and returns their
    /// number.
    pub async fn delete_confirmations_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let mut count = 0;
        for rule in [&CONFIRMED, &EXPIRED, &SUPERSEDED] {
            count += self.expire_all(rule, time).await?;
        }
        Ok(count)
    }

    /// Deletes the dead letters of all customers from before `time`, and returns their number.
    pub async fn delete_dead_mails_before(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&DEAD_MAILS, time).await
    }

    /// Deletes the attempts of agents without one since `time`, and those of phone calls that expired
    /// by `now`. Returns the number of rows.
    pub async fn delete_expired_attempts(
        &self,
        now: DateTime<Utc>,
        time: DateTime<Utc>,
    ) -> Result<u64> {
        let agents = self.expire_all(&AGENTS, time).await?;
        Ok(agents + self.expire_all(&CALLS, now).await?)
    }

    /// Deletes the attempts on contacts without a password and without an attempt since `time`, and
    /// returns the number of rows.
    pub async fn purge_orphan_attempts(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&ORPHAN_ATTEMPTS, time).await
    }

    /// Deletes the counts of recipients and customers whose last mail was before `time`, and
    /// returns their number.
    pub async fn delete_mail_counts_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let recipients = self.expire_all(&MAIL_RECIPIENTS, time).await?;
        Ok(recipients + self.expire_all(&MAIL_CUSTOMERS, time).await?)
    }

    /// Deletes the windows of channel checks and searches that ended before `time`, and the channels
    /// whose verification ended, and returns their number.
    pub async fn delete_channel_checks_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let mut count = 0;
        for rule in [&CHECKS_OF_AGENTS, &CHECKS_OF_CUSTOMERS, &SEARCHES_OF_AGENTS] {
            count += self.expire_all(rule, time).await?;
        }
        Ok(count)
    }

    /// Deletes the one-time codes that expired before `time`, and returns their number.
    pub async fn delete_codes_before(&self, time: DateTime<Utc>) -> Result<u64> {
        self.expire_all(&CODES, time).await
    }

    async fn expire_all(&self, rule: &'static Rule, until: DateTime<Utc>) -> Result<u64> {
        self.expire_up_to(rule, until, None).await
    }

    /// Expires all rows, up to a position if the rule has one.
    async fn expire_up_to(
        &self,
        rule: &'static Rule,
        until: DateTime<Utc>,
        last: Option<i64>,
    ) -> Result<u64> {
        let (mut count, mut limit, mut from) = (0, MAX_BATCH, DateTime::UNIX_EPOCH);
        let mut batches = 0;
        let mut reported = Instant::now();
        loop {
            batches += 1;
            let started = Instant::now();
            let times = [from, until];
            match self.expire_batch(rule, times, last, limit).await {
                Ok(batch) => {
                    count += batch.count;
                    let Some(newest) = batch.newest else {
                        return Ok(count);
                    };
                    from = newest;
                    limit = MAX_BATCH.min(limit * 2);
                }
                Err(error) if limit == MIN_BATCH => return Err(error),
                Err(error) => {
                    tracing::warn!(table = rule.table, rows = limit, %error, "retention batch failed, retried with fewer rows");
                    limit = MIN_BATCH.max(limit / 2);
                }
            }
            if reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                tracing::info!(table = rule.table, count, until = %from, "retention in progress");
            }
            tokio::time::sleep(pause(batches, started.elapsed())).await;
        }
    }

    async fn expire_batch(
        &self,
        rule: &'static Rule,
        times: [DateTime<Utc>; 2],
        last: Option<i64>,
        limit: u64,
    ) -> Result<ExpiredBatch> {
        self.transaction(move |transaction| {
            Box::pin(async move {
                let batch = transaction.expire_batch(rule, times, last, limit).await?;
                Ok(Outcome::Commit(batch))
            })
        })
        .await
    }
}

impl Transaction {
    async fn expire_batch(
        &self,
        rule: &Rule,
        times: [DateTime<Utc>; 2],
        last: Option<i64>,
        limit: u64,
    ) -> Result<ExpiredBatch> {
        self.force_indexes().await?;
        let is_feed = rule.action == Action::DeleteFromFeed;
        if is_feed {
            // First, in the same order as the sequencing of events.
            self.lock_feed().await?;
        }
        let [from, until] = times;
        let bounds = |until: DateTime<Utc>| {
            let times = [from, until].map(Value::from).into_iter();
            times.chain(last.map(Value::from))
        };
        let backend = self.inner.get_database_backend();
        let sql = rule.newest_sql(backend, limit);
        let newest = self.expired_rows(&sql, bounds(until)).await?;
        let newest: Option<DateTime<Utc>> = newest.first().map(first_column).transpose()?;
        let sql = rule.action_sql(backend, newest.is_some());
        let rows = self
            .expired_rows(&sql, bounds(newest.unwrap_or(until)))
            .await?;
        if is_feed {
            let positions = rows.iter().map(first_column::<i64>);
            let positions: Vec<_> = positions.collect::<Result<_>>()?;
            if let Some(position) = positions.into_iter().max() {
                self.raise_low_watermark(position).await?;
            }
        }
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(ExpiredBatch { count, newest })
    }

    async fn expired_rows(
        &self,
        sql: &str,
        values: impl Iterator<Item = Value>,
    ) -> Result<Vec<QueryResult>> {
        let backend = self.inner.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let rows = self.inner.query_all_raw(statement).await;
        Ok(rows.map_err(StorageError::from)?)
    }
}

/// Returns the pause after a batch: the number of batches of its run so far, and its duration.
fn pause(batches: u32, duration: Duration) -> Duration {
    let factor = if batches < SHORT_RUN {
        PAUSE_FACTOR
    } else {
        LONG_RUN_PAUSE_FACTOR
    };
    (duration * factor).clamp(MIN_PAUSE, MAX_PAUSE)
}

fn first_column<T: TryGetable>(row: &QueryResult) -> Result<T> {
    Ok(row.try_get_by_index(0).map_err(StorageError::from)?)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use sea_orm::DbBackend;

    use super::*;
    use crate::storage::{
        DatabaseUrl,
        feed_inbox::{DELETE_SQLITE, INSERT_SQLITE, READ_CUSTOMER, READ_FROM, RENAME_SQLITE},
    };

    const ALL: [&Rule; 18] = [
        &EVENTS,
        &FEED_ENTRIES,
        &SEALED_NUMBERS,
        &REQUEST_IDS,
        &CONFIRMED,
        &EXPIRED,
        &SUPERSEDED,
        &DEAD_MAILS,
        &AGENTS,
        &CALLS,
        &ORPHAN_ATTEMPTS,
        &MAIL_RECIPIENTS,
        &MAIL_CUSTOMERS,
        &CHECKS_OF_AGENTS,
        &CHECKS_OF_CUSTOMERS,
        &SEARCHES_OF_AGENTS,
        &CODES,
        &PHONE_ORDERS,
    ];
    /// Statistics by which all rows are alike.
    const SINGLE_EVENT: &str = "\
        INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
          changed_fields) VALUES ('K-1', 1, x'00', '2026-01-01', '', '', '[]'); \
        INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, \
          changed_fields) VALUES ('K-1', 1, x'00', '2026-01-01', '', '[]'); \
        INSERT INTO feed_entries (position, event_id, customer_number, event_time, kind, \
          changed_fields) VALUES (1, x'00', 'K-1', '2026-01-01', '', '[]'); ANALYZE";
    const OF_FEED: [&str; 5] = [
        READ_FROM,
        READ_CUSTOMER,
        RENAME_SQLITE,
        INSERT_SQLITE,
        DELETE_SQLITE,
    ];

    async fn assert_uses_indexes(database: &Database, statement: &str) {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let time = DateTime::<Utc>::UNIX_EPOCH;
        let values = [time.into(), time.into()];
        let explain = Statement::from_sql_and_values(DbBackend::Sqlite, explain, values);
        let rows = database.writers.query_all_raw(explain).await.unwrap();
        let steps = rows.iter().map(|row| row.try_get("", "detail").unwrap());
        let steps: Vec<String> = steps.collect();
        let is_full_scan = |step: &String| {
            let scanned = step.strip_prefix("SCAN ");
            scanned.is_some_and(|name| {
                name == "feed_inbox" || ALL.iter().any(|rule| rule.table == name)
            })
        };
        let is_sorted = |step: &String| step.contains("TEMP B-TREE");
        assert!(!steps.is_empty(), "{statement}");
        let found = steps
            .iter()
            .find(|step| is_full_scan(step) || is_sorted(step));
        assert_eq!(found, None, "{statement}: {steps:#?}");
    }

    #[rstest]
    #[case::short_run(1, 20, 60)]
    #[case::end_of_a_short_run(19, 20, 60)]
    #[case::long_run(20, 15, 1_485)]
    #[case::fast_batch(1, 1, 10)]
    #[case::large_table(1_000, 90, 8_910)]
    #[case::slow_batch(1_000, 800, 10_000)]
    #[case::stalled_batch(1, 5_000, 10_000)]
    fn long_runs_leave_the_database_to_requests(
        #[case] batches: u32,
        #[case] duration_ms: u64,
        #[case] pause_ms: u64,
    ) {
        let pause = pause(batches, Duration::from_millis(duration_ms));
        assert_eq!(pause, Duration::from_millis(pause_ms));
    }

    #[tokio::test]
    async fn every_background_statement_of_sqlite_uses_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::from_path(&folder.path().join("contacts.db")).unwrap();
        let database = Database::connect(&url).await.unwrap();
        database.migrate().await.unwrap();
        for statistics in ["", "ANALYZE", SINGLE_EVENT] {
            let analyzed = database.writers.execute_unprepared(statistics).await;
            analyzed.unwrap();
            for rule in ALL {
                let newest = rule.newest_sql(DbBackend::Sqlite, 1_000);
                let action = rule.action_sql(DbBackend::Sqlite, true);
                for sql in [newest, action] {
                    assert_uses_indexes(&database, &sql).await;
                }
            }
            for sql in OF_FEED {
                assert_uses_indexes(&database, sql).await;
            }
        }
    }
}
