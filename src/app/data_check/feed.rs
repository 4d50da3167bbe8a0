//! Checks the change feed: its row, its positions, and the events and customers of its entries.

use super::part::CheckedPart;
use crate::{
    domain::data_check::{DataCheck, Finding},
    error::Result,
    storage::{FeedRow, FeedState, Snapshot},
};

/// The state of a check.
#[derive(Debug)]
pub(super) struct FeedCheck {
    state: Option<FeedState>,
    /// The last position that was read.
    last: i64,
}

impl FeedCheck {
    /// Reads the row of the feed, and checks it.
    pub(super) async fn start(snapshot: &Snapshot) -> Result<(Self, Vec<Finding>)> {
        let state = snapshot.feed_state().await?;
        let epoch = state.and_then(|state| state.epoch);
        let finding = epoch
            .is_none()
            .then(|| Finding::of_row(DataCheck::FEED_STATE, "change_feed"));
        let check = Self {
            state,
            last: i64::MIN,
        };
        Ok((check, finding.into_iter().collect()))
    }

    /// Checks the next entries; there are none after the last one.
    pub(super) async fn check_page(&mut self, snapshot: &Snapshot) -> Result<CheckedPart> {
        let rows = snapshot.list_feed_entries(self.last).await?;
        let mut findings = Vec::new();
        for row in &rows {
            findings.extend(self.gap_before(row.position));
            findings.extend(check_entry(row));
            if self
                .state
                .is_some_and(|state| row.position > state.last_position)
            {
                findings.push(at(DataCheck::FEED_END, row));
            }
            self.last = row.position;
        }
        if rows.is_empty() {
            // The end must not be missing either.
            let end = self
                .state
                .map(|state| state.last_position.saturating_add(1));
            findings.extend(end.and_then(|end| self.gap_before(end)));
        }
        Ok(CheckedPart {
            feed_entries: rows.len() as u64,
            findings,
            ..CheckedPart::default()
        })
    }

    /// Returns a finding if positions between the last one and this one are missing. Up to the low
    /// watermark, the retention deletes entries.
    fn gap_before(&self, position: i64) -> Option<Finding> {
        let first = self.last.max(self.state?.low_watermark).saturating_add(1);
        (first < position).then(|| {
            let last = position - 1;
            Finding::of_row(DataCheck::FEED_GAP, format!("positions {first} to {last}"))
        })
    }
}

fn check_entry(row: &FeedRow) -> impl Iterator<Item = Finding> {
    let event = (!row.has_event).then(|| at(DataCheck::FEED_ENTRY_WITHOUT_EVENT, row));
    let customer = (!row.has_customer).then(|| at(DataCheck::FEED_ENTRY_WITHOUT_CUSTOMER, row));
    event.into_iter().chain(customer)
}

fn at(check: DataCheck, row: &FeedRow) -> Finding {
    let position = format!("position {}", row.position);
    if row.customer_number.is_empty() {
        Finding::of_row(check, position)
    } else {
        Finding::of_customer(check, &row.customer_number).with_row(position)
    }
}
