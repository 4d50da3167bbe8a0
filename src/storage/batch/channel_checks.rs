//! Counts channel checks within the current minute, by agent and by customer, and searches by agent. Concurrent requests
//! share one statement for their agents and one for their customers.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement, Value};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use super::{
    super::{
        error::StorageError,
        pools::{observer::StatementObserver, reader_pool::acquire_tested},
        timeout::with_timeout,
    },
    batcher::{BatchSizes, Batcher},
};
use crate::{
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, FindLimit, Result},
    observability::metrics::{DatabaseOperation, SharedQuery},
};

const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// A check or a search to count.
#[derive(Clone, Debug)]
pub struct ChannelCheck {
    /// The agent who checks.
    pub agent: Actor,
    /// The customer, which may not be on file; `None`: a search over all customers.
    pub customer_number: Option<CustomerNumber>,
    /// The limit within a minute, for the agent and for the customer.
    pub per_minute: u32,
    /// The time of the check.
    pub now: DateTime<Utc>,
}

/// The checks of an agent or a customer in the current window.
#[derive(Clone, Copy)]
struct CheckWindow {
    checks: i64,
    end: DateTime<Utc>,
}

type Windows = BTreeMap<String, CheckWindow>;

/// Creates the batcher of checks.
pub(crate) fn batcher(
    writers: &DatabaseConnection,
    observer: &StatementObserver,
    sizes: BatchSizes,
) -> Batcher<ChannelCheck, Result<()>> {
    let (writers, observer) = (writers.clone(), observer.clone());
    let count = move |checks: Vec<ChannelCheck>| {
        let (writers, observer) = (writers.clone(), observer.clone());
        async move { count_many(&writers, &observer, &checks).await }
    };
    Batcher::new(SharedQuery::ChannelChecks, sizes, count)
}

/// Counts the checks. Checks beyond their agent's limit are not counted for the customer.
async fn count_many(
    writers: &DatabaseConnection,
    observer: &StatementObserver,
    checks: &[ChannelCheck],
) -> Result<Vec<Result<()>>> {
    let mut outcomes = vec![Ok(()); checks.len()];
    for (counter, limit) in [
        (&AGENTS, FindLimit::Agent),
        (&CUSTOMERS, FindLimit::Customer),
        (&SEARCHES, FindLimit::Search),
    ] {
        let mut requested = BTreeMap::<&str, i64>::new();
        for (check, outcome) in checks.iter().zip(&outcomes) {
            if let Some(key) = (counter.key)(check).filter(|_| outcome.is_ok()) {
                *requested.entry(key).or_default() += 1;
            }
        }
        let Some(now) = checks.iter().map(|check| check.now).max() else {
            return Ok(outcomes);
        };
        let windows = counter.add(writers, observer, &requested, now).await?;
        for (check, outcome) in checks.iter().zip(&mut outcomes) {
            let Some(key) = (counter.key)(check).filter(|_| outcome.is_ok()) else {
                continue;
            };
            let window = windows.get(key);
            let window = window.ok_or_else(|| Error::internal("a counter returned no window"))?;
            // The checks of this batch are the last ones of the window.
            let remaining = requested.entry(key).or_default();
            let nth = window.checks - *remaining + 1;
            *remaining -= 1;
            if nth > i64::from(check.per_minute) {
                let retry_after = (window.end - now).to_std().unwrap_or_default();
                *outcome = Err(Error::FindLimit { limit, retry_after });
            }
        }
    }
    Ok(outcomes)
}

/// A table of counts.
struct Counter {
    table: &'static str,
    column: &'static str,
    /// The key of a check that this table counts.
    key: fn(&ChannelCheck) -> Option<&str>,
}

const AGENTS: Counter = Counter {
    table: "channel_check_agents",
    column: "agent",
    key: |check| {
        let customer = check.customer_number.as_ref();
        customer.map(|_| check.agent.0.as_str())
    },
};
const CUSTOMERS: Counter = Counter {
    table: "channel_check_customers",
    column: "customer_number",
    key: |check| check.customer_number.as_ref().map(CustomerNumber::as_str),
};
const SEARCHES: Counter = Counter {
    table: "customer_search_agents",
    column: "agent",
    key: |check| {
        let is_search = check.customer_number.is_none();
        is_search.then_some(check.agent.0.as_str())
    },
};

/// Sorted, so that concurrent statements cannot deadlock. Rows of values, as a distributed database
/// takes no parameters of an INSERT … SELECT into its shards.
const ADD: &str = "\
    INSERT INTO {table} ({column}, checks, window_end) \
    VALUES {rows} \
    ON CONFLICT ({column}) DO UPDATE SET \
      checks = excluded.checks \
        + CASE WHEN {table}.window_end <= $2 THEN 0 ELSE {table}.checks END, \
      window_end = \
        CASE WHEN {table}.window_end <= $2 THEN excluded.window_end ELSE {table}.window_end END \
    RETURNING {column}, checks, window_end";

impl Counter {
    /// Builds the statement for this number of keys.
    fn sql(&self, count: usize) -> String {
        let row = |index: usize| format!("(${}, ${}, $1)", 2 * index + 3, 2 * index + 4);
        let rows: Vec<_> = (0..count).map(row).collect();
        ADD.replace("{table}", self.table)
            .replace("{column}", self.column)
            .replace("{rows}", &rows.join(", "))
    }

    /// Adds to the windows, restarts those that have ended, and returns them.
    async fn add(
        &self,
        writers: &DatabaseConnection,
        observer: &StatementObserver,
        requested: &BTreeMap<&str, i64>,
        now: DateTime<Utc>,
    ) -> Result<Windows> {
        if requested.is_empty() {
            return Ok(Windows::new());
        }
        if writers.get_database_backend() == DbBackend::Postgres {
            let sql: Arc<str> = self.sql(requested.len()).into();
            // Not kept, as its text depends on the number of keys.
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&sql)))
                .persistent(false)
                .bind(now + WINDOW)
                .bind(now);
            for (key, count) in requested {
                query = query.bind(*key).bind(*count);
            }
            let pool = writers.get_postgres_connection_pool();
            let rows = async {
                let mut connection = acquire_tested(pool).await?;
                let added = query.fetch_all(&mut *connection);
                let sql = || AssertSqlSafe(sql).into_sql_str();
                observer
                    .observe(DatabaseOperation::Insert, sql, added)
                    .await
            };
            let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
            let window = |row: &sqlx::postgres::PgRow| {
                let (checks, end) = (row.try_get(1)?, row.try_get(2)?);
                Ok((row.try_get(0)?, CheckWindow { checks, end }))
            };
            let windows: sqlx::Result<Windows> = rows.iter().map(window).collect();
            return Ok(windows.map_err(StorageError::from)?);
        }
        let mut values: Vec<Value> = vec![(now + WINDOW).into(), now.into()];
        for (key, count) in requested {
            values.extend([(*key).into(), (*count).into()]);
        }
        let sql = self.sql(requested.len());
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        let rows = writers.query_all_raw(statement);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        let window = |row: &QueryResult| {
            let (checks, end) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            Ok((row.try_get_by_index(0)?, CheckWindow { checks, end }))
        };
        let windows: std::result::Result<Windows, sea_orm::TryGetError> =
            rows.iter().map(window).collect();
        Ok(windows.map_err(|error| StorageError::from(sea_orm::DbErr::from(error)))?)
    }
}
