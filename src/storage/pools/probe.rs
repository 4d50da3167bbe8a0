//! The probe before the pools open: a single connection, whose error names the cause. A pool
//! reports most failures as a timeout. It also finds out what the server is.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection, Row, postgres::PgConnectOptions};

use super::{super::error::StorageError, url::DatabaseUrl};

const PAUSE: Duration = Duration::from_millis(100);
const SERVER: &str = "SELECT current_setting('server_encoding'), \
    EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')";

/// The properties of a server that the pools depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerTraits {
    /// True if the database has Citus, so that its tables may be distributed.
    pub(crate) has_citus: bool,
}

/// Connects once and checks the encoding, which no session setting can change. Transient causes,
/// such as a server that is starting, are retried until `timeout`.
///
/// # Errors
/// The address and the cause in one line, free of secrets.
pub(super) async fn probe(
    url: &DatabaseUrl,
    options: &PgConnectOptions,
    timeout: Duration,
) -> Result<ServerTraits, String> {
    if let Some(why) = url.unreadable_file() {
        return Err(why);
    }
    let (started, address) = (Instant::now(), url.address());
    let mut last = None;
    loop {
        let remaining = timeout.saturating_sub(started.elapsed());
        match tokio::time::timeout(remaining, describe_server(options)).await {
            Ok(Ok((encoding, found))) => return check_utf8(&encoding).map(|()| found),
            Ok(Err(failure)) => {
                let why = failure.describe_connection(&address);
                if !failure.is_transient() || started.elapsed() + PAUSE >= timeout {
                    return Err(why);
                }
                last = Some(why);
            }
            Err(_) => {
                return Err(last.unwrap_or_else(|| format!("{address} did not answer in time")));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn describe_server(
    options: &PgConnectOptions,
) -> Result<(String, ServerTraits), StorageError> {
    let mut connection = options.connect().await?;
    // A simple query, as PgBouncer's transaction mode requires.
    let row = sqlx::raw_sql(SERVER).fetch_one(&mut connection).await?;
    let encoding = row.try_get(0)?;
    let has_citus = row.try_get(1)?;
    // The probe succeeded even if the server does not confirm the end.
    let _ = connection.close().await;
    Ok((encoding, ServerTraits { has_citus }))
}

fn check_utf8(encoding: &str) -> Result<(), String> {
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(format!(
        "the database's encoding is {encoding} and must be UTF8: recreate it with CREATE \
         DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    ))
}
