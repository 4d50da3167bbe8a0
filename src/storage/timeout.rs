//! The deadline of every statement, independent of the database's own timeouts.

use std::time::Duration;

use crate::error::{Error, Result};

/// Longer than the database's own timeouts, shorter than the deadline of a request.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Awaits a result of the database for at most four seconds. The connection to a host that
/// vanished never returns: the server's own timeouts vanished with it.
///
/// # Errors
/// [`Error::DatabaseUnavailable`] after the deadline.
pub(super) async fn with_timeout<T>(result: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(STATEMENT_TIMEOUT, result)
        .await
        .unwrap_or_else(|_| {
            tracing::warn!("database statement timed out");
            Err(Error::DatabaseUnavailable)
        })
}
