//! Retries of commands while a database fails over.

use std::time::Duration;

use contact_service::error::{Error, Result};

/// With doubled pauses these attempts last 15 seconds; a failover takes a few.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Runs `attempt`, and again while the database is unavailable or overloaded.
pub(crate) async fn with_retry<T, F: Future<Output = Result<T>>>(
    attempt: impl Fn() -> F,
) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(Error::DatabaseUnavailable | Error::Conflict | Error::Overloaded { .. }) => {
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
        pause *= 2;
    }
    attempt().await
}
