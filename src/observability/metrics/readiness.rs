//! Whether the service is ready, and the cause where it is not.

use metrics::gauge;

use super::{NOT_READY, READY};

label! {
    /// Why the service is not ready.
    NotReady {
        /// Not checked yet.
        Starting => "starting",
        /// It stops.
        Stopping => "stopping",
        /// The database does not answer.
        DatabaseUnreachable => "database_unreachable",
        /// The database takes no writes: a standby, or a setting.
        DatabaseReadOnly => "database_read_only",
        /// The database has no room to write.
        DiskFull => "disk_full",
        /// Another file, or none, is where the embedded database was opened.
        DatabaseReplaced => "database_replaced",
        /// The database is damaged.
        DatabaseCorrupt => "database_corrupt",
        /// Writing fails for another reason.
        WriteFailed => "write_failed",
        /// Stored phone passwords need a pepper version that is not configured.
        PepperMissing => "pepper_missing",
    }
}

/// Whether the service is ready; else why not.
pub fn ready(not: Option<NotReady>) {
    gauge!(READY).set(f64::from(not.is_none()));
    for cause in NotReady::ALL {
        let is_cause = not == Some(*cause);
        gauge!(NOT_READY, "cause" => cause.as_str()).set(f64::from(is_cause));
    }
}
