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

use std::path::PathBuf;

use clap::Args;
use contact_service::{
    app::{App, CustomerOutcome, FileRow, ImportMode, RowOutcome},
    config::Config,
    domain::contact_types::ContactType,
    error::Error,
    observability::logging,
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

/// Customers that are imported concurrently; an embedded database has one writer.
const CONCURRENCY: usize = 8;
const CONCURRENCY_EMBEDDED: usize = 1;
/// Contacts of one customer in a transaction: few enough for the transaction timeout of a slow or
/// distant database.
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
        let has_rejects = self.import(&app, database.is_embedded(), job).await;
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
        is_embedded: bool,
        job: ImportJob,
    ) -> Result<bool, StartupError> {
        let (source, table) = (&job.source, &job.table);
        let mut report = ImportReport::default();
        let imported = self.import_table(app, table, is_embedded, &mut report);
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
        is_embedded: bool,
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
        let concurrency = if is_embedded {
            CONCURRENCY_EMBEDDED
        } else {
            CONCURRENCY
        };
        let mut imported = stream::iter(customers)
            .map(|group| self.import_group(app, table, group))
            .buffer_unordered(concurrency);
        while let Some(imported) = imported.next().await {
            let ImportedGroup {
                group,
                rows,
                customer,
            } = imported?;
            report.add_customer(&group, &customer);
            for (row, outcome) in rows {
                report.add(row, outcome);
            }
            progress.set_position(report.processed());
            progress.set_message(format!("{} rejected", report.rejects.len()));
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Imports the rows of a customer that can be read and do not contradict one another.
    async fn import_group<'s>(
        &self,
        app: &App,
        table: &'s Table,
        group: Group<'s>,
    ) -> Result<ImportedGroup<'s>, Error> {
        let ParsedRows {
            mut contacts,
            rejects,
        } = group.parse(table);
        let rejects = rejects.into_iter();
        let mut rows: Vec<ImportedRow<'s>> = rejects
            .map(|reject| (reject.row, Err(reject.reason)))
            .collect();
        let mut customer = CustomerOutcome::Missing;
        let change = match customer_change(&contacts) {
            Ok(change) => change,
            Err(reason) => {
                let all = contacts.iter().map(|(row, _)| *row);
                rows.extend(all.map(|row| (row, Err(reason.clone()))));
                return Ok(ImportedGroup {
                    group,
                    rows,
                    customer,
                });
            }
        };
        // The first contact of a customer must be a STANDARD one, in any order of the file.
        contacts.sort_by_key(|(_, row)| !row.contact.types.contains(ContactType::Standard));
        for chunk in contacts.chunks(self.contacts_per_transaction()) {
            let new: Vec<FileRow> = chunk.iter().map(|(_, contact)| contact.clone()).collect();
            let import = || app.import_contacts(&group.number, &change, new.clone(), self.mode());
            let imported = with_retry(import).await?;
            let chunk = chunk.iter().map(|(row, _)| *row);
            rows.extend(chunk.zip(imported.rows.into_iter().map(Ok)));
            // After the first chunk the customer is on file.
            if customer == CustomerOutcome::Missing {
                customer = imported.customer;
            }
        }
        Ok(ImportedGroup {
            group,
            rows,
            customer,
        })
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

/// Returns the settings with a log filter that omits migrations, which would push the report off
/// the screen.
fn without_migrations(config: &Config) -> Config {
    let mut quiet = config.clone();
    if !config.log_filter.contains(MIGRATIONS) {
        quiet.log_filter = format!("{},{MIGRATIONS}=warn", config.log_filter);
    }
    quiet
}
