//! The outcome of an import on one screen: counts, and reasons grouped by kind with their lines.

use std::{cmp::Reverse, collections::HashMap};

use contact_service::{
    app::{CustomerOutcome, RowOutcome},
    error::{Error, FieldViolation},
};

use super::{
    Group, cells,
    refused::{Finished, Refused},
    rows::Row,
};

/// The report of a file with every kind of row has at most 20 lines.
const MOST_KINDS: usize = 4;
const MOST_NOTES: usize = 2;
const WIDTH: usize = 79;
const DIFFERING: &str = "row: was imported before with other values";

/// The outcomes of the rows.
#[derive(Default)]
pub(super) struct Report<'s> {
    pub(super) taken: u64,
    already_there: u64,
    mails: u64,
    customers: u64,
    pub(super) refused: Vec<Refused<'s>>,
    skipped: Kinds,
    notes: Kinds,
}

/// Lines by what is said of them.
#[derive(Default)]
struct Kinds(HashMap<String, Kind>);

struct Kind {
    text: String,
    lines: Vec<u64>,
}

impl Kinds {
    fn add(&mut self, text: &str, line: u64) {
        // Places in a cell and other lines make no kind of their own.
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

    /// Prints the kinds of most lines first.
    fn print(self, most: usize) {
        let mut kinds: Vec<_> = self.0.into_values().collect();
        for kind in &mut kinds {
            kind.lines.sort_unstable();
        }
        let order = |kind: &Kind| (Reverse(kind.lines.len()), kind.lines.first().copied());
        kinds.sort_by_key(order);
        let others = kinds.len().saturating_sub(most);
        for kind in kinds.into_iter().take(most) {
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
            for (told, line) in self.lines.iter().enumerate() {
                let more = format!("{}{line}", if told == 0 { "" } else { ", " });
                if text.len() + more.len() > WIDTH - 24 {
                    let rest = self.lines.len() - told;
                    return format!("{text} and {rest} more");
                }
                text.push_str(&more);
            }
            return text;
        };
        format!("line {line}")
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most - 1).collect();
    format!("{start}…")
}

impl<'s> Report<'s> {
    pub(super) fn note(&mut self, row: &'s Row, outcome: Result<RowOutcome, String>) {
        let is_refused = match outcome {
            Ok(RowOutcome::Imported { mails_queued }) => {
                self.taken += 1;
                self.mails += u64::from(mails_queued);
                false
            }
            Ok(RowOutcome::Duplicate) => {
                self.already_there += 1;
                false
            }
            Ok(RowOutcome::Conflict) => {
                self.refuse(row, DIFFERING.to_owned());
                true
            }
            Ok(RowOutcome::Rejected(error)) => {
                self.refuse(row, reason(&error));
                true
            }
            Err(reason) => {
                self.refuse(row, reason);
                true
            }
        };
        for note in row.notes.iter().filter(|_| !is_refused) {
            self.notes.add(note, row.line);
        }
    }

    pub(super) fn note_customer(&mut self, group: &Group<'_>, outcome: &CustomerOutcome) {
        match outcome {
            CustomerOutcome::OnFile { differing } if differing.is_empty() => {}
            CustomerOutcome::OnFile { .. } => {
                let text =
                    "contact data or settings differ from what is on file, and were not changed";
                let line = group.rows.first().map_or(0, |(row, _)| row.line);
                self.notes.add(text, line);
            }
            CustomerOutcome::Created => self.customers += 1,
            CustomerOutcome::Missing => {}
        }
    }

    pub(super) fn refuse(&mut self, row: &'s Row, reason: String) {
        self.refused.push(Refused { row, reason });
    }

    pub(super) fn skip(&mut self, row: &Row, why: &str) {
        self.skipped.add(why, row.line);
    }

    pub(super) fn judged(&self) -> u64 {
        let skipped = self.skipped.count();
        self.taken + self.already_there + (self.refused.len() + skipped) as u64
    }

    /// Prints everything but what became of the file of rejected rows.
    pub(super) fn print(&mut self, dry_run: bool, encoding: &str) {
        self.refused.sort_by_key(|refused| refused.row.line);
        let refused = self.refused.len();
        let [taken, created, queued] = if dry_run {
            [
                "would be taken",
                "that would be created",
                "that would be queued",
            ]
        } else {
            ["taken", "created", "queued"]
        };
        println!("read as {encoding}");
        let skipped = match self.skipped.count() {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        println!(
            "{} {taken}, {} already there, {refused} refused{skipped}",
            self.taken, self.already_there
        );
        for (what, count) in [
            ("customers", self.customers),
            ("confirmation mails", self.mails),
        ] {
            if count > 0 {
                let done = if what == "customers" { created } else { queued };
                println!("{what} {done}: {count}");
            }
        }
        let mut reasons = Kinds::default();
        for refused in &self.refused {
            reasons.add(&refused.reason, refused.row.line);
        }
        for (heading, kinds, most) in [
            ("skipped:", std::mem::take(&mut self.skipped), MOST_NOTES),
            ("taken, but:", std::mem::take(&mut self.notes), MOST_NOTES),
            ("refused:", reasons, MOST_KINDS),
        ] {
            if !kinds.0.is_empty() {
                println!("{heading}");
                kinds.print(most);
            }
        }
    }
}

impl Finished {
    /// Prints where the rejected rows are.
    pub(super) fn print(&self, has_refused: bool) {
        let path = self.path.display();
        if has_refused {
            println!("the refused rows are in {path}");
        }
        if let Some(earlier) = &self.earlier {
            println!(
                "{path} of an earlier run was renamed to {}",
                earlier.display()
            );
        }
    }
}

/// The rule that a row breaks, by the name of the column.
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
