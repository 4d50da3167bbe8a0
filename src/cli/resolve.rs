//! `resolve`: the recipients for a purpose, for all customer numbers of a file.

mod line;
mod output;
mod report;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use contact_service::{
    app,
    clock::Clock,
    config::Config,
    domain::{
        attention_line::{DEFAULT_ROOM_CHARS, MIN_ROOM_CHARS},
        ids::CustomerNumber,
        recipients,
    },
    error::Error,
    observability::logging,
    storage::Database,
};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use self::{
    line::ResolvedLine,
    output::{Output, OutputFormat},
    report::ResolveReport,
};
use crate::cli::{
    bootstrap::connect_existing, progress::progress_bar, retry::with_retry,
    startup_error::StartupError,
};

/// Customers that are resolved together.
const BATCH: usize = 500;
/// Batches that are resolved concurrently, ahead of the writer.
const CONCURRENCY: usize = 4;

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct ResolveFile {
    /// Customer numbers, one per line; - reads standard input
    file: PathBuf,
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        help = "invoice, payment-reminder,\n\
                security-notice, planned-maintenance,\n\
                outage or general"
    )]
    purpose: PurposeArg,
    /// Write to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// csv or jsonl
    #[arg(long, value_enum, hide_possible_values = true, default_value = "csv")]
    format: OutputFormat,
    /// Write unreached customers to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Limit of the attention line
    #[arg(long, value_name = "CHARS", default_value_t = DEFAULT_ROOM_CHARS)]
    attention_line_chars: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PurposeArg {
    Invoice,
    PaymentReminder,
    SecurityNotice,
    PlannedMaintenance,
    Outage,
    General,
}

impl From<PurposeArg> for recipients::Purpose {
    fn from(purpose: PurposeArg) -> Self {
        match purpose {
            PurposeArg::Invoice => Self::Invoice,
            PurposeArg::PaymentReminder => Self::PaymentReminder,
            PurposeArg::SecurityNotice => Self::SecurityNotice,
            PurposeArg::PlannedMaintenance => Self::PlannedMaintenance,
            PurposeArg::Outage => Self::Outage,
            PurposeArg::General => Self::General,
        }
    }
}

impl ResolveFile {
    /// Opens the database and writes the results and the report.
    pub(crate) async fn run(&self, config: &Config) -> Result<(), StartupError> {
        let _telemetry = logging::start(config)?;
        let database = connect_existing(config).await?;
        let written = self.write_results(&database).await;
        database.close().await;
        written
    }

    /// Reads, resolves and writes concurrently.
    async fn write_results(&self, database: &Database) -> Result<(), StartupError> {
        if self.attention_line_chars < MIN_ROOM_CHARS {
            let reason = format!("must be at least {MIN_ROOM_CHARS}");
            return Err(StartupError::setting("--attention-line-chars", reason));
        }
        let length = self.file.metadata().map(|file| file.len());
        let progress = progress_bar(length.ok());
        let lines = open(&self.file, &progress)?;
        let mut output = Output::create(self.output.as_deref(), self.format)?;
        let mut report = ResolveReport::default();
        let results = stream::iter(batches(lines))
            .map(|texts| async { self.resolve_lines(database, texts?).await })
            .buffered(CONCURRENCY);
        let mut results = std::pin::pin!(results);
        while let Some(batch) = results.try_next().await? {
            for line in batch {
                output.write(&line.text, &line.outcome)?;
                report.add(line);
            }
            progress.set_message(format!("{} customers", report.resolved()));
        }
        output.finish()?;
        progress.finish_and_clear();
        report.print(self.report.as_deref())
    }

    async fn resolve_lines(
        &self,
        database: &Database,
        texts: Vec<String>,
    ) -> Result<Vec<ResolvedLine>, StartupError> {
        let parsed: Vec<_> = texts
            .iter()
            .map(|text| CustomerNumber::parse(text))
            .collect();
        let numbers: Vec<_> = parsed.iter().flatten().cloned().collect();
        let (purpose, max_chars) = (self.purpose.into(), self.attention_line_chars);
        let resolve =
            || app::resolve_many(database, &numbers, purpose, max_chars, Clock::System.now());
        let mut resolutions = with_retry(resolve).await?.into_iter();
        let results = texts.into_iter().zip(parsed).map(|(text, parsed)| {
            let missing = || Err(Error::internal("a customer has no resolution"));
            let outcome = match parsed {
                Ok(_) => resolutions
                    .next()
                    .unwrap_or_else(missing)
                    .map_err(|error| error.to_string()),
                Err(violation) => Err(format!("a customer number {violation}")),
            };
            ResolvedLine { text, outcome }
        });
        Ok(results.collect())
    }
}

type Lines = Box<dyn Iterator<Item = Result<String, StartupError>> + Send>;

/// Returns the trimmed lines of a file; empty ones are skipped.
fn open(path: &Path, progress: &ProgressBar) -> Result<Lines, StartupError> {
    let shown = path.to_owned();
    let reader: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| StartupError::unreadable(path, &error))?;
        Box::new(BufReader::new(progress.wrap_read(file)))
    };
    let lines = reader.lines().map(move |line| match line {
        Ok(line) => Ok(line.trim_start_matches('\u{feff}').trim().to_owned()),
        Err(error) => Err(StartupError::unreadable(&shown, &error)),
    });
    Ok(Box::new(
        lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty)),
    ))
}

fn batches(mut lines: Lines) -> impl Iterator<Item = Result<Vec<String>, StartupError>> + Send {
    std::iter::from_fn(move || {
        let batch: Result<Vec<_>, _> = lines.by_ref().take(BATCH).collect();
        batch
            .map(|texts| (!texts.is_empty()).then_some(texts))
            .transpose()
    })
}
