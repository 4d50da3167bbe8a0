//! The messages of a file, a Maildir or a folder.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::cli::startup_error::StartupError;

/// More than is read of a message: reports precede the returned message.
const MAX_BYTES: u64 = 1024 * 1024 + 1;
/// The folders of a Maildir with complete messages.
const MAILDIR_FOLDERS: [&str; 2] = ["new", "cur"];

/// A message that is yet to be read.
pub(super) struct MessageFile(PathBuf);

impl MessageFile {
    /// Returns the name of the file.
    pub(super) fn name(&self) -> String {
        let name = self.0.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Reads the message, and the time of its file, which counts where the message states none.
    pub(super) fn read(&self) -> Result<(Vec<u8>, DateTime<Utc>), StartupError> {
        let unreadable = |error: io::Error| StartupError::unreadable(&self.0, &error);
        let file = File::open(&self.0).map_err(unreadable)?;
        let time = file.metadata().and_then(|metadata| metadata.modified());
        let time = time.map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Ok((bytes, time.into()))
    }
}

/// Lists the messages at `path` in the order of their names. A Maildir is not changed: a repeated run
/// reports the same again, which changes nothing.
pub(super) fn list_messages(path: &Path) -> Result<Vec<MessageFile>, StartupError> {
    let unreadable = |error: io::Error| StartupError::unreadable(path, &error);
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![MessageFile(path.to_owned())]);
    }
    let folders = MAILDIR_FOLDERS.map(|name| path.join(name));
    let mut files = Vec::new();
    if folders.iter().all(|folder| folder.is_dir()) {
        for folder in &folders {
            files.extend(list_folder(folder)?);
        }
    } else {
        files = list_folder(path)?;
    }
    files.sort_unstable();
    Ok(files.into_iter().map(MessageFile).collect())
}

/// Hidden files are not messages.
fn list_folder(folder: &Path) -> Result<Vec<PathBuf>, StartupError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        Ok(files)
    };
    list().map_err(|error| StartupError::unreadable(folder, &error))
}
