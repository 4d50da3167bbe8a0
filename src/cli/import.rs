//! `import FILE`: contacts from another system, as CSV or vCards.

use std::{collections::HashMap, path::PathBuf};

use clap::Args;
use contact_service::{
    app::{App, ContactRow, CustomerOutcome, ImportMode, RowOutcome},
    domain::{
        contact_import::{ImportKey, merge_customer},
        contact_types::ContactType,
        customer::CustomerChange,
        ids::CustomerNumber,
    },
    error::Error,
};
use csv::StringRecord;
use encoding_rs::Encoding;
use futures::{StreamExt, stream};

use self::{
    decoding::Source,
    mapping::Mapping,
    refused::RefusedFile,
    report::Report,
    rows::{Content, Row, Sheet},
};
use crate::cli::atomic_file::{patiently, progress_bar};

mod addresses;
mod cells;
mod columns;
mod decoding;
mod header;
mod long_lines;
mod mapping;
mod names;
mod refused;
mod report;
mod rows;
mod type_names;
mod vcards;

/// Customers whose rows are taken at once; an embedded database has one writer.
const AT_ONCE: usize = 8;
const AT_ONCE_EMBEDDED: usize = 1;
/// Contacts of one customer in a transaction: a database that is slow or far away takes them
/// within the time that it has for one.
const CONTACTS_AT_ONCE: usize = 20;
/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct ImportFile {
    /// A CSV file with a header, or vCards (.vcf)
    file: PathBuf,
    /// Validate only, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the addresses as confirmed, and send no mails
    #[arg(long)]
    emails_confirmed: bool,
    /// Create customers that are not on file yet
    #[arg(long)]
    create_customers: bool,
    // Backticks would be printed.
    #[arg(
        long,
        value_name = "COLUMN=NAME",
        help = "Rename, join or ignore columns; can be repeated:\n\
                'Kd-Nr=customer_number', 'Vorname+Nachname=Name',\n\
                'Fax=-', '*=-'"
    )]
    map: Vec<Mapping>,
    /// The encoding, if it cannot be detected: windows-1252
    #[arg(long, value_name = "NAME", value_parser = decoding::parse_encoding)]
    encoding: Option<&'static Encoding>,
}

/// A file that was read, and the one of its rejected rows.
pub(crate) struct Begun {
    source: Source,
    sheet: Sheet,
    refused_file: RefusedFile,
}

/// A row and what became of it, or why it was refused before anything on file was looked at.
type Answered<'s> = (&'s Row, Result<RowOutcome, String>);

/// The rows of one customer.
struct Group<'s> {
    number: CustomerNumber,
    rows: Vec<(&'s Row, &'s StringRecord)>,
}

impl ImportFile {
    /// Reads the file, and begins the one of its rejected rows, before a database is opened or made.
    ///
    /// # Errors
    /// A line that says what cannot be read or written.
    pub(crate) fn begin(&self) -> Result<Begun, String> {
        let source = decoding::read(&self.file, self.encoding)?;
        let sheet = self.sheet(&source)?;
        let refused_file = RefusedFile::begin(&self.file, &sheet.format)?;
        Ok(Begun {
            source,
            sheet,
            refused_file,
        })
    }

    /// Takes the rows, and writes those that are rejected next to the file. Returns whether there are
    /// any.
    ///
    /// # Errors
    /// A line that says what cannot be written, or that the database stayed away.
    pub(crate) async fn run(
        &self,
        app: &App,
        is_embedded: bool,
        begun: Begun,
    ) -> Result<bool, String> {
        let (source, sheet) = (&begun.source, &begun.sheet);
        let mut report = Report::default();
        let taken = self.take(app, sheet, is_embedded, &mut report).await;
        if let Err(error) = taken {
            let said = format!("{error}; {} rows were taken until then", report.taken);
            return Err(format!("{said}: start the import again, it goes on there"));
        }
        // A disk that is full must not take the report along.
        report.print(self.dry_run, source.encoding_name(sheet.decoder));
        let has_refused = !report.refused.is_empty();
        let file = begun.refused_file;
        let finished = file.finish(source, sheet, &report.refused)?;
        finished.print(has_refused);
        Ok(has_refused)
    }

