//! An address that is refused for good is marked as failing.
//!
//! Owns neither the rule which addresses that are (`domain::contact`) nor which refusals are for
//! good (`transport`).

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

/// Marks the address of a refused mail at every contact of its customer that still has it.
pub(super) async fn note(
    transaction: &Transaction,
    locked: &LockedCustomer,
    mail: &QueuedMail,
    random: &Random,
    now: DateTime<Utc>,
) -> Result<()> {
    let number = &locked.customer.number;
    let mut first_rank = Some(locked.rank);
    for mut contact in transaction.list_contacts(number).await? {
        let changed = contact.record_bounce(&mail.recipient, now);
        if changed.is_empty() {
            continue;
        }
        transaction.save_bounces(&contact).await?;
        // Each event has a rank of its own.
        let sequence = match first_rank.take() {
            Some(rank) => rank,
            None => transaction.lock_customer(number).await?.rank,
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
