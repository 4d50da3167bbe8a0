//! Rows that are kept for a time only: deleted by parts, the oldest first.
//!
//! A part is a short transaction, so that a run that has millions of rows to delete holds nobody
//! up; it pauses between the parts for longer than they take. A part that fails is tried again
//! with fewer rows: on a slow disk the usual number may take longer than a statement may.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Database, Outcome, Transaction};
use crate::error::Result;
use crate::storage::error::Failure;

/// How many rows a part has at most, and at least.
const MOST: u64 = 1_000;
const FEWEST: u64 = 10;
/// Of the time that a part took.
const PAUSE_FACTOR: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Of a long run.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// Rows of a table that are too old one day.
#[derive(Clone, Copy, Debug)]
struct Kept {
    table: &'static str,
    /// Which rows: what their index is limited to, or begins with.
    which: &'static str,
    /// The time by which they are too old, which comes next in the index.
    time: &'static str,
    /// `<`, or `<=`.
    until: &'static str,
    /// Their order in the index.
    order: &'static str,
    /// What becomes of them.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Delete,
    /// Deleted, as the feed has to know.
    DeleteFromFeed,
    /// This column is emptied.
    Empty(&'static str),
}

const EVENTS: Kept = Kept {
    table: "audit_events",
    which: "feed_position IS NOT NULL",
    time: "event_time",
    until: "<",
    order: "event_time",
    end: End::DeleteFromFeed,
};
const SEALED_NUMBERS: Kept = Kept {
    which: "sealed_customer_number IS NOT NULL",
    end: End::Empty("sealed_customer_number"),
    ..EVENTS
};
const REQUEST_IDS: Kept = Kept {
    table: "request_ids",
    which: "0 = 0",
    time: "expire_time",
    until: "<=",
    order: "expire_time",
    end: End::Delete,
};
const CONFIRMED: Kept = Kept {
    table: "email_confirmations",
    which: "state = 'confirmed'",
    order: "state, expire_time",
    ..REQUEST_IDS
};
const EXPIRED: Kept = Kept {
    which: "state = 'expired'",
    ..CONFIRMED
};
const SUPERSEDED: Kept = Kept {
    which: "state = 'superseded'",
    ..CONFIRMED
};
const DEAD_MAILS: Kept = Kept {
    table: "outbox_mails",
    which: "state = 'dead'",
    time: "due_time",
    until: "<=",
    order: "state, due_time",
    end: End::Delete,
};
const AGENTS: Kept = Kept {
    table: "phone_password_agents",
    time: "update_time",
    order: "update_time",
    ..REQUEST_IDS
};
const CALLS: Kept = Kept {
    table: "phone_password_calls",
    ..REQUEST_IDS
};
/// Tries on what is no password.
const TRIES_ON_NOTHING: Kept = Kept {
    table: "phone_passwords",
    which: "set_time IS NULL",
    time: "update_time",
    until: "<=",
    order: "set_time, update_time",
    end: End::Delete,
};

const MAIL_RECIPIENTS: Kept = Kept {
    table: "mail_recipients",
    time: "last_time",
    order: "last_time",
    ..REQUEST_IDS
};
const MAIL_CUSTOMERS: Kept = Kept {
    table: "mail_customers",
    ..MAIL_RECIPIENTS
};
const CHECKS_OF_AGENTS: Kept = Kept {
    table: "channel_check_agents",
    time: "window_end",
    order: "window_end",
    ..REQUEST_IDS
};
const CHECKS_OF_CUSTOMERS: Kept = Kept {
    table: "channel_check_customers",
    ..CHECKS_OF_AGENTS
};

/// What came of a part.
#[derive(Clone, Copy, Debug)]
struct Part {
    count: u64,
    /// The time of the newest row: the next part begins there, past what this one deleted.
    last: DateTime<Utc>,
}

impl Database {
    /// Deletes events of before `time` that had their place in the feed, and gives their count.
    /// The feed then knows from where on it is whole.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_old_audit_events(&self, time: DateTime<Utc>) -> Result<u64> {
        self.end_all(&EVENTS, time).await
    }

