//! The answers as CSV or JSON lines. A file appears whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use contact_service::domain::recipients::DeliveryMethod;
use serde::Serialize;

use super::Outcome;
use crate::cli::atomic_file::{cannot, part_of};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A row a customer, under a head
    Csv,
    /// An object a customer and line
    Jsonl,
}

/// An answer as it is written. In CSV the addresses stand in one column, with semicolons
/// between, which no address holds.
#[derive(Serialize)]
struct Row<'a, Emails> {
    customer_number: &'a str,
    delivery: &'a str,
    emails: Emails,
    attention_line: &'a str,
    error: &'a str,
}

impl<'a, Emails> Row<'a, Emails> {
    fn new(customer_number: &'a str, outcome: &'a Outcome, emails: Emails) -> Self {
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

/// Where the answers go.
pub(crate) struct Sheet {
    writer: Writer,
    /// The file under its first name, and the one it gets when all is written.
    names: Option<(PathBuf, PathBuf)>,
}

enum Writer {
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
    Jsonl(BufWriter<Box<dyn Write + Send>>),
}

impl Sheet {
    /// # Errors
    /// A line that says why the file cannot be made.
    pub(crate) fn create(path: Option<&Path>, format: Format) -> std::result::Result<Self, String> {
        let names = path.map(|path| (part_of(path), path.to_owned()));
        let target: Box<dyn Write + Send> = match &names {
            Some((first, _)) => {
                Box::new(File::create(first).map_err(|error| cannot("written", first, &error))?)
            }
            None => Box::new(io::stdout()),
        };
        let writer = match format {
            Format::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(target))),
            Format::Jsonl => Writer::Jsonl(BufWriter::new(target)),
        };
        Ok(Self { writer, names })
    }

    /// # Errors
    /// A line that says why it cannot be written.
    pub(crate) fn write(
        &mut self,
        number: &str,
        outcome: &Outcome,
    ) -> std::result::Result<(), String> {
        let emails: Vec<&str> = outcome
            .iter()
            .flat_map(|resolution| &resolution.recipients)
            .map(|recipient| recipient.email.as_str())
            .collect();
        match &mut self.writer {
            Writer::Csv(csv) => csv
                .serialize(Row::new(number, outcome, emails.join(";")))
                .map_err(|error| error.to_string()),
            Writer::Jsonl(lines) => {
                let row = Row::new(number, outcome, emails);
                let written = serde_json::to_writer(&mut *lines, &row).map_err(io::Error::from);
                let written = written.and_then(|()| lines.write_all(b"\n"));
                written.map_err(|error| error.to_string())
            }
        }
        .map_err(|why| format!("the answers cannot be written: {why}"))
    }

    /// # Errors
    /// A line that says why it cannot be written.
    pub(crate) fn finish(mut self) -> std::result::Result<(), String> {
        let flushed = match &mut self.writer {
            Writer::Csv(csv) => csv.flush(),
            Writer::Jsonl(lines) => lines.flush(),
        };
        flushed.map_err(|error| format!("the answers cannot be written: {error}"))?;
        if let Some((first, last)) = &self.names {
            fs::rename(first, last).map_err(|error| cannot("written", last, &error))?;
        }
        Ok(())
    }
}