    fn sheet(&self, source: &Source) -> Result<Sheet, String> {
        let extension = self.file.extension().unwrap_or_default();
        let is_of_cards = ["vcf", "vcard"]
            .iter()
            .any(|e| extension.eq_ignore_ascii_case(e));
        let sheet = if !is_of_cards && !vcards::are_in(&source.bytes) {
            Sheet::read(source, &self.map)
        } else if self.map.is_empty() {
            vcards::read(source)
        } else {
            Err("vCards have no columns: leave out --map".to_owned())
        };
        sheet.map_err(|why| format!("{}: {why}", self.file.display()))
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
        while let Some(answered) = answers.next().await {
            let (group, outcomes, customer) = answered?;
            report.note_customer(&group, &customer);
            for (row, outcome) in outcomes {
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
    ) -> Result<(Group<'s>, Vec<Answered<'s>>, CustomerOutcome), Error> {
        let (mut readable, mut outcomes) = group.read(sheet);
        let change = match customer_change(&readable) {
            Ok(change) => change,
            Err(reason) => {
                let rows = readable.iter().map(|(row, _)| *row);
                outcomes.extend(rows.map(|row| (row, Err(reason.clone()))));
                return Ok((group, outcomes, CustomerOutcome::Missing));
            }
        };
        // The first contact of a customer is a STANDARD one, whatever the order of the file.
        readable.sort_by_key(|(_, row)| !row.contact.types.contains(ContactType::Standard));
        let mode = self.mode();
        let mut customer = CustomerOutcome::Missing;
        for part in readable.chunks(self.contacts_at_once()) {
            let contacts: Vec<_> = part.iter().map(|(_, contact)| contact.clone()).collect();
            let import = || app.import_contacts(&group.number, &change, contacts.clone(), mode);
            let taken = patiently(import).await?;
            let rows = part.iter().map(|(row, _)| *row);
            outcomes.extend(rows.zip(taken.rows.into_iter().map(Ok)));
            // After the first part it is on file.
            if customer == CustomerOutcome::Missing {
                customer = taken.customer;
            }
        }
        Ok((group, outcomes, customer))
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
}

impl<'s> Group<'s> {
    /// The rows as contacts, and those that are refused whatever is on file. Of rows with one key only
    /// the first counts, also where an earlier run took it: a repetition refuses the same ones.
    fn read(&self, sheet: &Sheet) -> (Vec<(&'s Row, ContactRow)>, Vec<Answered<'s>>) {
        let (mut readable, mut refused) = (Vec::<(&Row, ContactRow)>::new(), Vec::new());
        let mut first_of: HashMap<ImportKey, usize> = HashMap::new();
        for (row, fields) in &self.rows {
            let contact = match cells::contact_row(&sheet.header, fields) {
                Ok(contact) => contact,
                Err(reason) => {
                    refused.push((*row, Err(reason)));
                    continue;
                }
            };
            let place = *first_of.entry(contact.key).or_insert(readable.len());
            match readable.get(place) {
                Some((first, said)) if said.values() != contact.values() => {
                    let reason = cells::contradiction(&sheet.header, fields, first.line);
                    refused.push((*row, Err(reason)));
                }
                _ => readable.push((*row, contact)),
            }
        }
        (readable, refused)
    }
}

/// Merges the columns about the customer itself from all of its rows.
///
/// # Errors
/// The lines of the first two that contradict each other: not one of the rows is taken then, so that
/// the customer is created with the data that is meant.
fn customer_change(rows: &[(&Row, ContactRow)]) -> Result<CustomerChange, String> {
    let mut change = CustomerChange::default();
    let mut earlier: HashMap<&str, u64> = HashMap::new();
    for (row, contact) in rows {
        for (column, merged) in merge_customer(&mut change, &contact.customer) {
            let first = *earlier.entry(column).or_insert(row.line);
            if !merged {
                let line = row.line;
                return Err(format!(
                    "{column}: lines {first} and {line} of the same customer contradict each other"
                ));
            }
        }
    }
    Ok(change)
}

/// The rows of each customer, in the order in which the file names them first. A row whose
/// customer cannot be read is rejected.
fn group<'s>(sheet: &'s Sheet, report: &mut Report<'s>) -> Vec<Group<'s>> {
    let mut groups: Vec<Group<'s>> = Vec::new();
    let mut places: HashMap<CustomerNumber, usize> = HashMap::new();
    for row in &sheet.rows {
        let fields = match &row.content {
            Content::Fields(fields) => fields,
            Content::Damaged(damage) => {
                report.refuse(row, damage.clone());
                continue;
            }
            Content::NoContact(why) => {
                report.skip(row, why);
                continue;
            }
        };
        let Some(number) = cells::customer_number(&sheet.header, fields) else {
            // Reading all of it finds all that is wrong.
            let reason = cells::contact_row(&sheet.header, fields).err();
            report.refuse(row, reason.unwrap_or_default());
            continue;
        };
        let place = *places.entry(number.clone()).or_insert(groups.len());
        if let Some(group) = groups.get_mut(place) {
            group.rows.push((row, fields));
        } else {
            let rows = vec![(row, fields)];
            groups.push(Group { number, rows });
        }
    }
    groups
}
