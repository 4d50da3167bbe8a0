//! The results as CSV or JSON lines. A file appears under its name only when it is complete.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use contact_service::domain::recipients::DeliveryMethod;
use serde::Serialize;

use super::line::LineOutcome;
use crate::cli::{atomic_file::AtomicFile, startup_error::StartupError};

// Doc comments of the variants would be printed by --help.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    Csv,
    Jsonl,
}

/// A result as it is written. CSV has all addresses in one column, separated by semicolons, which
/// no address contains.
#[derive(Serialize)]
struct AnswerRow<'a, Emails> {
    customer_number: &'a str,
    delivery: &'a str,
    emails: Emails,
    attention_line: &'a str,
    error: &'a str,
}

impl<'a, Emails> AnswerRow<'a, Emails> {
    fn new(customer_number: &'a str, outcome: &'a LineOutcome, emails: Emails) -> Self {
        let resolution = outcome.as_ref().ok();
        Self {
            customer_number,
            delivery: match resolution.map(|resolution| resolution.delivery) {
                Some(DeliveryMethod::Email) => "EMAIL",
                Some(DeliveryMethod::Postal) => "POSTAL",
                Some(DeliveryMethod::None) => "NONE",
                None => "",
            },
            emails,
            attention_line: resolution.map_or("", |resolution| &resolution.attention_line.text),
            error: outcome.as_ref().err().map_or("", String::as_str),
        }
    }
}

/// The writer of the results.
pub(super) struct Output {
    writer: Writer,
    /// The file and its path; `None`: standard output.
    file: Option<(AtomicFile, PathBuf)>,
}

enum Writer {
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
    Jsonl(BufWriter<Box<dyn Write + Send>>),
}

impl Output {
    /// Opens standard output, or a file that replaces `path` once it is complete.
    pub(super) fn create(path: Option<&Path>, format: OutputFormat) -> Result<Self, StartupError> {
        let file = path.map(AtomicFile::create_output).transpose()?;
        let file = file.zip(path.map(Path::to_owned));
        let target: Box<dyn Write + Send> = match &file {
            Some((file, path)) => {
                let writer = file.file().try_clone();
                Box::new(writer.map_err(|error| StartupError::unwritable(path, &error))?)
            }
            None => Box::new(io::stdout()),
        };
        let writer = match format {
            OutputFormat::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(target))),
            OutputFormat::Jsonl => Writer::Jsonl(BufWriter::new(target)),
        };
        Ok(Self { writer, file })
    }

    /// Writes one result.
    pub(super) fn write(
        &mut self,
        number: &str,
        outcome: &LineOutcome,
    ) -> Result<(), StartupError> {
        let emails: Vec<&str> = outcome
            .iter()
            .flat_map(|resolution| &resolution.recipients)
            .map(|recipient| recipient.email.as_str())
            .collect();
        match &mut self.writer {
            Writer::Csv(csv) => csv
                .serialize(AnswerRow::new(number, outcome, emails.join(";")))
                .map_err(|error| error.to_string()),
            Writer::Jsonl(lines) => {
                let row = AnswerRow::new(number, outcome, emails);
                let written = serde_json::to_writer(&mut *lines, &row).map_err(io::Error::from);
                let written = written.and_then(|()| lines.write_all(b"\n"));
                written.map_err(|error| error.to_string())
            }
        }
        .map_err(failed)
    }

    /// Flushes the results, and commits the file.
    pub(super) fn finish(mut self) -> Result<(), StartupError> {
        let flushed = match &mut self.writer {
            Writer::Csv(csv) => csv.flush(),
            Writer::Jsonl(lines) => lines.flush(),
        };
        flushed.map_err(|error| failed(error.to_string()))?;
        let Some((file, path)) = self.file else {
            return Ok(());
        };
        file.commit()
            .map_err(|error| StartupError::unwritable(&path, &error))
    }
}

fn failed(reason: String) -> StartupError {
    StartupError::Output {
        output: "results",
        reason,
    }
}
