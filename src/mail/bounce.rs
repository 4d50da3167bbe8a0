//! Marks the address of a permanently rejected e-mail as failing.
//!
//! The rule for contacts is in `domain::contact`, the classification of failures in `smtp`.

use chrono::{DateTime, Utc};

use crate::{
    crypto::random::Random,
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        mail::QueuedMail,
    },
    error::Result,
    storage::{LockedCustomer, Transaction},
};

/// Marks the address of a rejected e-mail on every contact of its customer that still has it.
pub(super) async fn record(
    transaction: &Transaction,
    locked: &LockedCustomer,
    mail: &QueuedMail,
    random: &Random,
    now: DateTime<Utc>,
) -> Result<()> {
    let number = &locked.customer.number;
    let mut first_sequence = Some(locked.sequence_number);
    for mut contact in transaction.list_contacts(number).await? {
        let changed = contact.record_bounce(&mail.recipient, now);
        if changed.is_empty() {
            continue;
        }
        transaction.update_bounces(&contact).await?;
        // Each event has a sequence number of its own.
        let sequence = match first_sequence.take() {
            Some(sequence) => sequence,
            None => transaction.lock_customer(number).await?.sequence_number,
        };
        let (id, kind) = (random.uuid_v7(now)?, EventKind::EmailBounced);
        let event = AuditEvent {
            sequence,
            customer_number: Some(number.clone()),
            contact_id: Some(contact.id),
            changed_fields: changed.into_iter().map(str::to_owned).collect(),
            ..AuditEvent::new(id, now, &Actor::service(), kind)
        };
        transaction.insert_audit_event(&event).await?;
    }
    Ok(())
}
