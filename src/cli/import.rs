//! `import`: contacts from a CSV or vCard file of another system.

mod addresses;
mod cells;
mod columns;
mod encoding;
mod groups;
mod header;
mod long_lines;
mod mapping;
mod names;
mod rejects;
mod report;
mod rows;
mod type_names;
mod vcards;

use std::{path::PathBuf, vec};

use clap::Args;
use contact_service::{
    app::{App, CustomerOutcome, CustomerRows, FileRow, ImportMode, ImportResult, RowOutcome},
    config::Config,
    domain::{contact_types::ContactType, customer::CustomerChange},
    error::Error,
    observability::logging,
    storage::Database,
};
use encoding_rs::Encoding;
use futures::{StreamExt, stream};

use self::{
    encoding::SourceFile,
    groups::{Group, GroupedRows, ParsedRows, customer_change},
    mapping::Mapping,
    rejects::RejectsFile,
    report::ImportReport,
    rows::{Row, Table},
};
use crate::cli::{
    bootstrap::{app_without_keys, connect, prepare_schema},
    progress::progress_bar,
    retry::with_retry,
    startup_error::StartupError,
};

/// Transactions that run concurrently; an embedded database has one writer.
const CONCURRENCY: usize = 8;
const CONCURRENCY_EMBEDDED: usize = 1;
/// Customers in a transaction, and contacts of each: few enough for the transaction timeout of a slow
/// or distant database.
const CUSTOMERS_PER_TRANSACTION: usize = 32;
const CONTACTS_PER_TRANSACTION: usize = 20;
/// The log target of the migrations.
const MIGRATIONS: &str = "sea_orm_migration";

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct ImportFile {
    /// A CSV file with a header row, or vCards (.vcf)
    file: PathBuf,
    /// Validate only; send no confirmation e-mails
    #[arg(long)]
    dry_run: bool,
    /// Treat addresses as confirmed; send no e-mails
    #[arg(long)]
    emails_confirmed: bool,
    /// Create customers that are not on file yet
    #[arg(long)]
    create_customers: bool,
    // Backticks would be printed.
    #[arg(
        long,
        value_name = "COLUMN=NAME",
        help = "Rename, join or ignore columns; repeatable:\n\
                'Kd-Nr=customer_number', 'Vorname+Nachname=Name',\n\
                'Fax=-', '*=-'"
    )]
    map: Vec<Mapping>,
    /// The encoding if it is not detected: windows-1252
    #[arg(long, value_name = "NAME", value_parser = encoding::parse_encoding)]
    encoding: Option<&'static Encoding>,
}

/// A file that was read, and the open file for its rejected rows.
struct ImportJob {
    source: SourceFile,
    table: Table,
    rejects: RejectsFile,
}

/// A row and its outcome, or the reason why it was rejected before the database was queried.
type ImportedRow<'s> = (&'s Row, Result<RowOutcome, String>);

/// The outcomes of one customer's rows.
struct ImportedGroup<'s> {
    group: Group<'s>,
    rows: Vec<ImportedRow<'s>>,
    customer: CustomerOutcome,
}

/// A customer whose contacts are yet to be imported.
struct PendingGroup<'s> {
    change: CustomerChange,
    contacts: vec::IntoIter<(&'s Row, FileRow)>,
    /// The outcomes so far.
    imported: ImportedGroup<'s>,
}

impl ImportFile {
    /// Imports the rows, and writes rejected ones to a file next to the source. Returns true if
    /// there are any. The files are opened before a database is opened or created.
    pub(crate) async fn run(&self, config: &Config) -> Result<bool, StartupError> {
        config.database_url()?;
        let job = self.open()?;
        let _telemetry = logging::start(&without_migrations(config))?;
        let database = connect(config).await?;
        prepare_schema(&database, false).await?;
        let app = app_without_keys(config, &database)?;
        let has_rejects = self.import(&app, &database, job).await;
        database.close().await;
        has_rejects
    }

    fn open(&self) -> Result<ImportJob, StartupError> {
        let source = encoding::read(&self.file, self.encoding)?;
        let table = self.table(&source)?;
        let rejects = RejectsFile::create(&self.file, &table.format)?;
        Ok(ImportJob {
            source,
            table,
            rejects,
        })
    }

    fn table(&self, source: &SourceFile) -> Result<Table, StartupError> {
        let extension = self.file.extension().unwrap_or_default();
        let has_vcard_extension = ["vcf", "vcard"]
            .iter()
            .any(|e| extension.eq_ignore_ascii_case(e));
        let table = if !has_vcard_extension && !vcards::are_in(&source.bytes) {
            Table::read(source, &self.map)
        } else if self.map.is_empty() {
            vcards::read(source)
        } else {
            Err("vCards have no columns: leave out --map".to_owned())
        };
        table.map_err(|reason| StartupError::Malformed {
            path: self.file.clone(),
            reason,
        })
    }

    async fn import(
        &self,
        app: &App,
        database: &Database,
        job: ImportJob,
    ) -> Result<bool, StartupError> {
        let (source, table) = (&job.source, &job.table);
        let mut report = ImportReport::default();
        let imported = self.import_table(app, table, database, &mut report);
        if let Err(error) = imported.await {
            let imported = report.imported;
            return Err(StartupError::Import { error, imported });
        }
        // Printed before the rejects are written, which fails if the disk is full.
        report.print(self.dry_run, source.encoding_name(table.decoder));
        let has_rejects = !report.rejects.is_empty();
        let written = job.rejects.finish(source, table, &report.rejects)?;
        written.print(has_rejects);
        Ok(has_rejects)
    }

