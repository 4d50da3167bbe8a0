//! `resolve`: the recipients for purposes, for the customer numbers of a file or for all customers.

mod addresses;
mod format;
mod output;
mod partial_file;
mod purpose;
mod report;
mod resume;
mod row;
mod run;
mod source;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use contact_service::{
    config::Config,
    domain::{
        attention_line::{DEFAULT_ROOM_CHARS, MIN_ROOM_CHARS},
        ids::CustomerNumber,
    },
    observability::logging,
    storage::Database,
};
use indicatif::ProgressBar;

use self::{
    format::OutputFormat,
    output::{Output, Target},
    partial_file::{PartialFile, unusable},
    purpose::PurposeArg,
    report::ResolveReport,
    resume::replay,
    run::{Run, Sink},
    source::{Source, count_lines, is_standard_input},
};
use crate::cli::{
    bootstrap::connect_existing,
    progress::{self, progress_bar},
    startup_error::StartupError,
};

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("customers").required(true).args(["file", "all"]))]
pub(crate) struct ResolveFile {
    /// Customer numbers, one per line; - reads standard input
    file: Option<PathBuf>,
    /// All customers, instead of those of a file
    #[arg(long)]
    all: bool,
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        required = true,
        hide_possible_values = true,
        help = "invoice, payment-reminder, security-notice,\n\
                planned-maintenance, outage, general; several:\n\
                separated by commas"
    )]
    purpose: Vec<PurposeArg>,
    /// One row per address, with its customers
    #[arg(long)]
    by_address: bool,
    /// Write to FILE (FILE.partial until complete)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Continue FILE.partial (an error otherwise)
    #[arg(long, requires = "output", conflicts_with = "by_address")]
    resume: bool,
    /// csv or jsonl
    #[arg(long, value_enum, hide_possible_values = true, default_value = "csv")]
    format: OutputFormat,
    /// Write unreached customers to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Limit of the attention line
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ROOM_CHARS)]
    attention_line_chars: usize,
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

    async fn write_results(&self, database: &Database) -> Result<(), StartupError> {
        self.check()?;
        let mut source = Source::open(self.file.as_deref())?;
        let purposes = self.purposes();
        let mut report = ResolveReport::create(self.report.as_deref(), &purposes)?;
        let mut target = self.open_target(&purposes)?;
        if let Target::Partial(file) = &mut target {
            source = self.replay(file, source, &purposes, &mut report)?;
        }
        let output = Output::new(target, self.format)?;
        let run = Run {
            database,
            purposes,
            attention_line_chars: self.attention_line_chars,
            omits_missing: self.all,
            sink: if self.by_address {
                Sink::Addresses(output, Box::default())
            } else {
                Sink::Rows(output)
            },
            progress: self.progress(database, report.customers()).await,
            report,
        };
        run.finish(source).await
    }

    /// Checks what the parser of the command line cannot.
    fn check(&self) -> Result<(), StartupError> {
        if self.attention_line_chars < MIN_ROOM_CHARS {
            let reason = format!("must be at least {MIN_ROOM_CHARS}");
            return Err(StartupError::setting("--attention-line-chars", reason));
        }
        if self.resume && !self.can_be_resumed() {
            let reason = "standard input cannot be read again: name a file of customer numbers";
            return Err(StartupError::setting("--resume", reason));
        }
        if self.report.is_some() && self.report == self.output {
            let reason = "must be another file than that of --output";
            return Err(StartupError::setting("--report", reason));
        }
        Ok(())
    }

    /// Returns the purposes, each once.
    fn purposes(&self) -> Vec<PurposeArg> {
        let mut purposes = Vec::with_capacity(self.purpose.len());
        for purpose in &self.purpose {
            if !purposes.contains(purpose) {
                purposes.push(*purpose);
            }
        }
        purposes
    }

    /// The rows of addresses are written at the end, and standard input cannot be read again.
    fn can_be_resumed(&self) -> bool {
        !self.by_address && !self.file.as_deref().is_some_and(is_standard_input)
    }

    fn open_target(&self, purposes: &[PurposeArg]) -> Result<Target, StartupError> {
        match &self.output {
            Some(path) if self.can_be_resumed() => {
                let settings = self.settings(purposes);
                let file = PartialFile::open(path, &settings, self.resume)?;
                Ok(Target::Partial(file))
            }
            path => Target::create(path.as_deref()),
        }
    }

    /// Returns the options that the rows depend on.
    fn settings(&self, purposes: &[PurposeArg]) -> String {
        let source = if self.all { "--all" } else { "a file" };
        let purposes = purposes.iter().filter_map(PurposeArg::to_possible_value);
        let purposes: Vec<_> = purposes.map(|value| value.get_name().to_owned()).collect();
        let format = self.format.to_possible_value();
        format!(
            "{source}, --purpose {}, --format {}, --attention-line-chars {}",
            purposes.join(","),
            format.as_ref().map_or("", |value| value.get_name()),
            self.attention_line_chars
        )
    }

    /// Adds the rows of an interrupted run to the report, and returns the customers after them.
    fn replay(
        &self,
        file: &PartialFile,
        mut source: Source,
        purposes: &[PurposeArg],
        report: &mut ResolveReport,
    ) -> Result<Source, StartupError> {
        let replayed = replay(file, self.format, purposes, |rows| {
            if let (Source::Lines(lines), Some(row)) = (&mut source, rows.first()) {
                let line = lines.next().transpose()?;
                if line.as_deref() != Some(row.customer_number.as_str()) {
                    let input = self.file.as_deref().unwrap_or(Path::new(""));
                    return Err(other_input(file, input, report.customers() + 1));
                }
            }
            report.add(&rows)
        })?;
        Ok(match (source, replayed) {
            (Source::AllAfter(_), Some(last)) => {
                let number = CustomerNumber::parse(&last);
                let number = number.map_err(|_| {
                    let reason = format!("cannot be continued after {last}; delete the file");
                    unusable(file.path(), reason)
                })?;
                Source::AllAfter(Some(number))
            }
            (source, _) => source,
        })
    }

    /// Returns the progress bar, whose unit is a customer.
    async fn progress(&self, database: &Database, customers: u64) -> ProgressBar {
        let length = match &self.file {
            _ if !progress::is_shown() => None,
            Some(file) => count_lines(file),
            // The run does not depend on it.
            None => database.count_customers().await.ok(),
        };
        let bar = progress_bar(length);
        bar.set_message(format!("{customers} customers"));
        progress::start_at(&bar, customers);
        bar
    }
}

fn other_input(file: &PartialFile, input: &Path, customer: u64) -> StartupError {
    let reason = format!(
        "cannot be continued: customer {customer} of {} is another one; continue with the same \
         file, or delete the partial one",
        input.display()
    );
    unusable(file.path(), reason)
}
