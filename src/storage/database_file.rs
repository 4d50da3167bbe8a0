//! The file of an embedded database. It may be replaced or removed while it is open: later writes
//! would go to a file without a name.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::error::{Error, Result};

/// A database file and its identity when it was opened. Clones share its state.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Never reset: connections may have been opened to either file.
    is_lost: Arc<AtomicBool>,
}

impl DatabaseFile {
    /// Records the identity of the file at `path`, which has just been opened.
    pub(super) fn opened(path: PathBuf) -> io::Result<Self> {
        let identity = fs::metadata(&path).map(|file| (file.dev(), file.ino()))?;
        Ok(Self {
            path,
            identity,
            is_lost: Arc::default(),
        })
    }

    /// Returns true if the file is not, or once was not, at its path.
    pub(super) fn is_lost(&self) -> bool {
        if self.is_lost.load(Ordering::Relaxed) {
            return true;
        }
        match fs::metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == self.identity => return false,
            // The identity is unknown.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return true,
            Ok(_) | Err(_) => {}
        }
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "database file replaced or removed while it was open, writes rejected: restore \
                 the file and restart"
            );
        }
        true
    }
}

/// Checks that a write may be acknowledged: the file of an embedded database is still there.
///
/// # Errors
/// [`Error::DatabaseUnavailable`] if it is lost.
pub(super) fn ensure_present(file: Option<&DatabaseFile>) -> Result<()> {
    if file.is_some_and(DatabaseFile::is_lost) {
        return Err(Error::DatabaseUnavailable);
    }
    Ok(())
}
