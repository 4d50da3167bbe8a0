//! An import while another transaction has a lock.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use super::{
    assert_output, killed::sandbox_with_customers, malformed_rows::Cells, row_counts::RowCounts,
    write,
};
use crate::process::Backend;

const PATIENCE: Duration = Duration::from_mins(1);

/// A failed transaction of several customers is repeated for each of them.
#[tokio::test]
async fn locked_customer_delays_its_own_rows_only() {
    let sandbox = sandbox_with_customers(Backend::Postgres, 5).await;
    let rows = (0..5).map(|nth| Cells::valid(&format!("B-{nth}"), "Anna").line());
    write(&sandbox, &rows.collect::<Vec<_>>());
    let before = RowCounts::of(&sandbox).await;
    let mut other = PgConnection::connect(&sandbox.database_url())
        .await
        .unwrap();
    other.execute("BEGIN").await.unwrap();
    let lock = "UPDATE customers SET version = version WHERE customer_number = 'B-2'";
    other.execute(lock).await.unwrap();
    let running = sandbox.start(&["import", "contacts.csv"]);
    let mut imported = 0;
    while imported < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        imported = RowCounts::of(&sandbox).await.contacts - before.contacts;
    }
    // B-2 is the next one, in the order of their numbers.
    assert_eq!(imported, 2);
    other.execute("ROLLBACK").await.unwrap();
    let ended = running.wait_for(PATIENCE);
    assert_output(&ended, 0, "5 imported, 0 already on file, 0 rejected");
    RowCounts::of(&sandbox).await.assert_gained(before, 5);
}
