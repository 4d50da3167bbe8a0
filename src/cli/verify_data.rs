//! `verify-data`: checks all stored data, without changing any.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use clap::{Args, ValueEnum};
use contact_service::{
    app::DataChecker,
    config::Config,
    crypto::keyring::VersionedKeys,
    domain::data_check::Finding,
    observability::logging,
    storage::{Database, Snapshot},
};
use serde::Serialize;

use crate::cli::{
    bootstrap::{connect_existing, existing_peppers},
    progress::{self, progress_bar},
    startup_error::StartupError,
};

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct VerifyData {
    /// text or jsonl
    #[arg(long, value_enum, hide_possible_values = true, default_value = "text")]
    format: FindingFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FindingFormat {
    Text,
    Jsonl,
}

/// A finding as a JSON line.
#[derive(Serialize)]
struct FindingRow<'a> {
    check: &'static str,
    customer_number: Option<&'a str>,
    contact_id: Option<String>,
    row: Option<&'a str>,
    problem: &'static str,
    remedy: &'static str,
}

impl VerifyData {
    /// Checks the data, prints a line for each finding, and returns true if there are any.
    pub(crate) async fn run(&self, config: &Config) -> Result<bool, StartupError> {
        config.database_url()?;
        let peppers = existing_peppers(config)?;
        let _telemetry = logging::start(config)?;
        let database = connect_existing(config).await?;
        let verified = self.verify(&database, peppers).await;
        database.close().await;
        let summary = verified?;
        summary.print();
        Ok(!summary.findings.is_empty())
    }

    async fn verify(
        &self,
        database: &Database,
        peppers: Option<VersionedKeys>,
    ) -> Result<Summary, StartupError> {
        let snapshot = database.snapshot().await?;
        let bar = progress_bar(count(&snapshot).await?);
        let mut summary = Summary {
            knows_peppers: peppers.is_some(),
            ..Summary::default()
        };
        let peppers = peppers.map(|peppers| peppers.versions().map(i64::from).collect());
        let mut checker = DataChecker::new(snapshot, peppers);
        let mut output = BufWriter::new(io::stdout().lock());
        while let Some(part) = checker.check_next().await? {
            summary.customers += part.customers;
            summary.contacts += part.contacts;
            summary.feed_entries += part.feed_entries;
            for finding in &part.findings {
                *summary.findings.entry(finding.check.name).or_default() += 1;
                bar.suspend(|| self.print(&mut output, finding))?;
            }
            output.flush().map_err(|error| failed(&error))?;
            bar.set_position(summary.customers);
            bar.set_message(format!("{} customers", summary.customers));
        }
        bar.finish_and_clear();
        checker.end().await?;
        Ok(summary)
    }

    fn print(&self, output: &mut impl Write, finding: &Finding) -> Result<(), StartupError> {
        let written = match self.format {
            FindingFormat::Text => writeln!(output, "{finding}"),
            FindingFormat::Jsonl => serde_json::to_writer(&mut *output, &row(finding))
                .map_err(io::Error::other)
                .and_then(|()| writeln!(output)),
        };
        written.map_err(|error| failed(&error))
    }
}

/// Counts the customers for the progress bar.
async fn count(snapshot: &Snapshot) -> Result<Option<u64>, StartupError> {
    if progress::is_shown() {
        Ok(Some(snapshot.count_customers().await?))
    } else {
        Ok(None)
    }
}

fn row(finding: &Finding) -> FindingRow<'_> {
    FindingRow {
        check: finding.check.name,
        customer_number: finding.customer_number.as_deref(),
        contact_id: finding.contact_id.map(|id| id.0.to_string()),
        row: finding.row.as_deref(),
        problem: finding.check.problem,
        remedy: finding.check.remedy,
    }
}

fn failed(error: &io::Error) -> StartupError {
    StartupError::Output {
        output: "findings",
        reason: error.to_string(),
    }
}

/// The numbers of a run.
#[derive(Default)]
struct Summary {
    customers: u64,
    contacts: u64,
    feed_entries: u64,
    /// By the name of the check.
    findings: BTreeMap<&'static str, u64>,
    knows_peppers: bool,
}

impl Summary {
    /// Prints the numbers to standard error.
    fn print(&self) {
        eprintln!(
            "{} customers, {} contacts and {} entries of the change feed checked: {} findings",
            self.customers,
            self.contacts,
            self.feed_entries,
            self.findings.values().sum::<u64>()
        );
        for (name, count) in &self.findings {
            eprintln!("  {name}: {count}");
        }
        if !self.knows_peppers {
            eprintln!("  PHONE_PEPPER is not set: versions of phone passwords not checked");
        }
    }
}
