//! Records every statement of a pool: those of the ORM by its callback, the others by a wrapper around
//! their execution.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DatabaseConnection;
use sqlx::SqlStr;

use super::{super::tables::TABLE_DISTRIBUTIONS, url::DatabaseUrl};
use crate::observability::{
    metrics::{DatabaseOperation, DatabasePoolName},
    statement::{DatabasePool, Statement},
};

/// The observer of a pool. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StatementObserver(Arc<DatabasePool>);

impl StatementObserver {
    /// Creates the observer of the pool `name`.
    pub(super) fn new(url: &DatabaseUrl, name: DatabasePoolName) -> Self {
        let options = (!url.is_sqlite()).then(|| url.postgres()).flatten();
        Self(Arc::new(DatabasePool {
            name,
            system: if url.is_sqlite() {
                "sqlite"
            } else {
                "postgresql"
            },
            namespace: options
                .as_ref()
                .and_then(|options| options.get_database())
                .map(str::to_owned),
            address: options.as_ref().map(|options| match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => options.get_host().to_owned(),
            }),
            port: options.map(|options| options.get_port()),
        }))
    }

    /// Records the statements that the ORM runs on these connections, except BEGIN, COMMIT and ROLLBACK.
    pub(super) fn observe_all(&self, connections: &mut DatabaseConnection) {
        let observer = self.clone();
        connections.set_metric_callback(move |info| {
            let sql = &info.statement.sql;
            observer.record(operation_of(sql), info.elapsed, info.failed, || {
                table_of(sql)
            });
        });
    }

    /// Records a statement that the ORM does not run. `sql` returns its text if it is needed.
    pub(crate) async fn observe<T, E>(
        &self,
        operation: DatabaseOperation,
        sql: impl FnOnce() -> SqlStr,
        statement: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = statement.await;
        let table = || table_of(sql().as_str());
        self.record(operation, started.elapsed(), result.is_err(), table);
        result
    }

    /// Records a step of a transaction.
    pub(crate) async fn observe_step<T, E>(
        &self,
        operation: DatabaseOperation,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = step.await;
        self.record(operation, started.elapsed(), result.is_err(), || None);
        result
    }

    fn record(
        &self,
        operation: DatabaseOperation,
        elapsed: Duration,
        has_failed: bool,
        table: impl FnOnce() -> Option<&'static str>,
    ) {
        let statement = Statement {
            operation,
            elapsed,
            has_failed,
        };
        self.0.record(statement, table);
    }
}

/// Returns the words of a statement outside of parentheses, without quotation marks.
fn words(sql: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    sql.split(|char: char| !(char.is_alphanumeric() || "_()".contains(char)))
        .flat_map(|text| text.split_inclusive(['(', ')']))
        .filter_map(move |text| {
            let word = text.trim_end_matches(['(', ')']);
            let is_outside = depth == 0;
            if text.ends_with('(') {
                depth += 1;
            } else if text.ends_with(')') {
                depth = depth.saturating_sub(1);
            }
            (is_outside && !word.is_empty()).then_some(word)
        })
}

/// Returns the verb of a statement, of one with common table expressions that of its last part.
fn operation_of(sql: &str) -> DatabaseOperation {
    words(sql)
        .find_map(verb)
        .unwrap_or(DatabaseOperation::Other)
}

fn verb(word: &str) -> Option<DatabaseOperation> {
    let mut operations = DatabaseOperation::ALL.iter().copied();
    operations.find(|operation| operation.as_str() == word)
}

/// Returns the first table that a statement reads or writes outside of parentheses.
fn table_of(sql: &str) -> Option<&'static str> {
    let mut words = words(sql);
    let operation = words.find_map(verb)?;
    let name = if operation == DatabaseOperation::Update {
        words.next()?
    } else {
        let mut words = words.skip_while(|word| !matches!(*word, "FROM" | "INTO"));
        words.nth(1)?
    };
    let tables = TABLE_DISTRIBUTIONS.into_iter();
    tables.map(|(table, _)| table).find(|table| *table == name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "SELECT \"contacts\".\"id\" FROM \"contacts\" WHERE x = $1",
        "SELECT",
        Some("contacts")
    )]
    #[case(
        "SELECT (SELECT 1 FROM customers), 2 FROM contacts",
        "SELECT",
        Some("contacts")
    )]
    #[case(
        "INSERT INTO \"audit_events\" (a) VALUES ($1)",
        "INSERT",
        Some("audit_events")
    )]
    #[case(
        "UPDATE \"customers\" SET a = $1 RETURNING b",
        "UPDATE",
        Some("customers")
    )]
    #[case(
        "DELETE FROM outbox_mails WHERE id = $1",
        "DELETE",
        Some("outbox_mails")
    )]
    #[case(
        "WITH agent AS (INSERT INTO contacts VALUES (f($1))) UPDATE customers SET a = 1",
        "UPDATE",
        Some("customers")
    )]
    #[case("SELECT name FROM pg_settings", "SELECT", None)]
    #[case("COMMIT", "COMMIT", None)]
    #[case("SET LOCAL enable_seqscan = off", "OTHER", None)]
    #[case("SELECT 'customers' FROM unnest($1::text[])", "SELECT", None)]
    fn operation_and_table_are_found(
        #[case] sql: &str,
        #[case] operation: &str,
        #[case] table: Option<&str>,
    ) {
        assert_eq!(
            (operation_of(sql).as_str(), table_of(sql)),
            (operation, table)
        );
    }
}
