//! The progress bar of commands that read many rows or customers.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const TEMPLATE: &str = "{bar:30} {percent:>3} %  {msg}  {rate}  {eta} left";
const TEMPLATE_WITHOUT_LENGTH: &str = "{spinner} {msg}  {rate}";

/// Returns true if progress is shown: standard error is a terminal.
pub(crate) fn is_shown() -> bool {
    io::stderr().is_terminal()
}

/// Returns a progress bar on standard error, or a spinner if the length is unknown, with the rate
/// and the time left. It is hidden where progress is not shown.
pub(crate) fn progress_bar(length: Option<u64>) -> ProgressBar {
    if !is_shown() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if length.is_some() {
        TEMPLATE
    } else {
        TEMPLATE_WITHOUT_LENGTH
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", write_rate)),
        Err(_) => bar,
    }
}

/// Sets the position from which a resumed command continues. The rate counts from there: the time
/// left would be too short otherwise.
pub(crate) fn start_at(bar: &ProgressBar, position: u64) {
    if position == 0 || bar.is_hidden() {
        return;
    }
    // The estimate takes the position for steps of this moment, which must not be seen.
    bar.set_draw_target(ProgressDrawTarget::hidden());
    bar.set_position(position);
    bar.tick();
    bar.reset_eta();
    bar.set_draw_target(ProgressDrawTarget::stderr());
}

fn write_rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // An error would be one of the terminal, which the bar ignores as well.
    let _ = write!(text, "{:.0}/s", state.per_sec());
}
