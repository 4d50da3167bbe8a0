//! `import FILE`: contacts from another system, as CSV or vCards.

use std::{collections::HashMap, path::PathBuf};

use clap::Args;
use contact_service::{
    app::{App, ContactRow, ImportMode, RowOutcome},
    domain::{contact_import::ImportKey, contact_types::ContactType, customer::CustomerNumber},
    error::{Error, FieldViolation},
};
use futures::{StreamExt, stream};

use self::{
    decoding::Decoded,
    refused::{Finished, Refused, RefusedFile},
    rows::{Row, Sheet},
};
use crate::command_files::{patiently, progress_bar};

mod cells;
mod columns;
mod decoding;
mod refused;
mod rows;
mod vcards;

/// Customers whose rows are taken at once; an embedded database has one writer.
const AT_ONCE: usize = 8;
const AT_ONCE_EMBEDDED: usize = 1;
/// Contacts of one customer in a transaction: a database that is slow or far away takes them
/// within the time that it has for one.
const CONTACTS_AT_ONCE: usize = 20;
/// How many refused rows are told at once; the file has them all.
const MOST_TOLD: usize = 20;

/// What the command takes.
#[derive(Debug, Args)]
pub(crate) struct ImportFile {
    /// A CSV file with a header, or vCards (.vcf)
    file: PathBuf,
    /// Judge only, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the addresses as confirmed, and write to nobody
    #[arg(long)]
    emails_confirmed: bool,
    /// Put customers on file that are not there yet
    #[arg(long)]
    create_customers: bool,
}

/// A file that was read, and the one of its refused rows.
pub(crate) struct Begun {
    encoding: &'static str,
    is_marked: bool,
    sheet: Sheet,
    refused_file: RefusedFile,
}

/// What became of the rows.
#[derive(Default)]
struct Report<'s> {
    taken: u64,
    already_there: u64,
    mails: u64,
    refused: Vec<Refused<'s>>,
}

/// A row and what became of it, or why it was refused before anything on file was looked at.
type Answered<'s> = (&'s Row, Result<RowOutcome, String>);

/// The rows of one customer.
struct Group<'s> {
    number: CustomerNumber,
    rows: Vec<&'s Row>,
}

impl ImportFile {
    /// Reads the file, and begins the one of its refused rows, before a database is opened or made.
    ///
    /// # Errors
    /// A line that says what cannot be read or written.
    pub(crate) fn begin(&self) -> Result<Begun, String> {
        let decoded = decoding::read(&self.file)?;
        let sheet = self.sheet(&decoded)?;
        Ok(Begun {
            encoding: decoded.encoding,
            is_marked: decoded.is_marked,
            sheet,
            refused_file: RefusedFile::begin(&self.file)?,
        })
    }

    /// Takes the rows, and writes those beside the file that are refused. Gives whether there are
    /// such.
    ///
    /// # Errors
    /// A line that says what cannot be written, or that the database stayed away.
    pub(crate) async fn run(
        &self,
        app: &App,
        is_embedded: bool,
        begun: Begun,
    ) -> Result<bool, String> {
        let sheet = &begun.sheet;
        let mut report = Report::default();
        let taken = self.take(app, sheet, is_embedded, &mut report).await;
        if let Err(error) = taken {
            let said = format!("{error}; {} rows were taken until then", report.taken);
            return Err(format!("{said}: start the import again, it goes on there"));
        }
        report.refused.sort_by_key(|refused| refused.row.line);
        // A disk that is full must not take the report along.
        self.tell(&report, begun.encoding);
        let file = begun.refused_file;
        let finished = file.finish(sheet, begun.is_marked, &report.refused)?;
        finished.tell(&report);
        Ok(!report.refused.is_empty())
    }

    fn sheet(&self, decoded: &Decoded) -> Result<Sheet, String> {
        let extension = self.file.extension().unwrap_or_default();
        let read = if extension.eq_ignore_ascii_case("vcf") {
            vcards::read
        } else {
            Sheet::read
        };
        read(&decoded.text).map_err(|why| format!("{}: {why}", self.file.display()))
    }

