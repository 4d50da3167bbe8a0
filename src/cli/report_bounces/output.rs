//! The results as CSV, and their numbers.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use contact_service::domain::{
    delivery_report::{DeliveryStatus, ReportResult},
    enhanced_status::EnhancedStatus,
};
use serde::Serialize;

use super::outcome::Outcome;
use crate::cli::{atomic_file::AtomicFile, startup_error::StartupError};

/// A row: a recipient of a returned mail, or a message without one.
#[derive(Default, Serialize)]
struct ResultRow<'a> {
    file: &'a str,
    customer_number: &'a str,
    email: &'a str,
    status: &'static str,
    enhanced_status_code: String,
    report_time: String,
    result: &'static str,
    reason: &'a str,
}

/// The writer of the results.
pub(super) struct Output {
    writer: csv::Writer<Box<dyn Write + Send>>,
    /// The file and its path; `None`: standard output.
    file: Option<(AtomicFile, PathBuf)>,
}

impl Output {
    /// Opens standard output, or a file that replaces `path` once it is complete.
    pub(super) fn create(path: Option<&Path>) -> Result<Self, StartupError> {
        let file = path.map(AtomicFile::create_output).transpose()?;
        let file = file.zip(path.map(Path::to_owned));
        let target: Box<dyn Write + Send> = match &file {
            Some((file, path)) => {
                let writer = file.file().try_clone();
                Box::new(writer.map_err(|error| StartupError::unwritable(path, &error))?)
            }
            None => Box::new(io::stdout()),
        };
        let writer = csv::Writer::from_writer(target);
        Ok(Self { writer, file })
    }

    /// Writes the outcome of a recipient.
    pub(super) fn write(
        &mut self,
        file: &str,
        outcome: &Outcome,
        result: Option<ReportResult>,
    ) -> Result<(), StartupError> {
        let code = |code: EnhancedStatus| code.to_string();
        let row = match outcome {
            Ok(report) => ResultRow {
                file,
                customer_number: report.bounce.customer_number.as_str(),
                email: report.bounce.email.as_str(),
                status: status_name(report.bounce.status),
                enhanced_status_code: report.bounce.enhanced_status.map_or_else(String::new, code),
                report_time: report.time.to_rfc3339(),
                result: result.map_or("", result_name),
                reason: "",
            },
            Err(reason) => ResultRow {
                file,
                result: NOT_ATTRIBUTED,
                reason,
                ..ResultRow::default()
            },
        };
        self.writer.serialize(row).map_err(|error| failed(&error))
    }

    /// Flushes the results, and commits the file.
    pub(super) fn finish(mut self) -> Result<(), StartupError> {
        self.writer.flush().map_err(|error| failed(&error))?;
        let Some((file, path)) = self.file else {
            return Ok(());
        };
        file.commit()
            .map_err(|error| StartupError::unwritable(&path, &error))
    }
}

fn failed(error: &dyn std::fmt::Display) -> StartupError {
    StartupError::Output {
        output: "results",
        reason: error.to_string(),
    }
}

const NOT_ATTRIBUTED: &str = "NOT_ATTRIBUTED";

/// The numbers of the results.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) messages: usize,
    marked: usize,
    cleared: usize,
    recorded: usize,
    without_effect: usize,
    pub(super) held: usize,
    not_attributed: usize,
}

impl Summary {
    /// Counts a result; `None`: it could not be attributed.
    pub(super) fn add(&mut self, result: Option<ReportResult>) {
        let count = match result {
            Some(ReportResult::Marked) => &mut self.marked,
            Some(ReportResult::Cleared) => &mut self.cleared,
            Some(ReportResult::Recorded) => &mut self.recorded,
            Some(ReportResult::Held) => &mut self.held,
            Some(
                ReportResult::Unchanged
                | ReportResult::IgnoredOutdated
                | ReportResult::IgnoredNotCurrent
                | ReportResult::IgnoredNotMailbox
                | ReportResult::IgnoredTemporary,
            ) => &mut self.without_effect,
            None => &mut self.not_attributed,
        };
        *count += 1;
    }

    /// Prints the numbers to standard error.
    pub(super) fn print(&self) {
        eprintln!(
            "{} messages: {} addresses marked, {} marks removed, {} complaints recorded, {} without effect, {} not attributed",
            self.messages,
            self.marked,
            self.cleared,
            self.recorded,
            self.without_effect,
            self.not_attributed,
        );
        if self.held > 0 {
            eprintln!(
                "{} failures were held, as unusually many deliveries fail: check the sender, state the number of mails with --sent, or run again with --accept-burst",
                self.held
            );
        }
    }
}

const fn status_name(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Delivered => "DELIVERED",
        DeliveryStatus::FailedPermanently => "FAILED_PERMANENTLY",
        DeliveryStatus::FailedTemporarily => "FAILED_TEMPORARILY",
        DeliveryStatus::Complaint => "COMPLAINT",
    }
}

/// Returns the name in the contract.
const fn result_name(result: ReportResult) -> &'static str {
    match result {
        ReportResult::Marked => "MARKED",
        ReportResult::Cleared => "CLEARED",
        ReportResult::Recorded => "RECORDED",
        ReportResult::Unchanged => "UNCHANGED",
        ReportResult::IgnoredOutdated => "IGNORED_OUTDATED",
        ReportResult::IgnoredNotCurrent => "IGNORED_NOT_CURRENT",
        ReportResult::IgnoredNotMailbox => "IGNORED_NOT_MAILBOX",
        ReportResult::IgnoredTemporary => "IGNORED_TEMPORARY",
        ReportResult::Held => "HELD",
    }
}
