//! Marks the address of a permanently rejected e-mail as failing.
//!
//! The rule is in `domain::delivery_report`, the classification of failures in `smtp`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    crypto::random::Random,
    domain::{
        audit::Actor,
        delivery_report::{DeliveryStatus, apply_report},
        mail::QueuedMail,
    },
    error::Result,
    storage::{AddressEvents, LockedCustomer, Transaction},
};

/// Marks the address of a rejected e-mail wherever its customer still has it.
pub(super) async fn record(
    transaction: &Transaction,
    locked: &mut LockedCustomer,
    mail: &QueuedMail,
    random: &Random,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut contacts = transaction.list_contacts(&locked.customer.number).await?;
    let status = DeliveryStatus::FailedPermanently;
    let (customer, email) = (&mut locked.customer, &mail.recipient);
    let (_, changes) = apply_report(customer, &mut contacts, email, status, now, now);
    let events = AddressEvents {
        actor: &Actor::service(),
        details: BTreeMap::new(),
        now,
    };
    let new_id = || random.uuid_v7(now);
    transaction
        .store_address_changes(locked, &contacts, changes, &events, new_id)
        .await
}
