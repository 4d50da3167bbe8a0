//! What commands that read and write files share: how they speak of files and of progress, and
//! their patience with a database that fails over. Owns no format.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, TryLockError},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use contact_service::{
    crypto::random::Random,
    error::{Error, Result},
};
use indicatif::{ProgressBar, ProgressStyle};

/// A database that fails over is back within seconds.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A new name is tried where another process took a part that was just begun for one that was left.
const PART_ATTEMPTS: usize = 8;

/// The line that says what could not be done with a file.
pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    let path = path.display();
    if error.kind() == io::ErrorKind::NotFound {
        let missing = if what == "read" { "file" } else { "folder" };
        return format!("{path} cannot be {what}: there is no such {missing}");
    }
    format!("{path} cannot be {what}: {}", error.kind())
}

/// The name of a file until it is whole.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(".part");
    name.into()
}

/// A file that gets its name when it is whole. Until then it has one that nobody can foresee, so
/// that it is neither another process's nor a link that somebody laid; only its owner may read it.
pub(crate) struct PartFile {
    file: File,
    first: PathBuf,
    last: PathBuf,
}

impl PartFile {
    /// Begins a file beside the one that it will replace, and removes what processes that were
    /// killed left there.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(crate) fn create(last: &Path) -> io::Result<Self> {
        remove_left_parts(last);
        for _ in 0..PART_ATTEMPTS {
            let first = part_name(last)?;
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&first)?;
            let is_ours = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Before the lock it looked like one that was left.
            if is_ours && first.symlink_metadata().is_ok() {
                let last = last.to_owned();
                return Ok(Self { file, first, last });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Under which name it is until it is whole.
    pub(crate) fn path(&self) -> &Path {
        &self.first
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Why it is not safely there.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.first, &self.last)
    }
}

/// What did not get its name is of no use.
impl Drop for PartFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.first);
    }
}

fn part_name(last: &Path) -> io::Result<PathBuf> {
    let random = Random::system().bytes().map_err(io::Error::other)?;
    let mut name: OsString = last.into();
    name.push(format!(".{:016x}.part", u64::from_be_bytes(random)));
    Ok(name.into())
}

/// A process holds the lock of its part for as long as it lives: one that is free was left. What cannot be
/// looked at stays.
fn remove_left_parts(last: &Path) {
    let folder = last.parent().filter(|folder| *folder != Path::new(""));
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter();
    for entry in entries.flatten().flatten() {
        if is_part_of(&entry.file_name(), last)
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_part_of(name: &OsStr, last: &Path) -> bool {
    let whole = last.file_name().unwrap_or_default();
    let rest = name
        .as_encoded_bytes()
        .strip_prefix(whole.as_encoded_bytes());
    let random = rest.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".part"));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Does what `attempt` begins, and again while the database is away or too busy.
pub(crate) async fn patiently<T, F: Future<Output = Result<T>>>(
    attempt: impl Fn() -> F,
) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(Error::DatabaseUnavailable | Error::Conflict | Error::Overloaded { .. }) => {
                tokio::time::sleep(pause).await;
            }
            answer => return answer,
        }
        pause *= 2;
    }
    attempt().await
}

/// How far a command is; without a length a sign of life. Nothing is shown where nobody looks.
pub(crate) fn progress_bar(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = "{bar:40} {percent:>3} %  {msg}  {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) if length.is_some() => bar.with_style(style),
        Ok(_) | Err(_) => bar,
    }
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
    fn two_that_write_the_same_file_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let last = folder.path().join("a.csv");
        let parts = ["one", "two"].map(|text| {
            let part = PartFile::create(&last).unwrap();
            write!(part.file(), "{text}").unwrap();
            part
        });
        for (part, text) in parts.into_iter().zip(["one", "two"]) {
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = part.file().metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            part.finish().unwrap();
            assert_eq!(fs::read_to_string(&last).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let last = folder.path().join("a.csv");
        let living = PartFile::create(&last).unwrap();
        let others = [
            "a.csv",
            "a.csv.0123456789abcde.part",
            "a.csv.0123456789abcdef.partly",
            "a.csv.part",
            "b.csv.0123456789abcdef.part",
        ];
        let left = "a.csv.0123456789abcdef.part";
        for name in others.into_iter().chain([left]) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        drop(PartFile::create(&last).unwrap());
        let living_name = living
            .first
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let living_name = living_name.as_str();
        let mut expected = [&others[..], &[living_name]].concat();
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
        drop(living);
        expected.retain(|name| *name != living_name);
        assert_eq!(names(folder.path()), expected);
    }
}