    async fn import_table<'s>(
        &self,
        app: &App,
        table: &'s Table,
        database: &Database,
        report: &mut ImportReport<'s>,
    ) -> Result<(), Error> {
        let progress = progress_bar(Some(table.rows.len() as u64));
        let GroupedRows {
            customers,
            rejects,
            skipped,
        } = GroupedRows::of(table);
        report.rejects.extend(rejects);
        for (row, reason) in skipped {
            report.skip(row, reason);
        }
        let concurrency = if database.is_embedded() {
            CONCURRENCY_EMBEDDED
        } else {
            CONCURRENCY
        };
        // A transaction on several nodes would be a two-phase commit.
        let customers_per_transaction = if database.is_distributed() {
            1
        } else {
            CUSTOMERS_PER_TRANSACTION
        };
        let mut imported = stream::iter(customers)
            .chunks(customers_per_transaction)
            .map(|groups| self.import_groups(app, table, groups))
            .buffer_unordered(concurrency);
        while let Some(imported) = imported.next().await {
            for imported in imported? {
                report.add_customer(&imported.group, &imported.customer);
                for (row, outcome) in imported.rows {
                    report.add(row, outcome);
                }
            }
            progress.set_position(report.processed());
            progress.set_message(format!("{} rejected", report.rejects.len()));
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Imports the rows of some customers: those of each that can be read and do not contradict one
    /// another.
    async fn import_groups<'s>(
        &self,
        app: &App,
        table: &'s Table,
        mut groups: Vec<Group<'s>>,
    ) -> Result<Vec<ImportedGroup<'s>>, Error> {
        groups.sort_unstable_by(|one, other| one.number.cmp(&other.number));
        let mut pending: Vec<_> = groups.into_iter().map(|of| parse(of, table)).collect();
        loop {
            let (mut batch, mut imported) = (Vec::new(), Vec::new());
            for group in &mut pending {
                let contacts = group.contacts.by_ref();
                let (lines, rows): (Vec<_>, Vec<_>) =
                    contacts.take(self.contacts_per_transaction()).unzip();
                if !rows.is_empty() {
                    let (number, change) = (group.imported.group.number.clone(), &group.change);
                    batch.push(CustomerRows {
                        number,
                        change: change.clone(),
                        rows,
                    });
                    imported.push((&mut group.imported, lines));
                }
            }
            if batch.is_empty() {
                return Ok(pending.into_iter().map(|group| group.imported).collect());
            }
            let results = self.import_batch(app, &batch).await?;
            for ((group, lines), result) in imported.into_iter().zip(results) {
                let outcomes = result.rows.into_iter().map(Ok);
                group.rows.extend(lines.into_iter().zip(outcomes));
                // After the first transaction the customer is on file.
                if group.customer == CustomerOutcome::Missing {
                    group.customer = result.customer;
                }
            }
        }
    }

    /// Imports rows of some customers in one transaction. If that fails, each customer gets one of its
    /// own, so that a row that cannot be written, or a lock, stops no other customer.
    async fn import_batch(
        &self,
        app: &App,
        batch: &[CustomerRows],
    ) -> Result<Vec<ImportResult>, Error> {
        if batch.len() > 1
            && let Ok(results) = app.import_contacts(batch, self.mode()).await
        {
            return Ok(results);
        }
        let mut results = Vec::with_capacity(batch.len());
        for customer in batch.chunks(1) {
            let import = || app.import_contacts(customer, self.mode());
            results.extend(with_retry(import).await?);
        }
        Ok(results)
    }

    /// A dry run needs all contacts in one transaction: the next one would not see those before.
    const fn contacts_per_transaction(&self) -> usize {
        if self.dry_run {
            usize::MAX
        } else {
            CONTACTS_PER_TRANSACTION
        }
    }

    const fn mode(&self) -> ImportMode {
        ImportMode {
            dry_run: self.dry_run,
            emails_confirmed: self.emails_confirmed,
            create_customers: self.create_customers,
        }
    }
}

/// Parses the rows of a customer. If they contradict one another, all are rejected.
fn parse<'s>(group: Group<'s>, table: &Table) -> PendingGroup<'s> {
    let ParsedRows {
        mut contacts,
        rejects,
    } = group.parse(table);
    let rejects = rejects.into_iter();
    let mut rows: Vec<ImportedRow<'s>> = rejects
        .map(|reject| (reject.row, Err(reject.reason)))
        .collect();
    let change = customer_change(&contacts).unwrap_or_else(|reason| {
        let all = contacts.drain(..);
        rows.extend(all.map(|(row, _)| (row, Err(reason.clone()))));
        CustomerChange::default()
    });
    // The first contact of a customer must be a STANDARD one, in any order of the file.
    contacts.sort_by_key(|(_, row)| !row.contact.types.contains(ContactType::Standard));
    PendingGroup {
        change,
        contacts: contacts.into_iter(),
        imported: ImportedGroup {
            group,
            rows,
            customer: CustomerOutcome::Missing,
        },
    }
}

/// Returns the settings with a log filter that omits migrations, which would push the report off
/// the screen.
fn without_migrations(config: &Config) -> Config {
    let mut quiet = config.clone();
    if !config.log_filter.contains(MIGRATIONS) {
        quiet.log_filter = format!("{},{MIGRATIONS}=warn", config.log_filter);
    }
    quiet
}