    /// Deletes the sealed numbers in events of before `time`, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn clear_sealed_numbers(&self, time: DateTime<Utc>) -> Result<u64> {
        self.end_all(&SEALED_NUMBERS, time).await
    }

    /// Deletes what has expired at `now`, of any actor, and gives the count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_expired_requests(&self, now: DateTime<Utc>) -> Result<u64> {
        self.end_all(&REQUEST_IDS, now).await
    }

    /// Forgets the links, of any customer, that expired before `time`, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_confirmations_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let mut count = 0;
        for kept in [&CONFIRMED, &EXPIRED, &SUPERSEDED] {
            count += self.end_all(kept, time).await?;
        }
        Ok(count)
    }

    /// Deletes the dead letters, of any customer, that died before `time`, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_dead_mails_before(&self, time: DateTime<Utc>) -> Result<u64> {
        self.end_all(&DEAD_MAILS, time).await
    }

    /// Forgets the tries of agents of which none is younger than `time`, and the calls that are
    /// over at `now`. Gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_old_tries(&self, now: DateTime<Utc>, time: DateTime<Utc>) -> Result<u64> {
        let agents = self.end_all(&AGENTS, time).await?;
        Ok(agents + self.end_all(&CALLS, now).await?)
    }

    /// Forgets the tries on what is no password, of which none is younger than `time`, and gives
    /// their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_tries_on_nothing(&self, time: DateTime<Utc>) -> Result<u64> {
        self.end_all(&TRIES_ON_NOTHING, time).await
    }

    /// Deletes the counts of recipients and customers whose last mail was before `time`, and
    /// returns their number.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_mail_counts_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let of_recipients = self.end_all(&MAIL_RECIPIENTS, time).await?;
        Ok(of_recipients + self.end_all(&MAIL_CUSTOMERS, time).await?)
    }

    /// Deletes the windows of channel checks that ended before `time`, and returns their number.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_channel_checks_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let of_agents = self.end_all(&CHECKS_OF_AGENTS, time).await?;
        Ok(of_agents + self.end_all(&CHECKS_OF_CUSTOMERS, time).await?)
    }

    async fn end_all(&self, kept: &'static Kept, until: DateTime<Utc>) -> Result<u64> {
        let (mut count, mut limit, mut from) = (0, MOST, DateTime::UNIX_EPOCH);
        let mut reported = Instant::now();
        loop {
            let begun = Instant::now();
            match self.end_some(kept, from, until, limit).await {
                Ok(part) => {
                    count += part.count;
                    if part.count < limit {
                        return Ok(count);
                    }
                    from = part.last;
                    limit = MOST.min(limit * 2);
                }
                Err(error) if limit == FEWEST => return Err(error),
                Err(error) => {
                    tracing::warn!(table = kept.table, rows = limit, %error, "tried with fewer rows");
                    limit = FEWEST.max(limit / 2);
                }
            }
            if reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                tracing::info!(table = kept.table, count, until = %from, "old rows seen to so far");
            }
            let pause = begun.elapsed() * PAUSE_FACTOR;
            tokio::time::sleep(pause.max(SHORTEST_PAUSE)).await;
        }
    }

    async fn end_some(
        &self,
        kept: &'static Kept,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u64,
    ) -> Result<Part> {
        self.transaction(move |transaction| {
            Box::pin(async move {
                let part = transaction.end_some(kept, from, until, limit).await?;
                Ok(Outcome::Commit(part))
            })
        })
        .await
    }
}

impl Transaction {
    async fn end_some(
        &self,
        kept: &Kept,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u64,
    ) -> Result<Part> {
        self.go_by_indexes().await?;
        let is_feed = kept.end == End::DeleteFromFeed;
        if is_feed {
            // First, as an erasure does.
            self.hold_feed().await?;
        }
        let backend = self.inner.get_database_backend();
        let values = [from.into(), until.into()];
        let statement = Statement::from_sql_and_values(backend, kept.sql(backend, limit), values);
        let rows = self.inner.query_all_raw(statement).await;
        let rows = rows.map_err(Failure::from)?;
        if backend == DbBackend::Sqlite {
            for row in &rows {
                let id: i64 = row.try_get("", "rowid").map_err(Failure::from)?;
                let end = format!("{} WHERE rowid = $1", kept.end());
                let end = Statement::from_sql_and_values(backend, end, [id.into()]);
                self.inner.execute_raw(end).await.map_err(Failure::from)?;
            }
        }
        let (mut last, mut position) = (from, 0);
        for row in &rows {
            last = last.max(row.try_get_by_index(0).map_err(Failure::from)?);
            if is_feed {
                position = position.max(row.try_get_by_index(1).map_err(Failure::from)?);
            }
        }
        if position > 0 {
            self.forget_feed_until(position).await?;
        }
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(Part { count, last })
    }
}

