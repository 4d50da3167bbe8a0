//! The summary of a run in numbers, and the report of customers that no e-mail reaches.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    format::SEPARATOR,
    purpose::PurposeArg,
    row::{Delivery, Row},
};
use crate::cli::{atomic_file::AtomicFile, startup_error::StartupError};

/// Unreached customers that the report on standard error names.
const MAX_PRINTED: usize = 20;

/// The numbers of a run, and its report, which is written as the rows come.
pub(super) struct ResolveReport {
    customers: u64,
    tallies: Vec<(PurposeArg, Tally)>,
    file: Option<ReportFile>,
    has_file: bool,
    /// The first lines of the report, if it has no file.
    printed: Vec<String>,
    unreached: usize,
}

struct ReportFile {
    // Written through another handle of the file.
    writer: BufWriter<std::fs::File>,
    file: AtomicFile,
    path: PathBuf,
}

/// The numbers of one purpose. Every row counts in one of them.
#[derive(Default)]
struct Tally {
    by_email: u64,
    mails: u64,
    by_post: Reasons,
    not_at_all: Reasons,
    errors: Reasons,
}

/// Customers by the reason of their rows.
type Reasons = BTreeMap<String, u64>;

impl ResolveReport {
    /// Creates the file of the report, if it has one: it gets its name when it is complete.
    pub(super) fn create(
        path: Option<&Path>,
        purposes: &[PurposeArg],
    ) -> Result<Self, StartupError> {
        let tallies = purposes.iter();
        Ok(Self {
            customers: 0,
            tallies: tallies
                .map(|&purpose| (purpose, Tally::default()))
                .collect(),
            file: path.map(ReportFile::create).transpose()?,
            has_file: path.is_some(),
            printed: Vec::new(),
            unreached: 0,
        })
    }

    /// Adds the rows of one customer.
    pub(super) fn add<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> Result<(), StartupError> {
        self.customers += 1;
        for row in rows {
            let mut tallies = self.tallies.iter_mut();
            if let Some((_, tally)) = tallies.find(|(purpose, _)| *purpose == row.purpose) {
                tally.add(row);
            }
            if row.delivery != Delivery::Email {
                self.add_unreached(row)?;
            }
        }
        Ok(())
    }

    fn add_unreached(&mut self, row: &Row) -> Result<(), StartupError> {
        self.unreached += 1;
        if !self.has_file && self.printed.len() == MAX_PRINTED {
            return Ok(());
        }
        let purpose = if self.tallies.len() > 1 {
            format!("{}: ", row.purpose.as_str())
        } else {
            String::new()
        };
        let cause = match row.delivery {
            Delivery::Unknown => row.error.clone(),
            Delivery::Postal => format!("by post: {}", spoken(&row.reason)),
            Delivery::None | Delivery::Email => spoken(&row.reason),
        };
        let line = format!("{}: {purpose}{cause}", row.customer_number);
        match &mut self.file {
            Some(file) => file.write(&line)?,
            None => self.printed.push(line),
        }
        Ok(())
    }

    /// The number of customers so far.
    pub(super) const fn customers(&self) -> u64 {
        self.customers
    }

    /// Sets the number of e-mails for a purpose, if each address gets one for all of its customers.
    pub(super) fn set_mails(&mut self, mails: impl Fn(PurposeArg) -> u64) {
        for (purpose, tally) in &mut self.tallies {
            tally.mails = mails(*purpose);
        }
    }

    /// Completes the file of the report, if it has one.
    pub(super) fn complete_file(&mut self) -> Result<(), StartupError> {
        self.file.take().map_or(Ok(()), ReportFile::commit)
    }

    /// Prints the numbers to standard error, and the report if it has no file.
    pub(super) fn print(&self) {
        eprintln!("{} customers", self.customers);
        for (purpose, tally) in &self.tallies {
            eprint!("{}", tally.summary(*purpose));
        }
        if self.has_file {
            return;
        }
        for line in &self.printed {
            eprintln!("{line}");
        }
        if self.unreached > self.printed.len() {
            eprintln!("… and more: --report FILE lists them all");
        }
    }
}

impl Tally {
    fn add(&mut self, row: &Row) {
        let reasons = match row.delivery {
            Delivery::Email => {
                self.by_email += 1;
                self.mails += row.emails.len() as u64;
                return;
            }
            Delivery::Postal => &mut self.by_post,
            Delivery::None => &mut self.not_at_all,
            Delivery::Unknown => &mut self.errors,
        };
        match reasons.get_mut(&row.reason) {
            Some(count) => *count += 1,
            None => {
                reasons.insert(row.reason.clone(), 1);
            }
        }
    }

    fn summary(&self, purpose: PurposeArg) -> String {
        let mut lines = vec![
            format!("{}:", purpose.as_str()),
            format!("  by e-mail: {}, in {} mails", self.by_email, self.mails),
        ];
        for (name, reasons) in [
            ("by post", &self.by_post),
            ("not at all", &self.not_at_all),
            ("unresolved", &self.errors),
        ] {
            lines.push(format!("  {name}: {}", reasons.values().sum::<u64>()));
            let reasons = reasons.iter();
            lines.extend(reasons.map(|(reason, count)| format!("    {}: {count}", spoken(reason))));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

impl ReportFile {
    fn create(path: &Path) -> Result<Self, StartupError> {
        let file = AtomicFile::create_output(path)?;
        let writer = file.file().try_clone();
        let writer = writer.map_err(|error| StartupError::unwritable(path, &error))?;
        Ok(Self {
            writer: BufWriter::new(writer),
            file,
            path: path.to_owned(),
        })
    }

    fn write(&mut self, line: &str) -> Result<(), StartupError> {
        let written = writeln!(self.writer, "{line}");
        written.map_err(|error| StartupError::unwritable(&self.path, &error))
    }

    fn commit(mut self) -> Result<(), StartupError> {
        let written = self.writer.flush().and_then(|()| self.file.commit());
        written.map_err(|error| StartupError::unwritable(&self.path, &error))
    }
}

/// Returns the reasons of a row for people.
fn spoken(reason: &str) -> String {
    reason.replace(SEPARATOR, ", ")
}
