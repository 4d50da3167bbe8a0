//! The progress bar of commands that read files.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a progress bar, or a spinner if the length is unknown. It is hidden if standard error
/// is no terminal.
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
