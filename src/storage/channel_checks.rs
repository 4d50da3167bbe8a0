//! Channel checks within the current minute, of each agent and each customer. Requests at the same
//! moment are counted by one statement for their agents and one for their customers.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Database, bounded};
use crate::storage::{error::Failure, pools::reader_pool::as_json};
use crate::{
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, FindLimit, Result},
};

const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// A check that is to be counted.
#[derive(Clone, Debug)]
pub struct ChannelCheck {
    /// The agent who asks.
    pub agent: Actor,
    /// The customer, on file or not.
    pub customer_number: CustomerNumber,
    /// Checks within a minute, of each of the two.
    pub per_minute: u32,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The checks of an agent or a customer since its window began.
#[derive(Clone, Copy)]
struct Window {
    checks: i64,
    end: DateTime<Utc>,
}

type Windows = BTreeMap<String, Window>;

impl Database {
    /// Counts a check.
    ///
    /// # Errors
    /// [`Error::FindLimit`] beyond `per_minute`: such a check takes none of the customer's.
    pub async fn count_channel_check(&self, check: ChannelCheck) -> Result<()> {
        self.channel_checks.ask(check).await?
    }
}

/// Counts the checks, those that their agent may not make for no customer.
pub(super) async fn count_many(
    writers: &DatabaseConnection,
    checks: &[ChannelCheck],
) -> Result<Vec<Result<()>>> {
    let mut outcomes = vec![Ok(()); checks.len()];
    for (counted, limit) in [
        (&AGENTS, FindLimit::Agent),
        (&CUSTOMERS, FindLimit::Customer),
    ] {
        let mut asked = BTreeMap::<&str, i64>::new();
        for (check, outcome) in checks.iter().zip(&outcomes) {
            if outcome.is_ok() {
                *asked.entry((counted.key)(check)).or_default() += 1;
            }
        }
        let Some(now) = checks.iter().map(|check| check.now).max() else {
            return Ok(outcomes);
        };
        let windows = counted.add(writers, &asked, now).await?;
        for (check, outcome) in checks.iter().zip(&mut outcomes) {
            if outcome.is_err() {
                continue;
            }
            let key = (counted.key)(check);
            let window = windows.get(key);
            let window = window.ok_or_else(|| Error::internal("a count returned no window"))?;
            // The checks of this batch are the last of the window.
            let left = asked.entry(key).or_default();
            let nth = window.checks - *left + 1;
            *left -= 1;
            if nth > i64::from(check.per_minute) {
                let retry_after = (window.end - now).to_std().unwrap_or_default();
                *outcome = Err(Error::FindLimit { limit, retry_after });
            }
        }
    }
    Ok(outcomes)
}

/// What checks are counted by.
struct Counted {
    table: &'static str,
    column: &'static str,
    key: fn(&ChannelCheck) -> &str,
}

const AGENTS: Counted = Counted {
    table: "channel_check_agents",
    column: "agent",
    key: |check| &check.agent.0,
};
const CUSTOMERS: Counted = Counted {
    table: "channel_check_customers",
    column: "customer_number",
    key: |check| check.customer_number.as_str(),
};

const ASKED_OF_POSTGRES: &str =
    "unnest($3::text[], $4::bigint[]) AS asked (key, checks) WHERE true";
const ASKED_OF_SQLITE: &str = "(SELECT value ->> 0 AS key, value ->> 1 AS checks \
     FROM json_each($3)) WHERE true";

/// Sorted, so that two statements do not wait for each other's rows.
const ADD: &str = "\
    INSERT INTO {table} ({column}, checks, window_end) \
    SELECT key, checks, $1 FROM {asked} ORDER BY key \
    ON CONFLICT ({column}) DO UPDATE SET \
      checks = excluded.checks \
        + CASE WHEN {table}.window_end <= $2 THEN 0 ELSE {table}.checks END, \
      window_end = \
        CASE WHEN {table}.window_end <= $2 THEN excluded.window_end ELSE {table}.window_end END \
    RETURNING {column}, checks, window_end";

impl Counted {
    fn sql(&self, asked: &str) -> String {
        ADD.replace("{table}", self.table)
            .replace("{column}", self.column)
            .replace("{asked}", asked)
    }

    /// Adds to the windows, of which those that have ended begin again, and returns them.
    async fn add(
        &self,
        writers: &DatabaseConnection,
        asked: &BTreeMap<&str, i64>,
        now: DateTime<Utc>,
    ) -> Result<Windows> {
        if asked.is_empty() {
            return Ok(Windows::new());
        }
        if writers.get_database_backend() == DbBackend::Postgres {
            let (keys, counts): (Vec<_>, Vec<_>) = asked.iter().map(|(k, n)| (*k, *n)).unzip();
            let query = sqlx::query(AssertSqlSafe(self.sql(ASKED_OF_POSTGRES)))
                .bind(now + WINDOW)
                .bind(now)
                .bind(keys)
                .bind(counts);
            let rows = query.fetch_all(writers.get_postgres_connection_pool());
            let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
            let window = |row: &sqlx::postgres::PgRow| {
                let (checks, end) = (row.try_get(1)?, row.try_get(2)?);
                Ok((row.try_get(0)?, Window { checks, end }))
            };
            let windows: sqlx::Result<Windows> = rows.iter().map(window).collect();
            return Ok(windows.map_err(Failure::from)?);
        }
        let pairs: Vec<_> = asked.iter().collect();
        let values = [(now + WINDOW).into(), now.into(), as_json(&pairs)?.into()];
        let sql = self.sql(ASKED_OF_SQLITE);
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        let rows = writers.query_all_raw(statement);
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        let window = |row: &QueryResult| {
            let (checks, end) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            Ok((row.try_get_by_index(0)?, Window { checks, end }))
        };
        let windows: std::result::Result<Windows, sea_orm::TryGetError> =
            rows.iter().map(window).collect();
        Ok(windows.map_err(|error| Failure::from(sea_orm::DbErr::from(error)))?)
    }
}