impl Kept {
    /// Deletes some rows on `PostgreSQL`; finds them on SQLite, where those of a list are sought in
    /// the whole table if it is believed to be small. They are found by their place in the table:
    /// by their key they could be joined from either side. Those that somebody else has locked are
    /// left to the next run.
    fn sql(&self, backend: DbBackend, limit: u64) -> String {
        let Self {
            table,
            which,
            time,
            until,
            order,
            ..
        } = self;
        let given = match self.end {
            End::DeleteFromFeed => format!("{time}, feed_position"),
            End::Delete | End::Empty(_) => (*time).to_owned(),
        };
        let old = format!(
            "FROM {table} WHERE {which} AND {time} >= $1 AND {time} {until} $2 \
             ORDER BY {order} LIMIT {limit}"
        );
        if backend == DbBackend::Sqlite {
            return format!("SELECT {given}, rowid {old}");
        }
        let end = self.end();
        format!(
            "{end} WHERE ctid = ANY (ARRAY(SELECT ctid {old} FOR UPDATE SKIP LOCKED)) \
             RETURNING {given}"
        )
    }

    fn end(&self) -> String {
        let table = self.table;
        match self.end {
            End::Delete | End::DeleteFromFeed => format!("DELETE FROM {table}"),
            End::Empty(column) => format!("UPDATE {table} SET {column} = NULL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::storage::{DatabaseUrl, change_feed::PLACE_SQLITE};

    const ALL: [&Kept; 14] = [
        &EVENTS,
        &SEALED_NUMBERS,
        &REQUEST_IDS,
        &CONFIRMED,
        &EXPIRED,
        &SUPERSEDED,
        &DEAD_MAILS,
        &AGENTS,
        &CALLS,
        &TRIES_ON_NOTHING,
        &MAIL_RECIPIENTS,
        &MAIL_CUSTOMERS,
        &CHECKS_OF_AGENTS,
        &CHECKS_OF_CUSTOMERS,
    ];
    /// Statistics of all rows alike.
    const ONE_OF_ALL: &str = "\
        INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
          changed_fields) VALUES ('K-1', 1, x'00', '2026-01-01', '', '', '[]'); ANALYZE";

    async fn assert_goes_by_indexes(database: &Database, statement: &str) {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let time = DateTime::<Utc>::UNIX_EPOCH;
        let values = [time.into(), time.into()];
        let explain = Statement::from_sql_and_values(DbBackend::Sqlite, explain, values);
        let rows = database.writers.query_all_raw(explain).await.unwrap();
        let steps = rows.iter().map(|row| row.try_get("", "detail").unwrap());
        let steps: Vec<String> = steps.collect();
        let is_whole = |step: &String| {
            let scanned = step.strip_prefix("SCAN ");
            scanned.is_some_and(|name| ALL.iter().any(|kept| kept.table == name))
        };
        let is_sorted = |step: &String| step.contains("TEMP B-TREE");
        assert!(!steps.is_empty(), "{statement}");
        let found = steps.iter().find(|step| is_whole(step) || is_sorted(step));
        assert_eq!(found, None, "{statement}: {steps:#?}");
    }

    #[tokio::test]
    async fn every_background_statement_of_sqlite_goes_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::of_file(&folder.path().join("contacts.db")).unwrap();
        let database = Database::connect(&url).await.unwrap();
        database.migrate().await.unwrap();
        for statistics in ["", "ANALYZE", ONE_OF_ALL] {
            let made = database.writers.execute_unprepared(statistics).await;
            made.unwrap();
            for kept in ALL {
                assert_goes_by_indexes(&database, &kept.sql(DbBackend::Sqlite, 1_000)).await;
                let end = format!("{} WHERE rowid = $1", kept.end());
                assert_goes_by_indexes(&database, &end).await;
            }
            assert_goes_by_indexes(&database, PLACE_SQLITE).await;
        }
    }
}
