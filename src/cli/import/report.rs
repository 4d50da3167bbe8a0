//! The report of an import on one screen: counts, and reasons grouped by kind with their lines.

use std::{cmp::Reverse, collections::HashMap};

use contact_service::{
    app::{CustomerOutcome, RowOutcome},
    error::Error,
};

use super::{
    cells,
    groups::Group,
    rejects::{Reject, Written},
    rows::Row,
};

/// Limits with which the report has at most 20 lines.
const MAX_KINDS: usize = 4;
const MAX_NOTES: usize = 2;
const WIDTH: usize = 79;
const DIFFERING: &str = "row: was imported before with other values";

/// The outcomes of the rows.
#[derive(Default)]
pub(super) struct ImportReport<'s> {
    pub(super) imported: u64,
    duplicates: u64,
    mails: u64,
    customers: u64,
    pub(super) rejects: Vec<Reject<'s>>,
    skipped: Kinds,
    notes: Kinds,
}

/// Line numbers grouped by message.
#[derive(Default)]
struct Kinds(HashMap<String, Kind>);

struct Kind {
    text: String,
    lines: Vec<u64>,
}

impl Kinds {
    fn add(&mut self, text: &str, line: u64) {
        // Messages that differ only in numbers are of one kind.
        let key = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let kind = self.0.entry(key).or_insert_with(|| Kind {
            text: text.to_owned(),
            lines: Vec::new(),
        });
        kind.lines.push(line);
    }

    fn count(&self) -> usize {
        self.0.values().map(|kind| kind.lines.len()).sum()
    }

    /// Prints at most `max` kinds, those with the most lines first.
    fn print(self, max: usize) {
        let mut kinds: Vec<_> = self.0.into_values().collect();
        for kind in &mut kinds {
            kind.lines.sort_unstable();
        }
        let order = |kind: &Kind| (Reverse(kind.lines.len()), kind.lines.first().copied());
        kinds.sort_by_key(order);
        let others = kinds.len().saturating_sub(max);
        for kind in kinds.into_iter().take(max) {
            println!("  {}", cut(&kind.text, WIDTH - 2));
            println!("    {}", kind.lines());
        }
        if others > 0 {
            println!("  and {others} other kinds");
        }
    }
}

impl Kind {
    /// `lines 2, 3, 4 and 20 more`.
    fn lines(&self) -> String {
        let [line] = self.lines.as_slice() else {
            let mut text = "lines ".to_owned();
            for (index, line) in self.lines.iter().enumerate() {
                let more = format!("{}{line}", if index == 0 { "" } else { ", " });
                if text.len() + more.len() > WIDTH - 24 {
                    let rest = self.lines.len() - index;
                    return format!("{text} and {rest} more");
                }
                text.push_str(&more);
            }
            return text;
        };
        format!("line {line}")
    }
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let start: String = text.chars().take(max - 1).collect();
    format!("{start}…")
}

impl<'s> ImportReport<'s> {
    /// Adds the outcome of a row, or the reason why it was rejected.
    pub(super) fn add(&mut self, row: &'s Row, outcome: Result<RowOutcome, String>) {
        let is_rejected = match outcome {
            Ok(RowOutcome::Imported { mails_queued }) => {
                self.imported += 1;
                self.mails += u64::from(mails_queued);
                false
            }
            Ok(RowOutcome::Duplicate) => {
                self.duplicates += 1;
                false
            }
            Ok(RowOutcome::Conflict) => {
                self.reject(row, DIFFERING.to_owned());
                true
            }
            Ok(RowOutcome::Rejected(error)) => {
                self.reject(row, reason(&error));
                true
            }
            Err(reason) => {
                self.reject(row, reason);
                true
            }
        };
        for note in row.notes.iter().filter(|_| !is_rejected) {
            self.notes.add(note, row.line);
        }
    }

    /// Counts a created customer, and notes one whose data on file differs.
    pub(super) fn add_customer(&mut self, group: &Group<'_>, outcome: &CustomerOutcome) {
        match outcome {
            CustomerOutcome::OnFile { differing } if differing.is_empty() => {}
            CustomerOutcome::OnFile { .. } => {
                let text =
                    "contact data or settings differ from what is on file, and were not changed";
                self.notes.add(text, group.line());
            }
            CustomerOutcome::Created => self.customers += 1,
            CustomerOutcome::Missing => {}
        }
    }

    fn reject(&mut self, row: &'s Row, reason: String) {
        self.rejects.push(Reject { row, reason });
    }

    /// Adds a row that is no contact.
    pub(super) fn skip(&mut self, row: &Row, reason: &str) {
        self.skipped.add(reason, row.line);
    }

    /// The number of rows that have an outcome.
    pub(super) fn processed(&self) -> u64 {
        let skipped = self.skipped.count();
        self.imported + self.duplicates + (self.rejects.len() + skipped) as u64
    }

    /// Prints the report, except for the path of the rejected rows.
    pub(super) fn print(&mut self, dry_run: bool, encoding: &str) {
        self.rejects.sort_by_key(|reject| reject.row.line);
        let rejected = self.rejects.len();
        let [imported, created, queued] = if dry_run {
            [
                "would be imported",
                "that would be created",
                "that would be queued",
            ]
        } else {
            ["imported", "created", "queued"]
        };
        println!("read as {encoding}");
        let skipped = match self.skipped.count() {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        println!(
            "{} {imported}, {} already on file, {rejected} rejected{skipped}",
            self.imported, self.duplicates
        );
        for (noun, count) in [
            ("customers", self.customers),
            ("confirmation mails", self.mails),
        ] {
            if count > 0 {
                let done = if noun == "customers" { created } else { queued };
                println!("{noun} {done}: {count}");
            }
        }
        let mut reasons = Kinds::default();
        for reject in &self.rejects {
            reasons.add(&reject.reason, reject.row.line);
        }
        for (heading, kinds, max) in [
            ("skipped:", std::mem::take(&mut self.skipped), MAX_NOTES),
            ("imported, but:", std::mem::take(&mut self.notes), MAX_NOTES),
            ("rejected:", reasons, MAX_KINDS),
        ] {
            if !kinds.0.is_empty() {
                println!("{heading}");
                kinds.print(max);
            }
        }
    }
}

impl Written {
    /// Prints the paths of the rejected rows, of this run and an earlier one.
    pub(super) fn print(&self, has_rejects: bool) {
        let path = self.path.display();
        if has_rejects {
            println!("the rejected rows are in {path}");
        }
        if let Some(archived) = &self.archived {
            println!(
                "{path} of an earlier run was renamed to {}",
                archived.display()
            );
        }
    }
}

/// Returns the rule that a row violates, the name of the column first.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors name no column"
)]
fn reason(error: &Error) -> String {
    let column = match error {
        Error::CustomerNotFound => return "customer_number: is not on file".to_owned(),
        Error::InvalidFields(violations) => {
            let by_columns = violations.iter().map(|violation| {
                let field = violation.field.rsplit('.').next().unwrap_or_default();
                (field.to_owned(), violation.violation.to_string())
            });
            return cells::summary(&by_columns.collect::<Vec<_>>());
        }
        Error::ContactLimit { .. } => "customer_number",
        Error::FirstContactNotStandard => "types",
        Error::InvoiceEmailNotAllowed => "invoice_email_enabled",
        _ => "row",
    };
    format!("{column}: {error}")
}
