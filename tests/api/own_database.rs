//! A PostgreSQL database for one test, and the transactions that are open in it.

use std::time::Duration;

use crate::{
    citus,
    harness::{Backend, execute, query_number, unique_name},
};

/// Creates a database, whose connections can be distinguished from those of other tests.
pub async fn own_postgres_database() -> String {
    citus::create_database(&unique_name()).await
}

/// Asserts that all transactions end soon, except for `occupied` ones of the test itself.
///
/// Statements of abandoned requests may still run.
pub async fn assert_no_open_transaction(url: &str, backend: Backend, occupied: usize) {
    if backend == Backend::Sqlite {
        // Waits up to five seconds for the file's only lock.
        execute(url, "BEGIN IMMEDIATE; ROLLBACK").await;
        return;
    }
    let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'contact-service' AND xact_start IS NOT NULL";
    let occupied = i64::try_from(occupied).unwrap();
    // The server would end an idle transaction after ten seconds.
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        while query_number(url, open).await > occupied {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    ended.await.expect("a transaction stayed open");
}
