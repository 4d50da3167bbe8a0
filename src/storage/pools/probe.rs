//! One connection before the pools: a pool tells most failures as a lack of time.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection, Row, postgres::PgConnectOptions};

use super::url::DatabaseUrl;
use crate::storage::error::Failure;

const PAUSE: Duration = Duration::from_millis(100);
const ENCODING: &str = "SELECT current_setting('server_encoding')";

/// Connects once, for `patience` at most, and looks at what no setting of a session could mend.
/// Causes that may pass, such as a server that starts, are waited for.
///
/// # Errors
/// A line that names the place and the cause, free of secrets.
pub(super) async fn probe(
    url: &DatabaseUrl,
    options: &PgConnectOptions,
    patience: Duration,
) -> Result<(), String> {
    if let Some(why) = url.unreadable_file() {
        return Err(why);
    }
    let (begun, place) = (Instant::now(), url.place());
    let mut last = None;
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, encoding(options)).await {
            Ok(Ok(encoding)) => return expect_utf8(&encoding),
            Ok(Err(failure)) => {
                let why = failure.why_not_connected(&place);
                if !failure.may_pass() || begun.elapsed() + PAUSE >= patience {
                    return Err(why);
                }
                last = Some(why);
            }
            Err(_) => {
                return Err(last.unwrap_or_else(|| format!("{place} does not answer in time")));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn encoding(options: &PgConnectOptions) -> Result<String, Failure> {
    let mut connection = options.connect().await?;
    // In one step, as PgBouncer's transaction mode wants it.
    let row = sqlx::raw_sql(ENCODING).fetch_one(&mut connection).await?;
    let encoding = row.try_get(0)?;
    // A server that does not say goodbye lets it in all the same.
    let _ = connection.close().await;
    Ok(encoding)
}

fn expect_utf8(encoding: &str) -> Result<(), String> {
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(format!(
        "the database's encoding is {encoding} and must be UTF8: create it again with CREATE \
         DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    ))
}
