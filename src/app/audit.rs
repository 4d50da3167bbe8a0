//! Reading the trail (rule 25).

use crate::{
    app::{App, cut_page},
    domain::{audit::AuditEvent, customer::CustomerNumber},
    error::Result,
};

/// Some of a customer's events.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// Sequence before which the next page begins; `None`: there is none.
    pub next_before: Option<i64>,
}

impl App {
    /// Up to `page_size` events before a sequence (`i64::MAX`: from the newest on).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`](crate::error::Error::CustomerNotFound) for a
    /// customer that is neither on file nor in the trail, and the failures of the
    /// database.
    pub async fn list_audit_events(
        &self,
        number: &CustomerNumber,
        before_sequence: i64,
        page_size: usize,
    ) -> Result<AuditPage> {
        let one_more = u64::try_from(page_size)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut events = self
            .database
            .list_audit_events(number, before_sequence, one_more)
            .await?;
        if events.is_empty() && before_sequence == i64::MAX {
            self.get_customer(number).await?;
        }
        let next_before = cut_page(&mut events, page_size, |event| event.sequence);
        Ok(AuditPage {
            events,
            next_before,
        })
    }
}
