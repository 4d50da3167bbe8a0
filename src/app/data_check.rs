//! Checks of all stored data (`verify-data`), part by part, in one snapshot of the database.

mod customers;
mod feed;
mod part;

use std::collections::BTreeSet;

pub use self::part::CheckedPart;
use self::{customers::check_page, feed::FeedCheck};
use crate::{
    domain::data_check::{DataCheck, Finding},
    error::Result,
    storage::{InboxRow, NumberRange, Snapshot},
};

/// The part that is checked next.
#[derive(Debug)]
enum Stage {
    Customers(Option<NumberRange>),
    Feed(FeedCheck),
    Inbox(Option<InboxRow>),
    Hashes,
    Done,
}

/// Checks a snapshot.
#[derive(Debug)]
pub struct DataChecker {
    snapshot: Snapshot,
    /// The versions of the configured peppers; `None`: they are not known.
    peppers: Option<BTreeSet<i64>>,
    stage: Stage,
}

impl DataChecker {
    /// Creates a checker. Without the versions of the peppers those of phone passwords are not checked.
    pub const fn new(snapshot: Snapshot, peppers: Option<BTreeSet<i64>>) -> Self {
        Self {
            snapshot,
            peppers,
            stage: Stage::Customers(None),
        }
    }

    /// Checks the next part; returns `None` after the last one.
    ///
    /// # Errors
    /// Database errors.
    pub async fn check_next(&mut self) -> Result<Option<CheckedPart>> {
        let snapshot = &self.snapshot;
        let part = match &mut self.stage {
            Stage::Customers(last) => {
                if let Some(page) = snapshot.next_page(last.as_ref()).await? {
                    let part = check_page(snapshot, &page).await?;
                    *last = Some(page);
                    part
                } else {
                    let (check, findings) = FeedCheck::start(snapshot).await?;
                    self.stage = Stage::Feed(check);
                    found(findings)
                }
            }
            Stage::Feed(check) => {
                let part = check.check_page(snapshot).await?;
                if part.feed_entries == 0 {
                    self.stage = Stage::Inbox(None);
                }
                part
            }
            Stage::Inbox(last) => {
                let (mut rows, lacking) = snapshot.list_inbox(last.as_ref()).await?;
                let findings = lacking.iter().map(inbox_finding).collect();
                self.stage = rows
                    .pop()
                    .map_or(Stage::Hashes, |row| Stage::Inbox(Some(row)));
                found(findings)
            }
            Stage::Hashes => {
                let findings = self.check_hashes().await?;
                self.stage = Stage::Done;
                found(findings)
            }
            Stage::Done => return Ok(None),
        };
        Ok(Some(part))
    }

    /// Ends the snapshot.
    ///
    /// # Errors
    /// Database errors.
    pub async fn end(self) -> Result<()> {
        self.snapshot.end().await
    }

    async fn check_hashes(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if let Some(peppers) = &self.peppers {
            for (version, count) in self.snapshot.count_hashes_by_pepper().await? {
                if !peppers.contains(&version) {
                    let row = format!("version {version} of {count} phone passwords");
                    findings.push(Finding::of_row(DataCheck::PEPPER_MISSING, row));
                }
            }
        }
        let damaged = self.snapshot.count_damaged_recipients().await?;
        if damaged > 0 {
            let row = format!("{damaged} recipients");
            findings.push(Finding::of_row(DataCheck::MAIL_COUNT_FORM, row));
        }
        Ok(findings)
    }
}

fn found(findings: Vec<Finding>) -> CheckedPart {
    CheckedPart {
        findings,
        ..CheckedPart::default()
    }
}

fn inbox_finding(row: &InboxRow) -> Finding {
    let (check, event) = (
        DataCheck::INBOX_WITHOUT_EVENT,
        format!("event {}", row.event_id),
    );
    if row.customer_number.is_empty() {
        Finding::of_row(check, event)
    } else {
        Finding::of_customer(check, &row.customer_number).with_row(event)
    }
}
