//! Reads and maintains the audit log (rule 25).

use chrono::TimeDelta;

use super::{context::App, page::paginate};
use crate::{
    crypto::pseudonym,
    domain::{
        audit::{Actor, AuditEvent, EventFilter, EventKind, EventSortKey},
        ids::CustomerNumber,
    },
    error::Result,
    storage::{Disclosure, FeedLock, InboxRange},
};

/// A page of a customer's audit events.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// The exclusive upper bound of the next page; `None` on the last page.
    pub next_before: Option<EventSortKey>,
}

impl App {
    /// Deletes the events that are older than `retention` from the change feed and the audit log, and
    /// the records of phone orders, and returns the number of events in the audit log.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_events(&self, retention: TimeDelta) -> Result<u64> {
        let cutoff = self.now() - retention;
        // An event whose row is still in the inbox would be sequenced again without its entry. So
        // only entries from before a pass over the whole inbox are deleted.
        let last = self.database.feed_bounds().await?.last;
        self.sequence(InboxRange::all(), FeedLock::Wait).await?;
        let database = &self.database;
        database.delete_old_feed_entries(cutoff, last).await?;
        // Rule 28: records of orders follow the retention of the audit log.
        database.delete_old_phone_orders(cutoff).await?;
        database.delete_old_audit_events(cutoff).await
    }

    /// Records that a request of `actor` that names this customer was denied. Records nothing if
    /// the customer does not exist.
    ///
    /// # Errors
    /// Database errors.
    pub async fn record_denial(
        &self,
        actor: &Actor,
        customer_number: &CustomerNumber,
    ) -> Result<()> {
        let now = self.now();
        let id = self.random.uuid_v7(now)?;
        let event = AuditEvent {
            customer_number: Some(customer_number.clone()),
            ..AuditEvent::new(id, now, actor, EventKind::AccessDenied)
        };
        let disclosure = Disclosure {
            event,
            call_hash: None,
        };
        self.database.insert_disclosure(disclosure).await?;
        Ok(())
    }

    /// Returns up to `page_size` events of a customer, or of no customer, before a sort key, newest first;
    /// [`EventSortKey::LAST`] starts at the newest event.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`](crate::error::Error::CustomerNotFound) if the customer neither
    /// is on file nor has events.
    pub async fn list_audit_events(
        &self,
        customer_number: Option<&CustomerNumber>,
        filter: &EventFilter,
        before: EventSortKey,
        page_size: usize,
    ) -> Result<AuditPage> {
        let limit = u64::try_from(page_size)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut events = self
            .database
            .list_audit_events(customer_number, filter, before, limit)
            .await?;
        // The events of an erased customer with the same number are stored under a pseudonym, and
        // are older.
        let pseudonyms = customer_number.map(|number| self.pseudonyms(number));
        for pseudonym in pseudonyms.unwrap_or_default() {
            let missing = limit.saturating_sub(u64::try_from(events.len()).unwrap_or(u64::MAX));
            if missing == 0 {
                break;
            }
            let older = self
                .database
                .list_audit_events(Some(&pseudonym), filter, before, missing);
            events.extend(older.await?);
        }
        if let Some(number) = customer_number
            && events.is_empty()
            && before == EventSortKey::LAST
            && let Err(unknown) = self.get_customer(number).await
            && !self.has_erased_events(number).await?
        {
            return Err(unknown);
        }
        let next_before = paginate(&mut events, page_size, AuditEvent::sort_key);
        Ok(AuditPage {
            events,
            next_before,
        })
    }

    /// Returns true if a customer of this number was erased, and its events are still kept.
    pub(super) async fn has_erased_events(&self, customer_number: &CustomerNumber) -> Result<bool> {
        let (all, last) = (EventFilter::default(), EventSortKey::LAST);
        for pseudonym in self.pseudonyms(customer_number) {
            let events = self
                .database
                .list_audit_events(Some(&pseudonym), &all, last, 1);
            if !events.await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the pseudonyms under which the events of an erased customer of this number are
    /// stored, one for each service key, newest key first.
    pub(super) fn pseudonyms(&self, customer_number: &CustomerNumber) -> Vec<CustomerNumber> {
        pseudonym::pseudonyms(&self.service_keys, customer_number)
    }
}
