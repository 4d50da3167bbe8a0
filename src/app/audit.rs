//! Reading the trail (rule 25).

use chrono::TimeDelta;

use crate::{
    app::{App, cut_page},
    crypto::pseudonym,
    domain::{
        audit::{Actor, AuditEvent, EventKind, EventRank},
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

    /// Records that a request of `actor` that names this customer was denied; nothing, if there is
    /// no such customer.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn record_denial(&self, actor: &Actor, number: &CustomerNumber) -> Result<()> {
        let now = self.now();
        let id = self.random.uuid_v7(now)?;
        let event = AuditEvent {
            customer_number: Some(number.clone()),
            ..AuditEvent::new(id, now, actor, EventKind::AccessDenied)
        };
        self.database.insert_disclosure(event).await.map(|_| ())
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
        // What was recorded of a customer of this number that was erased goes on under a
        // pseudonym, and is older.
        for pseudonym in self.pseudonyms(number) {
            let missing = one_more.saturating_sub(u64::try_from(events.len()).unwrap_or(u64::MAX));
            if missing == 0 {
                break;
            }
            let earlier = self.database.list_audit_events(&pseudonym, before, missing);
            events.extend(earlier.await?);
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

    /// Under what the trail of an erased customer of this number goes on.
    pub(super) fn pseudonyms(&self, number: &CustomerNumber) -> Vec<CustomerNumber> {
        pseudonym::pseudonyms(&self.service_keys, number)
    }
}
