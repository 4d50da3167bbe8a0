//! The readiness of the service, and the cause if it is not ready.

use metrics::{describe_gauge, gauge};

const READY: &str = "contact_ready";
const NOT_READY: &str = "contact_not_ready";

label! {
    /// The cause why the service is not ready.
    NotReady {
        /// Not checked yet.
        Starting => "starting",
        /// It is stopping.
        Stopping => "stopping",
        /// The database does not answer.
        DatabaseUnreachable => "database_unreachable",
        /// The database is read-only: a standby, or a setting.
        DatabaseReadOnly => "database_read_only",
        /// The disk of the database is full.
        DiskFull => "disk_full",
        /// The file of the embedded database was replaced or removed.
        DatabaseReplaced => "database_replaced",
        /// The database is corrupt.
        DatabaseCorrupt => "database_corrupt",
        /// Writes fail for another reason.
        WriteFailed => "write_failed",
        /// Stored phone passwords need a pepper version that is not configured.
        PepperMissing => "pepper_missing",
    }
}

/// Sets the readiness; `None` means ready.
pub fn ready(cause: Option<NotReady>) {
    gauge!(READY).set(f64::from(cause.is_none()));
    for known in NotReady::ALL {
        let is_cause = cause == Some(*known);
        gauge!(NOT_READY, "cause" => known.as_str()).set(f64::from(is_cause));
    }
}

pub(super) fn register() {
    describe_gauge!(READY, "1 while the service is ready for requests");
    describe_gauge!(NOT_READY, "1 for the cause if the service is not ready");
    ready(Some(NotReady::Starting));
}