    async fn take<'s>(
        &self,
        app: &App,
        sheet: &'s Sheet,
        is_embedded: bool,
        report: &mut Report<'s>,
    ) -> Result<(), Error> {
        let progress = progress_bar(Some(sheet.rows.len() as u64));
        let groups = group(sheet, report);
        let at_once = if is_embedded {
            AT_ONCE_EMBEDDED
        } else {
            AT_ONCE
        };
        let mut answers = stream::iter(groups)
            .map(|group| self.take_group(app, sheet, group))
            .buffer_unordered(at_once);
        while let Some(outcomes) = answers.next().await {
            for (row, outcome) in outcomes? {
                report.note(row, outcome);
            }
            progress.set_position(report.judged());
            progress.set_message(format!("{} refused", report.refused.len()));
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Takes the rows of a customer that can be read and do not contradict one another.
    async fn take_group<'s>(
        &self,
        app: &App,
        sheet: &'s Sheet,
        group: Group<'s>,
    ) -> Result<Vec<Answered<'s>>, Error> {
        let (mut readable, mut outcomes) = group.read(sheet);
        // The first contact of a customer is a STANDARD one, whatever the order of the file.
        readable.sort_by_key(|(_, row)| !row.contact.types.contains(ContactType::Standard));
        let mode = self.mode();
        for part in readable.chunks(self.contacts_at_once()) {
            let contacts: Vec<_> = part.iter().map(|(_, contact)| contact.clone()).collect();
            let taken =
                patiently(|| app.import_contacts(&group.number, contacts.clone(), mode)).await?;
            let rows = part.iter().map(|(row, _)| *row);
            outcomes.extend(rows.zip(taken.into_iter().map(Ok)));
        }
        Ok(outcomes)
    }

    /// Of what is not stored, the next transaction would know nothing.
    const fn contacts_at_once(&self) -> usize {
        if self.dry_run {
            usize::MAX
        } else {
            CONTACTS_AT_ONCE
        }
    }

    const fn mode(&self) -> ImportMode {
        ImportMode {
            dry_run: self.dry_run,
            emails_confirmed: self.emails_confirmed,
            create_customers: self.create_customers,
        }
    }

    fn tell(&self, report: &Report<'_>, encoding: &str) {
        let refused = report.refused.len();
        let (taken, mails) = if self.dry_run {
            ("would be taken", "that would be queued")
        } else {
            ("taken", "queued")
        };
        println!("read as {encoding}");
        println!(
            "{} {taken}, {} already there, {refused} refused",
            report.taken, report.already_there
        );
        if report.mails > 0 {
            println!("confirmation mails {mails}: {}", report.mails);
        }
        for refused in report.refused.iter().take(MOST_TOLD) {
            println!("line {}: {}", refused.row.line, refused.reason);
        }
        if refused > MOST_TOLD {
            println!("… and {} more", refused - MOST_TOLD);
        }
    }
}

impl Finished {
    fn tell(&self, report: &Report<'_>) {
        let path = self.path.display();
        if !report.refused.is_empty() {
            println!("the refused rows stand in {path}");
        }
        if let Some(earlier) = &self.earlier {
            println!(
                "what an earlier run left in {path} is now {}",
                earlier.display()
            );
        }
    }
}

impl<'s> Group<'s> {
    /// The rows as contacts, and those that are refused whatever is on file. Of rows with one key only
    /// the first counts, also where an earlier run took it: a repetition refuses the same ones.
    fn read(&self, sheet: &Sheet) -> (Vec<(&'s Row, ContactRow)>, Vec<Answered<'s>>) {
        let (mut readable, mut refused) = (Vec::<(&Row, ContactRow)>::new(), Vec::new());
        let mut first_of: HashMap<ImportKey, usize> = HashMap::new();
        for row in &self.rows {
            let contact = match cells::contact_row(&sheet.header, &row.fields) {
                Ok(contact) => contact,
                Err(reason) => {
                    refused.push((*row, Err(reason)));
                    continue;
                }
            };
            let place = *first_of.entry(contact.key).or_insert(readable.len());
            match readable.get(place) {
                Some((first, said)) if !said.agrees_with(&contact) => {
                    let reason = cells::contradiction(&sheet.header, &row.fields, first.line);
                    refused.push((*row, Err(reason)));
                }
                _ => readable.push((*row, contact)),
            }
        }
        (readable, refused)
    }
}

impl<'s> Report<'s> {
    fn note(&mut self, row: &'s Row, outcome: Result<RowOutcome, String>) {
        match outcome {
            Ok(RowOutcome::Taken { has_mail }) => {
                self.taken += 1;
                self.mails += u64::from(has_mail);
            }
            Ok(RowOutcome::AlreadyThere) => self.already_there += 1,
            Ok(RowOutcome::Refused(error)) => self.refuse(row, reason(&error)),
            Err(reason) => self.refuse(row, reason),
        }
    }

    fn refuse(&mut self, row: &'s Row, reason: String) {
        self.refused.push(Refused { row, reason });
    }

    fn judged(&self) -> u64 {
        self.taken + self.already_there + self.refused.len() as u64
    }
}

/// The rows of each customer, in the order in which the file names them first. A row whose
/// customer cannot be read is refused.
fn group<'s>(sheet: &'s Sheet, report: &mut Report<'s>) -> Vec<Group<'s>> {
    let mut groups: Vec<Group<'s>> = Vec::new();
    let mut places: HashMap<CustomerNumber, usize> = HashMap::new();
    for row in &sheet.rows {
        if let Some(damage) = &row.damage {
            report.refuse(row, damage.clone());
            continue;
        }
        let Some(number) = cells::customer_number(&sheet.header, &row.fields) else {
            // Reading all of it tells all that is wrong.
            let reason = cells::contact_row(&sheet.header, &row.fields).err();
            report.refuse(row, reason.unwrap_or_default());
            continue;
        };
        let place = *places.entry(number.clone()).or_insert(groups.len());
        if let Some(group) = groups.get_mut(place) {
            group.rows.push(row);
        } else {
            let rows = vec![row];
            groups.push(Group { number, rows });
        }
    }
    groups
}

/// Why a rule stands against a row, by the name of the column.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are not about rows, and speak for themselves"
)]
fn reason(error: &Error) -> String {
    let column = match error {
        Error::CustomerNotFound => return "customer_number: is not on file".to_owned(),
        Error::InvalidFields(violations) => {
            let by_columns = violations.iter().map(|violation| {
                let field = violation.field.rsplit('.').next().unwrap_or_default();
                FieldViolation::new(field, &violation.description)
            });
            return cells::told(&by_columns.collect::<Vec<_>>());
        }
        Error::ContactLimit { .. } => "customer_number",
        Error::FirstContactNotStandard => "types",
        Error::InvoiceEmailNotAllowed => "invoice_email_enabled",
        _ => "row",
    };
    format!("{column}: {error}")
}
