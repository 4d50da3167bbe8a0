//! The result file of a run that can be resumed: it is called `FILE.partial` until it is complete.
//! Unlike a temporary [`AtomicFile`](crate::cli::atomic_file::AtomicFile) it has a known name and
//! outlives a killed process.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::cli::{atomic_file::check_target, startup_error::StartupError};

/// A file of rows that are not complete yet. A file next to it has the settings of the run, with
/// which another run must agree to continue it.
pub(super) struct PartialFile {
    file: File,
    partial: PathBuf,
    settings: PathBuf,
    target: PathBuf,
    is_committed: bool,
}

impl PartialFile {
    /// Creates the partial file of `target`, or opens the one that an interrupted run left.
    pub(super) fn open(target: &Path, settings: &str, resumes: bool) -> Result<Self, StartupError> {
        check_target(target)?;
        let partial = with_suffix(target, ".partial");
        let file =
            open_private(&partial).map_err(|error| StartupError::unwritable(target, &error))?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(unusable(&partial, "is being written by another process"));
        }
        let opened = Self {
            file,
            settings: with_suffix(&partial, ".settings"),
            partial,
            target: target.to_owned(),
            is_committed: false,
        };
        // A run that was killed before its first row left nothing to continue.
        if opened.is_empty() {
            opened.write_settings(settings)?;
        } else if resumes {
            opened.check_settings(settings)?;
        } else {
            let reason =
                "is left from an interrupted run: continue it with --resume, or delete the file";
            return Err(unusable(&opened.partial, reason));
        }
        Ok(opened)
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// The path of the partial file.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    pub(super) fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.len() == 0)
    }

    /// Syncs the file to disk and renames it to the target.
    pub(super) fn commit(mut self) -> Result<(), StartupError> {
        let committed = self.file.sync_all();
        let committed = committed.and_then(|()| fs::rename(&self.partial, &self.target));
        committed.map_err(|error| StartupError::unwritable(&self.target, &error))?;
        self.is_committed = true;
        // A file of settings without its partial file is ignored, and overwritten by the next run.
        let _ = fs::remove_file(&self.settings);
        Ok(())
    }

    fn write_settings(&self, settings: &str) -> Result<(), StartupError> {
        let written = fs::remove_file(&self.settings)
            .or_else(ignore_missing)
            .and_then(|()| open_private(&self.settings))
            .and_then(|mut file| {
                writeln!(file, "{settings}")?;
                // The rows must not outlive their settings after a power failure.
                file.sync_all()
            });
        written.map_err(|error| StartupError::unwritable(&self.settings, &error))
    }

    fn check_settings(&self, settings: &str) -> Result<(), StartupError> {
        let written = fs::read_to_string(&self.settings).unwrap_or_default();
        let written = written.trim_end();
        if written == settings {
            return Ok(());
        }
        if written.is_empty() {
            let settings = self.settings.display();
            let reason = format!("cannot be continued: {settings} is missing; delete the file");
            return Err(unusable(&self.partial, reason));
        }
        let reason = format!(
            "was written with {written}: continue it with the same options, or delete the file"
        );
        Err(unusable(&self.partial, reason))
    }
}

/// Removes a file without rows, which would be in the way of the next run.
impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_committed && self.is_empty() {
            let _ = fs::remove_file(&self.partial);
            let _ = fs::remove_file(&self.settings);
        }
    }
}

/// Names a file of this run and says why the run cannot use it.
pub(super) fn unusable(path: &Path, reason: impl Into<String>) -> StartupError {
    StartupError::Unusable {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// Opens a file that only its owner may read, and creates it if it is missing. Its name is known to
/// others, so that it may be a planted link, which is rejected.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !path.symlink_metadata()?.is_file() {
                return Err(error);
            }
            File::options().read(true).write(true).open(path)
        }
        opened => opened,
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}
