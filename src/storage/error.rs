//! Errors of the database, and their translation into those of the domain.
//!
//! The only file that looks inside a `DbErr`. Its texts may hold values of rows, so only error
//! codes and names of constraints are logged.

use std::{fmt, io};

use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::{
    error::{Error, Result, connection_cause},
    observability::metrics::NotReady,
};

/// The triggers that enforce rule 2, as their error names them.
pub(super) const KEEP_A_STANDARD: &str = "contacts_keep_a_standard";

/// A failed statement.
pub(super) struct StorageError(DbErr);

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

impl From<SqlxError> for StorageError {
    fn from(error: SqlxError) -> Self {
        Self(DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }
}

impl From<StorageError> for Error {
    fn from(failure: StorageError) -> Self {
        let error = failure.to_error();
        if error == Error::DatabaseUnavailable {
            tracing::warn!(%failure, "database unavailable");
        }
        error
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the libraries' enums are open: an unknown error is a defect"
)]
/// Formats the class, code and constraint of the error, without values of rows.
impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.0, DbErr::ConnectionAcquire(_)) {
            return f.write_str("connection pool timed out");
        }
        let Some(error) = self.sqlx_error() else {
            return f.write_str("the database layer failed to read or build a row");
        };
        match error {
            SqlxError::Database(error) => {
                let code = error.code().unwrap_or_default();
                let constraint = error.constraint().unwrap_or_default();
                write!(f, "database error {code} {constraint}")
            }
            SqlxError::Io(error) => write!(f, "connection: {}", error.kind()),
            SqlxError::Tls(_) => f.write_str("connection: TLS"),
            SqlxError::PoolTimedOut => f.write_str("connection pool timed out"),
            SqlxError::PoolClosed => f.write_str("the pool is closed"),
            _ => f.write_str("the driver failed to run a statement"),
        }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the libraries' enums are open: an unknown error is a defect"
)]
impl StorageError {
    fn sqlx_error(&self) -> Option<&SqlxError> {
        match &self.0 {
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
            _ => None,
        }
    }

    /// Describes why the connection to `address` failed, in the line that aborts the start.
    pub(super) fn describe_connection(&self, address: &str) -> String {
        let Some(error) = self.sqlx_error() else {
            return format!("{address} did not answer in time");
        };
        let code = match error {
            SqlxError::Database(error) => error.code().unwrap_or_default(),
            SqlxError::Io(error) => return describe_io(address, error),
            SqlxError::Tls(error) => return format!("{address}: no TLS: {error}"),
            SqlxError::PoolTimedOut => return format!("{address} did not answer in time"),
            SqlxError::Protocol(_) => {
                return format!(
                    "{address} is not PostgreSQL, or requires an authentication other than a \
                     password (SCRAM, MD5)"
                );
            }
            SqlxError::Configuration(_) => {
                return "sslcert and sslkey must be set together".to_owned();
            }
            _ => return self.to_string(),
        };
        match code.as_ref() {
            "28P01" => format!("{address} rejects the password of this user"),
            "28000" => format!(
                "{address} does not let this user in: check its name, its LOGIN attribute and pg_hba.conf"
            ),
            "3D000" => format!("{address} has no database of this name"),
            "42501" => format!("{address}: the user lacks the right CONNECT on the database"),
            "53300" => format!("{address} takes no more connections (max_connections)"),
            "57P03" => format!("{address} is starting or shutting down"),
            "5" | "261" | "517" => format!("{address} is locked by another process"),
            "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => {
                format!("{address} or its folder cannot be written")
            }
            "14" | "270" | "526" | "782" | "1038" | "1294" => format!("{address} cannot be opened"),
            "26" => format!("{address} is no SQLite database"),
            code => format!("{address} rejects the connection with code {code}"),
        }
    }

    /// Returns true if the pool timed out.
    pub(super) fn is_pool_timeout(&self) -> bool {
        matches!(self.sqlx_error(), None | Some(SqlxError::PoolTimedOut))
    }

    /// Returns true if a retry may connect without intervention.
    pub(super) fn is_transient(&self) -> bool {
        match self.sqlx_error() {
            Some(SqlxError::Database(error)) => is_unavailable(&error.code().unwrap_or_default()),
            Some(SqlxError::Io(error)) => error.kind() != io::ErrorKind::InvalidData,
            Some(_) => false,
            None => true,
        }
    }

    /// Returns true if the server answered that it cannot connect to another node.
    pub(super) fn is_of_other_node(&self) -> bool {
        match self.sqlx_error() {
            Some(SqlxError::Database(error)) => {
                let code = error.code().unwrap_or_default();
                matches!(code.as_ref(), "08000" | "08001" | "08003" | "08006")
            }
            _ => false,
        }
    }

    /// Returns the cause why the service is not ready, or `None` for contention.
    pub(super) fn readiness_cause(&self) -> Option<NotReady> {
        let cause = match self.sqlx_error() {
            None | Some(SqlxError::PoolTimedOut) => return None,
            Some(SqlxError::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // A statement timeout is mostly a wait for a lock.
                if is_retryable(&code) || code == "57014" {
                    return None;
                }
                write_failure(&code)
            }
            Some(_) => NotReady::DatabaseUnreachable,
        };
        Some(cause)
    }

    /// Translates the error of a commit. Its outcome is unknown unless the error says otherwise: Citus
    /// reports an internal error when a node fails during the commit.
    pub(super) fn of_commit(self) -> Error {
        match self.to_error() {
            Error::Internal { .. } => {
                tracing::warn!(failure = %self, "commit failed");
                Error::DatabaseUnavailable
            }
            _ => self.into(),
        }
    }

    /// Translates the error without logging it.
    pub(super) fn to_error(&self) -> Error {
        if matches!(self.0, DbErr::ConnectionAcquire(_)) {
            return Error::DatabaseUnavailable;
        }
        let Some(error) = self.sqlx_error() else {
            return self.to_other_error();
        };
        match error {
            SqlxError::Database(error) => {
                let code = error.code().unwrap_or_default();
                if error.constraint() == Some(KEEP_A_STANDARD) || error.message() == KEEP_A_STANDARD
                {
                    return Error::LastStandardContact;
                }
                if is_retryable(&code) {
                    return Error::Conflict;
                }
                if is_unavailable(&code) {
                    return Error::DatabaseUnavailable;
                }
                Error::internal(self.to_string())
            }
            SqlxError::Io(_)
            | SqlxError::Tls(_)
            | SqlxError::PoolTimedOut
            | SqlxError::PoolClosed
            | SqlxError::WorkerCrashed
            | SqlxError::Protocol(_) => Error::DatabaseUnavailable,
            SqlxError::ColumnDecode { .. } | SqlxError::Decode(_) => {
                Error::data_loss(self.to_string())
            }
            _ => Error::internal(self.to_string()),
        }
    }

    fn to_other_error(&self) -> Error {
        match &self.0 {
            DbErr::Type(_) | DbErr::TryIntoErr { .. } | DbErr::Json(_) => {
                Error::data_loss(self.to_string())
            }
            // An update that matched no row: another transaction changed it first.
            DbErr::RecordNotUpdated => Error::Conflict,
            _ => Error::internal(self.to_string()),
        }
    }
}

