//! A run: customers are read, resolved and written concurrently.

use contact_service::{
    app,
    clock::Clock,
    domain::{
        ids::CustomerNumber,
        recipients::{Recipient, Resolution},
    },
    error::{Error, Result as ServiceResult},
    failpoint::failpoint,
    storage::Database,
};
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;

use super::{
    addresses::{AddressGroup, AddressGroups},
    output::Output,
    purpose::PurposeArg,
    report::ResolveReport,
    row::Row,
    source::Source,
};
use crate::cli::{retry::with_retry, startup_error::StartupError};

/// Batches that are resolved concurrently, ahead of the writer.
const CONCURRENCY: usize = 4;

/// The parts of a run.
pub(super) struct Run<'a> {
    pub(super) database: &'a Database,
    pub(super) purposes: Vec<PurposeArg>,
    pub(super) attention_line_chars: usize,
    /// True if a customer that is not on file has no rows: it was erased after it was listed.
    pub(super) omits_missing: bool,
    pub(super) sink: Sink,
    pub(super) report: ResolveReport,
    pub(super) progress: ProgressBar,
}

/// The form of the results.
pub(super) enum Sink {
    Rows(Output),
    Addresses(Output, Box<AddressGroups>),
}

/// The results of one customer: a row for each purpose, and its recipients.
type Resolved = Vec<(Row, Vec<Recipient>)>;

impl Run<'_> {
    /// Resolves the customers, and completes the results and the report.
    pub(super) async fn finish(mut self, source: Source) -> Result<(), StartupError> {
        let mut written = self.resolve(source).await;
        if written.is_ok() {
            written = self.complete();
        }
        self.progress.finish_and_clear();
        let (Sink::Rows(output) | Sink::Addresses(output, _)) = self.sink;
        if let Err(error) = written {
            return Err(output.with_hint(error));
        }
        output.finish()?;
        self.report.print();
        Ok(())
    }

    /// Writes what comes after the last customer. The report is complete before the results are: a
    /// run whose report cannot be written can be resumed.
    fn complete(&mut self) -> Result<(), StartupError> {
        match &mut self.sink {
            Sink::Rows(output) => output.write_header::<Row>()?,
            Sink::Addresses(output, groups) => {
                output.write_header::<AddressGroup>()?;
                for group in groups.groups() {
                    output.write(group)?;
                }
                self.report.set_mails(|purpose| groups.count(purpose));
            }
        }
        self.report.complete_file()
    }

    async fn resolve(&mut self, source: Source) -> Result<(), StartupError> {
        let resolver = Resolver {
            database: self.database,
            purposes: self.purposes.clone(),
            attention_line_chars: self.attention_line_chars,
            omits_missing: self.omits_missing,
        };
        let batches = source.batches(self.database);
        let results = batches
            .map(|numbers| async { resolver.resolve(numbers?).await })
            .buffered(CONCURRENCY);
        let mut results = std::pin::pin!(results);
        while let Some(batch) = results.try_next().await? {
            for customer in batch {
                self.write(&customer)?;
                failpoint("customer-written").await;
            }
            if let Sink::Rows(output) = &mut self.sink {
                output.flush()?;
            }
            let customers = self.report.customers();
            self.progress.set_position(customers);
            self.progress.set_message(format!("{customers} customers"));
        }
        Ok(())
    }

    fn write(&mut self, customer: &Resolved) -> Result<(), StartupError> {
        match &mut self.sink {
            Sink::Rows(output) => {
                for (row, _) in customer {
                    output.write(row)?;
                }
            }
            Sink::Addresses(_, groups) => {
                let number = customer
                    .first()
                    .map(|(row, _)| row.customer_number.as_str());
                if number.is_some_and(|number| groups.is_new(number)) {
                    for (row, recipients) in customer {
                        groups.add(&row.customer_number, row.purpose, recipients);
                    }
                }
            }
        }
        self.report.add(customer.iter().map(|(row, _)| row))
    }
}

struct Resolver<'a> {
    database: &'a Database,
    purposes: Vec<PurposeArg>,
    attention_line_chars: usize,
    omits_missing: bool,
}

impl Resolver<'_> {
    async fn resolve(&self, lines: Vec<String>) -> Result<Vec<Resolved>, StartupError> {
        let parsed: Vec<_> = lines
            .iter()
            .map(|line| CustomerNumber::parse(line))
            .collect();
        let numbers: Vec<_> = parsed.iter().flatten().cloned().collect();
        let purposes: Vec<_> = self
            .purposes
            .iter()
            .map(|&purpose| purpose.into())
            .collect();
        let (database, max_chars) = (self.database, self.attention_line_chars);
        let resolve = || async {
            let now = Clock::System.now();
            if self.omits_missing {
                app::resolve_listed(database, &numbers, &purposes, max_chars, now).await
            } else {
                app::resolve_many(database, &numbers, &purposes, max_chars, now).await
            }
        };
        let mut resolutions = with_retry(resolve).await?.into_iter();
        let mut results = Vec::with_capacity(lines.len());
        for (line, parsed) in lines.iter().zip(parsed) {
            if let Err(violation) = parsed {
                let violation = violation.to_string();
                results.push(self.rows(|purpose| Row::invalid(line, purpose, &violation)));
                continue;
            }
            let missing = || Error::internal("a customer has no resolution");
            let resolutions = resolutions.next().ok_or_else(missing)?;
            let was_erased = matches!(resolutions, Err(Error::CustomerNotFound));
            if !(was_erased && self.omits_missing) {
                results.push(self.resolved(line, resolutions));
            }
        }
        Ok(results)
    }

    fn resolved(&self, number: &str, resolutions: ServiceResult<Vec<Resolution>>) -> Resolved {
        match resolutions {
            Err(error) => self.rows(|purpose| Row::unresolved(number, purpose, &error)),
            Ok(resolutions) => {
                let resolutions = self.purposes.iter().zip(resolutions);
                let rows = resolutions.map(|(&purpose, resolution)| {
                    (Row::resolved(purpose, &resolution), resolution.recipients)
                });
                rows.collect()
            }
        }
    }

    /// Returns a row without recipients for each purpose.
    fn rows(&self, row: impl Fn(PurposeArg) -> Row) -> Resolved {
        let rows = self.purposes.iter();
        rows.map(|&purpose| (row(purpose), Vec::new())).collect()
    }
}
