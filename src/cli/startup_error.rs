//! The error with which a command ends: one line that names the setting, flag or file first.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use contact_service::{config::ConfigError, error::Error};

/// Limit on printing the line: a stalled reader of standard error must not keep the process alive.
const PRINT_TIMEOUT: Duration = Duration::from_secs(2);

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    /// A setting, flag or argument that cannot be used.
    #[error("{name}: {reason}")]
    Setting { name: &'static str, reason: String },
    /// A file or folder that cannot be opened, read or written.
    #[error("{} cannot be {access}: {reason}", path.display())]
    File {
        path: PathBuf,
        access: Access,
        reason: String,
    },
    /// A file that cannot be used as a whole: too large, empty, of another type, or of another run.
    #[error("{} {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    /// A file to import whose header or cards cannot be read.
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// An output that was opened before cannot be written.
    #[error("the {output} cannot be written: {reason}")]
    Output {
        output: &'static str,
        reason: String,
    },
    /// A run failed after it had written rows to a file from which another can continue.
    #[error("{error}; {} has the rows until then: continue with --resume", partial.display())]
    Resumable { error: Box<Self>, partial: PathBuf },
    /// The database failed during an import.
    #[error("{error}; {imported} rows were imported: run the same import again to continue")]
    Import { error: Error, imported: u64 },
    /// The sample customers of the demo cannot be read back.
    #[error("the samples cannot be read: {0}")]
    Samples(String),
    /// No server accepts connections at the address.
    #[error("nothing answers on {0}")]
    NoServer(SocketAddr),
    /// The server accepted the connection and did not answer in time.
    #[error("no answer from {0} in time")]
    NoAnswer(SocketAddr),
    /// The server answered that it is not ready.
    #[error("not ready")]
    NotReady,
    /// The health check failed with a gRPC status, whose code is shown.
    #[error("not ready: {0}")]
    HealthCheck(String),
    /// A signal handler cannot be installed, or the address of a listener is unknown.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A use case failed.
    #[error(transparent)]
    Service(#[from] Error),
    /// A complete line from a function of the library that reports text.
    #[error("{0}")]
    Library(String),
}

/// The use of a file that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "read",
            Self::Write => "written",
        })
    }
}

impl From<ConfigError> for StartupError {
    fn from(error: ConfigError) -> Self {
        Self::setting(error.setting, error.why)
    }
}

impl StartupError {
    /// Names a setting, flag or argument and says why it cannot be used.
    pub(crate) fn setting(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting {
            name,
            reason: reason.into(),
        }
    }

    /// Names a file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::file(path, Access::Read, error)
    }

    /// Names a file that cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::file(path, Access::Write, error)
    }

    fn file(path: &Path, access: Access, error: &io::Error) -> Self {
        let reason = match (error.kind(), access) {
            (io::ErrorKind::NotFound, Access::Read) => "there is no such file".to_owned(),
            (io::ErrorKind::NotFound, Access::Write) => "there is no such folder".to_owned(),
            (kind, _) => kind.to_string(),
        };
        Self::File {
            path: path.to_owned(),
            access,
            reason,
        }
    }

    /// Prints the error to standard error.
    pub(crate) fn print(&self) {
        let line = format!("contact-service: {self}");
        let (printed, is_printed) = mpsc::channel::<()>();
        thread::spawn(move || {
            eprintln!("{line}");
            drop(printed);
        });
        let _ = is_printed.recv_timeout(PRINT_TIMEOUT);
    }
}