/// Describes a failed connection. The driver reports TLS errors as invalid data.
fn describe_io(address: &str, error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::InvalidData {
        format!("{address}: no TLS: {error}")
    } else if kind == io::ErrorKind::UnexpectedEof {
        format!("{address} closes the connection")
    } else if kind == io::ErrorKind::NotFound && address.starts_with('/') {
        format!("{address} cannot be reached: there is no socket")
    } else if kind == io::ErrorKind::NotFound {
        // On the way to a host only a file can be missing.
        format!("{address}: a file with certificates or their key is missing")
    } else {
        format!("{address} cannot be reached: {}", connection_cause(error))
    }
}

/// Returns true for PostgreSQL's serialization failure, deadlock, lock timeout and unique violation
/// by a concurrent transaction, and for SQLite's (extended codes) busy, locked and unique
/// violation.
fn is_retryable(code: &str) -> bool {
    matches!(
        code,
        "40001"
            | "40P01"
            | "55P03"
            | "23505"
            | "5"
            | "261"
            | "517"
            | "773"
            | "6"
            | "262"
            | "1555"
            | "2067"
    )
}

/// Maps the codes of `PostgreSQL`, and those of SQLite by their last byte.
fn write_failure(code: &str) -> NotReady {
    if let Some(code) = sqlite_primary(code) {
        return match code {
            8 => NotReady::DatabaseReadOnly,
            11 | 26 => NotReady::DatabaseCorrupt,
            13 => NotReady::DiskFull,
            14 => NotReady::DatabaseUnreachable,
            _ => NotReady::WriteFailed,
        };
    }
    match code {
        "25006" => NotReady::DatabaseReadOnly,
        "53100" => NotReady::DiskFull,
        "XX001" | "XX002" => NotReady::DatabaseCorrupt,
        code if is_unavailable(code) => NotReady::DatabaseUnreachable,
        _ => NotReady::WriteFailed,
    }
}

fn sqlite_primary(code: &str) -> Option<u32> {
    let code = code.parse::<u32>().ok().filter(|_| code.len() < 5)?;
    Some(code & 0xff)
}

/// Returns true for PostgreSQL's connection exceptions, shutdown, too many connections, read-only
/// server after a failover, statement timeout and full disk, and for SQLite's failure to open, I/O
/// error, full disk and read-only file.
fn is_unavailable(code: &str) -> bool {
    matches!(sqlite_primary(code), Some(8 | 10 | 13 | 14))
        || code.starts_with("08")
        || code.starts_with("53")
        || matches!(
            code,
            "40003" | "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "25006" | "25P03"
        )
}

/// Checks that a conditional update or deletion matched its row: another transaction may have
/// changed the version.
///
/// # Errors
/// [`Error::Conflict`] if it matched none.
pub(super) fn ensure_version_matched(rows_affected: u64) -> Result<()> {
    if rows_affected == 1 {
        Ok(())
    } else {
        Err(Error::Conflict)
    }
}
