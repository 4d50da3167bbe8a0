//! Reading the trail (rule 25).

use chrono::TimeDelta;

use crate::{
    app::{App, cut_page, pseudonym},
    domain::{
        audit::{AuditEvent, EventRank},
        customer::CustomerNumber,
    },
    error::Result,
};

/// Some of a customer's events.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// Where the next page begins: before this; `None`: there is none.
    pub next_before: Option<EventRank>,
}

impl App {
    /// Deletes the events that are older than `kept_for`, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_old_events(&self, kept_for: TimeDelta) -> Result<u64> {
        let cutoff = self.now() - kept_for;
        self.database.delete_old_audit_events(cutoff).await
    }

    /// Up to `page_size` events before a rank ([`EventRank::LAST`]: from the newest on).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`](crate::error::Error::CustomerNotFound) for a
    /// customer that is neither on file nor in the trail, and the failures of the
    /// database.
    pub async fn list_audit_events(
        &self,
        number: &CustomerNumber,
        before: EventRank,
        page_size: usize,
    ) -> Result<AuditPage> {
        let one_more = u64::try_from(page_size)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut events = self
            .database
            .list_audit_events(number, before, one_more)
            .await?;
        if events.is_empty() {
            events = self.list_erased(number, before, one_more).await?;
        }
        if events.is_empty() && before == EventRank::LAST {
            self.get_customer(number).await?;
        }
        let next_before = cut_page(&mut events, page_size, AuditEvent::rank);
        Ok(AuditPage {
            events,
            next_before,
        })
    }

    /// The trail of an erased customer goes on under a pseudonym.
    async fn list_erased(
        &self,
        number: &CustomerNumber,
        before: EventRank,
        limit: u64,
    ) -> Result<Vec<AuditEvent>> {
        for pseudonym in pseudonym::pseudonyms(&self.service_keys, number) {
            let events = self
                .database
                .list_audit_events(&pseudonym, before, limit)
                .await?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }
}
