//! Files that replace their target only once they are complete.
//!
//! Written by hand because the crates for this do not remove the temporary files of killed processes.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use contact_service::crypto::random::Random;

use crate::cli::startup_error::StartupError;

/// Attempts to create a temporary file; one fails if another process removes the file as a
/// leftover before it is locked.
const CREATE_ATTEMPTS: usize = 8;

/// A file under a temporary name until it is complete. The name is random, so that it is neither
/// another process's file nor a planted link; only the owner may read it.
pub(crate) struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates a temporary file in the folder of `target`, and removes those that killed
    /// processes left there.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        remove_leftovers(target);
        for _ in 0..CREATE_ATTEMPTS {
            let temporary = temporary_name(target)?;
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&temporary)?;
            let is_locked = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Until it was locked, another process could remove it as a leftover.
            if is_locked && temporary.symlink_metadata().is_ok() {
                let target = target.to_owned();
                return Ok(Self {
                    file,
                    temporary,
                    target,
                });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Creates the file of an option such as `--output`, before a command begins its work.
    pub(crate) fn create_output(target: &Path) -> Result<Self, StartupError> {
        check_target(target)?;
        Self::create(target).map_err(|error| StartupError::unwritable(target, &error))
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// The temporary path.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Syncs the file to disk and gives it the name of the target, which must not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if another process created the target.
    pub(crate) fn commit_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.temporary, &self.target)?;
        // The name must survive a power failure as well.
        File::open(folder_of(&self.target))?.sync_all()
    }

    /// Syncs the file to disk and renames it to the target.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)
    }
}

/// Rejects targets that a rename would replace by a file: folders, devices and pipes.
pub(crate) fn check_target(target: &Path) -> Result<(), StartupError> {
    if target.is_dir() {
        let error = io::ErrorKind::IsADirectory.into();
        return Err(StartupError::unwritable(target, &error));
    }
    if target.exists() && !target.is_file() {
        return Err(StartupError::Unusable {
            path: target.to_owned(),
            reason: "is not a regular file: leave the option out, or name a file".to_owned(),
        });
    }
    Ok(())
}

/// Removes a file that was not committed.
impl Drop for AtomicFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let random = Random::system().bytes().map_err(io::Error::other)?;
    let mut name: OsString = target.into();
    name.push(format!(".{:016x}.part", u64::from_be_bytes(random)));
    Ok(name.into())
}

fn folder_of(target: &Path) -> &Path {
    let folder = target.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Removes temporary files of `target` that no process has locked: a process holds the lock until
/// it ends. Files that cannot be opened are kept.
fn remove_leftovers(target: &Path) {
    let entries = fs::read_dir(folder_of(target)).into_iter();
    for entry in entries.flatten().flatten() {
        if is_temporary_of(&entry.file_name(), target)
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_temporary_of(name: &OsStr, target: &Path) -> bool {
    let target = target.file_name().unwrap_or_default();
    let rest = name
        .as_encoded_bytes()
        .strip_prefix(target.as_encoded_bytes());
    let random = rest.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".part"));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn concurrent_writers_of_one_target_both_commit() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");
        let files = ["one", "two"].map(|text| {
            let file = AtomicFile::create(&target).unwrap();
            write!(file.file(), "{text}").unwrap();
            file
        });
        for (file, text) in files.into_iter().zip(["one", "two"]) {
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = file.file().metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            file.commit().unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn create_removes_only_leftovers_of_killed_processes() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");
        let in_progress = AtomicFile::create(&target).unwrap();
        let others = [
            "a.csv",
            "a.csv.0123456789abcde.part",
            "a.csv.0123456789abcdef.partly",
            "a.csv.part",
            "b.csv.0123456789abcdef.part",
        ];
        let leftover = "a.csv.0123456789abcdef.part";
        for name in others.into_iter().chain([leftover]) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        drop(AtomicFile::create(&target).unwrap());
        let name_in_progress = in_progress
            .temporary
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let name_in_progress = name_in_progress.as_str();
        let mut expected = [&others[..], &[name_in_progress]].concat();
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
        drop(in_progress);
        expected.retain(|name| *name != name_in_progress);
        assert_eq!(names(folder.path()), expected);
    }
}
