//! Database errors, turned into words of the domain.
//!
//! The only place that looks inside a `DbErr`. Its texts may hold values of rows,
//! so nothing of it is logged but error codes and names of constraints.

use std::{fmt, io};

use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::{
    error::{Error, connection_cause},
    observability::metrics::NotReady,
};

/// The constraint trigger that guards rule 2.
pub(super) const KEEP_A_STANDARD: &str = "contacts_keep_a_standard";

/// A failed statement.
pub(super) struct Failure(DbErr);

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

impl From<SqlxError> for Failure {
    fn from(error: SqlxError) -> Self {
        Self(DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = failure.to_error();
        if error == Error::DatabaseUnavailable {
            tracing::warn!(%failure, "the database is not available");
        }
        error
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the libraries' enums are open: what is not known here is a defect"
)]
/// A description free of values: a class, a code, a constraint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.0, DbErr::ConnectionAcquire(_)) {
            return f.write_str("no free connection in time");
        }
        let Some(error) = self.sqlx_error() else {
            return f.write_str("the database layer could not read or build a row");
        };
        match error {
            SqlxError::Database(error) => {
                let code = error.code().unwrap_or_default();
                let constraint = error.constraint().unwrap_or_default();
                write!(f, "database error {code} {constraint}")
            }
            SqlxError::Io(error) => write!(f, "connection: {}", error.kind()),
            SqlxError::Tls(_) => f.write_str("connection: TLS"),
            SqlxError::PoolTimedOut => f.write_str("no free connection in time"),
            SqlxError::PoolClosed => f.write_str("the pool is closed"),
            _ => f.write_str("the driver could not run a statement"),
        }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the libraries' enums are open: what is not known here is a defect"
)]
impl Failure {
    fn sqlx_error(&self) -> Option<&SqlxError> {
        match &self.0 {
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
            _ => None,
        }
    }

    /// Why the database at `place` could not be opened, for the one line that ends the start.
    pub(super) fn why_not_connected(&self, place: &str) -> String {
        let Some(error) = self.sqlx_error() else {
            return format!("{place} does not answer in time");
        };
        let code = match error {
            SqlxError::Database(error) => error.code().unwrap_or_default(),
            SqlxError::Io(error) => return why_no_connection(place, error),
            SqlxError::Tls(error) => return format!("{place}: no TLS: {error}"),
            SqlxError::PoolTimedOut => return format!("{place} does not answer in time"),
            SqlxError::Protocol(_) => {
                return format!(
                    "what answers on {place} is no PostgreSQL, or wants another authentication \
                     than by a password (SCRAM, MD5)"
                );
            }
            SqlxError::Configuration(_) => {
                return "sslcert and sslkey must be given together".to_owned();
            }
            _ => return self.to_string(),
        };
        match code.as_ref() {
            "28P01" => format!("{place} rejects the password of this user"),
            "28000" => format!(
                "{place} does not let this user in: is it the right one, may it log in, and does \
                 pg_hba.conf allow it from here?"
            ),
            "3D000" => format!("{place} has no database of this name"),
            "42501" => format!("{place}: the user lacks the right CONNECT on the database"),
            "53300" => format!("{place} takes no more connections (max_connections)"),
            "57P03" => format!("{place} is starting or shutting down"),
            "5" | "261" | "517" => format!("{place} is locked by another process"),
            "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => {
                format!("{place} or its folder cannot be written")
            }
            "14" | "270" | "526" | "782" | "1038" | "1294" => format!("{place} cannot be opened"),
            "26" => format!("{place} is no SQLite database"),
            code => format!("{place} rejects the connection with code {code}"),
        }
    }

    /// Returns true if a pool had no connection in time.
    pub(super) fn is_lack_of_time(&self) -> bool {
        matches!(self.sqlx_error(), None | Some(SqlxError::PoolTimedOut))
    }

    /// Returns true if the next attempt to connect may succeed without intervention.
    pub(super) fn may_pass(&self) -> bool {
        match self.sqlx_error() {
            Some(SqlxError::Database(error)) => is_unavailable(&error.code().unwrap_or_default()),
            Some(SqlxError::Io(error)) => error.kind() != io::ErrorKind::InvalidData,
            Some(_) => false,
            None => true,
        }
    }

    /// Why the service is not ready; `None` where others are in the way, who may be done soon.
    pub(super) fn why_not_ready(&self) -> Option<NotReady> {
        let cause = match self.sqlx_error() {
            None | Some(SqlxError::PoolTimedOut) => return None,
            Some(SqlxError::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // A statement that took too long waited as well.
                if is_worth_a_retry(&code) || code == "57014" {
                    return None;
                }
                why_no_write(&code)
            }
            Some(_) => NotReady::DatabaseUnreachable,
        };
        Some(cause)
    }

    /// The failure in words of the domain, for whoever tells of it otherwise than by
    /// the log.
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
                if is_worth_a_retry(&code) {
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
            // An update that met no row: somebody else was faster.
            DbErr::RecordNotUpdated => Error::Conflict,
            _ => Error::internal(self.to_string()),
        }
    }
}

/// TLS fails as invalid data.
fn why_no_connection(place: &str, error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::InvalidData {
        format!("{place}: no TLS: {error}")
    } else if kind == io::ErrorKind::UnexpectedEof {
        format!("{place} closes the connection")
    } else if kind == io::ErrorKind::NotFound && place.starts_with('/') {
        format!("{place} cannot be reached: there is no socket of a server")
    } else if kind == io::ErrorKind::NotFound {
        // Nothing but a file is not found on the way to a host.
        format!("{place}: a file with certificates or their key is missing")
    } else {
        format!("{place} cannot be reached: {}", connection_cause(error))
    }
}

/// PostgreSQL: serialisation failure, deadlock, lock timeout, and a unique key
/// that a concurrent transaction took. SQLite (extended codes): busy, locked,
/// and the same.
fn is_worth_a_retry(code: &str) -> bool {
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

/// Codes of `PostgreSQL`, and of SQLite by their last byte.
fn why_no_write(code: &str) -> NotReady {
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

/// PostgreSQL: connection exceptions, shutdown, too many connections, a server
/// that is read-only after a fail-over, statement timeout, disk full. SQLite:
/// cannot open, I/O error, full, read-only.
fn is_unavailable(code: &str) -> bool {
    matches!(sqlite_primary(code), Some(8 | 10 | 13 | 14))
        || code.starts_with("08")
        || code.starts_with("53")
        || matches!(
            code,
            "40003" | "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "25006" | "25P03"
        )
}
