//! What commands that read and write files share: how they speak of files and of progress, and
//! their patience with a database that fails over. Owns no format.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use contact_service::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// A database that fails over is back within seconds.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The line that says what could not be done with a file.
pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("{} cannot be {what}: {}", path.display(), error.kind())
}

/// The name of a file until it is whole.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(".part");
    name.into()
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
