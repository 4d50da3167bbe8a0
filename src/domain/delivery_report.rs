//! Reports about deliveries to an address, and what they change (rule 32).

use chrono::{DateTime, Utc};

use crate::domain::{
    audit::EventKind,
    contact::Contact,
    customer::Customer,
    email_address::EmailAddress,
    enhanced_status::EnhancedStatus,
    ids::{ContactId, CustomerNumber},
};

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The mail server of the address accepted the mail.
    Delivered,
    /// The mail was rejected, or the sender gave up.
    FailedPermanently,
    /// The sender will try again.
    FailedTemporarily,
    /// The recipient reported the mail as unwanted.
    Complaint,
}

/// A report of a service that sent a mail.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The customer that was written to.
    pub customer_number: CustomerNumber,
    /// The address that was written to.
    pub email: EmailAddress,
    /// The outcome.
    pub status: DeliveryStatus,
    /// The code that the mail server gave.
    pub enhanced_status: Option<EnhancedStatus>,
    /// The time of the outcome.
    pub time: DateTime<Utc>,
}

/// The effect of a report. Of several addresses, the first of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportResult {
    /// The address is marked as failing.
    Marked,
    /// The mark was removed.
    Cleared,
    /// A complaint was recorded.
    Recorded,
    /// The address is not marked, and mails to it are delivered.
    Unchanged,
    /// Since then the address was entered, confirmed or delivered to; or it failed again.
    IgnoredOutdated,
    /// The customer no longer has the address, or is not on file.
    IgnoredNotCurrent,
    /// The code does not concern the address but, for example, the sender or a policy.
    IgnoredNotMailbox,
    /// A temporary failure.
    IgnoredTemporary,
    /// Unusually many reports are failures, which points to the sender.
    Held,
}

/// A changed address of a customer.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// The contact; `None`: the contact data.
    pub contact_id: Option<ContactId>,
    /// The event that records the change.
    pub kind: EventKind,
    /// The names of the changed fields.
    pub fields: Vec<&'static str>,
}

impl DeliveryReport {
    /// Returns the result of a report that needs no look at the customer.
    pub fn result_without_customer(&self) -> Option<ReportResult> {
        match self.status {
            DeliveryStatus::FailedTemporarily => Some(ReportResult::IgnoredTemporary),
            DeliveryStatus::FailedPermanently if !self.is_about_mailbox() => {
                Some(ReportResult::IgnoredNotMailbox)
            }
            DeliveryStatus::FailedPermanently
            | DeliveryStatus::Delivered
            | DeliveryStatus::Complaint => None,
        }
    }

    /// Servers that give no code are reported with `5.0.0`.
    fn is_about_mailbox(&self) -> bool {
        let is_about_mailbox =
            |code: EnhancedStatus| code.is_unspecific_failure() || code.is_about_mailbox();
        self.enhanced_status.is_none_or(is_about_mailbox)
    }
}

/// Applies a report about `email` to the addresses of a customer: to every contact that has it, and to the
/// contact data. An address that has replaced it is not affected.
pub fn apply_report(
    customer: &mut Customer,
    contacts: &mut [Contact],
    email: &EmailAddress,
    status: DeliveryStatus,
    time: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (ReportResult, Vec<AddressChange>) {
    let mut results = Vec::new();
    let mut changes = Vec::new();
    for contact in contacts {
        let before = contact.email_bounce_time;
        let mut fields = Vec::new();
        if contact
            .email
            .as_ref()
            .is_some_and(|own| own.is_same_as(email))
        {
            let (bounce_time, works_since) = (
                &mut contact.email_bounce_time,
                &mut contact.email_works_since,
            );
            results.push(update_marks(bounce_time, works_since, status, time));
            if is_changed(before, contact.email_bounce_time, status) {
                fields.push("email");
            }
        }
        if status == DeliveryStatus::FailedPermanently && contact.fail_pending(email, time, now) {
            results.push(ReportResult::Marked);
            fields.push("pending_email");
        }
        if !fields.is_empty() {
            changes.push(AddressChange {
                contact_id: Some(contact.id),
                kind: event_kinds(status).0,
                fields,
            });
        }
    }
    let data = &mut customer.contact_data;
    if data.email.as_ref().is_some_and(|own| own.is_same_as(email)) {
        let before = data.email_bounce_time;
        let (bounce_time, works_since) = (&mut data.email_bounce_time, &mut data.email_works_since);
        results.push(update_marks(bounce_time, works_since, status, time));
        if is_changed(before, data.email_bounce_time, status) {
            changes.push(AddressChange {
                contact_id: None,
                kind: event_kinds(status).1,
                fields: vec!["contact_data.email"],
            });
        }
    }
    let result = results.into_iter().min();
    (result.unwrap_or(ReportResult::IgnoredNotCurrent), changes)
}

/// A complaint changes no mark, and is recorded nevertheless.
fn is_changed(
    before: Option<DateTime<Utc>>,
    after: Option<DateTime<Utc>>,
    status: DeliveryStatus,
) -> bool {
    before != after || status == DeliveryStatus::Complaint
}

fn update_marks(
    bounce_time: &mut Option<DateTime<Utc>>,
    works_since: &mut Option<DateTime<Utc>>,
    status: DeliveryStatus,
    time: DateTime<Utc>,
) -> ReportResult {
    match (status, *bounce_time) {
        (DeliveryStatus::FailedPermanently, _) if works_since.is_some_and(|since| time < since) => {
            ReportResult::IgnoredOutdated
        }
        (DeliveryStatus::FailedPermanently, _) => {
            bounce_time.get_or_insert(time);
            ReportResult::Marked
        }
        (DeliveryStatus::Delivered, Some(bounced)) if time > bounced => {
            *bounce_time = None;
            *works_since = Some(time);
            ReportResult::Cleared
        }
        (DeliveryStatus::Delivered, Some(_)) => ReportResult::IgnoredOutdated,
        // The report was repeated.
        (DeliveryStatus::Delivered, None) if *works_since == Some(time) => ReportResult::Cleared,
        (DeliveryStatus::Delivered, None) => ReportResult::Unchanged,
        (DeliveryStatus::Complaint, _) => ReportResult::Recorded,
        (DeliveryStatus::FailedTemporarily, _) => ReportResult::IgnoredTemporary,
    }
}

/// Returns the kinds of the events of a contact and of the contact data.
const fn event_kinds(status: DeliveryStatus) -> (EventKind, EventKind) {
    match status {
        DeliveryStatus::Delivered => (
            EventKind::EmailBounceCleared,
            EventKind::ContactDataBounceCleared,
        ),
        DeliveryStatus::FailedPermanently | DeliveryStatus::FailedTemporarily => {
            (EventKind::EmailBounced, EventKind::ContactDataBounced)
        }
        DeliveryStatus::Complaint => (EventKind::EmailComplaint, EventKind::ContactDataComplaint),
    }
}
