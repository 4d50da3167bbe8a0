//! Logs: lines for people or for programs, never with personal data.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Config, LogFormat, WrongSetting};

/// Starts logging to standard error.
///
/// # Errors
/// [`WrongSetting`] for a filter that cannot be read.
pub fn start(config: &Config) -> Result<(), WrongSetting> {
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|_| {
        let why = "must be a level, such as info, or a list such as warn,contact_service=debug";
        WrongSetting::new("RUST_LOG", why)
    })?;
    let lines = match config.log_format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .boxed(),
    };
    // The filters stand beside the lines, not in them: filters of one layer forget a
    // line of ours whenever a library (sqlx does) only asks whether it may log.
    let all = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(filter_fn(may_be_logged));
    // A second start in one process, as tests make it, keeps the first.
    let _ = all.try_init();
    Ok(())
}

/// Libraries log frames, statements, and even phone numbers at their finer levels,
/// and PostgreSQL's notices quote rows: of those only the coarser levels pass,
/// whatever the filter says.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = target.starts_with("contact_service");
    is_ours || (*metadata.level() <= Level::INFO && !target.starts_with("sqlx::postgres::notice"))
}
