//! A limit for everything that tests wait for.

use std::time::Duration;

/// Far above the time that any step takes; a test that reaches it has failed.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the output of `work`, or panics after [`TIMEOUT`].
pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, work)
        .await
        .expect("should have finished in time")
}
