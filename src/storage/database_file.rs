//! The file of an embedded database, which may be replaced or removed while it is open: what is
//! written then goes to a file that nobody finds again.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A database file and its identity when it was opened. Clones share what became of it.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Until the process ends: connections may have been opened to either file meanwhile.
    is_lost: Arc<AtomicBool>,
}

impl DatabaseFile {
    /// The file at `path`, which was opened just now.
    pub(super) fn opened(path: PathBuf) -> io::Result<Self> {
        let identity = fs::metadata(&path).map(|file| (file.dev(), file.ino()))?;
        Ok(Self {
            path,
            identity,
            is_lost: Arc::default(),
        })
    }

    /// Returns true if the file is not at its path any more, or was not at any time before.
    pub(super) fn is_lost(&self) -> bool {
        if self.is_lost.load(Ordering::Relaxed) {
            return true;
        }
        match fs::metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == self.identity => return false,
            // Nothing is known.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return true,
            Ok(_) | Err(_) => {}
        }
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "the database file was replaced or removed while it was open: nothing more is \
                 written; put the right file in place and restart"
            );
        }
        true
    }
}
