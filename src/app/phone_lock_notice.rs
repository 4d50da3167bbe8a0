//! Records phone password checks that did not match, and notifies contacts of locks (rule 16).

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::find_contact,
        ids::ContactRef,
        mail::MailKind,
        phone_password::attempts::LockState,
    },
    error::Result,
    storage::{Outcome, Transaction},
};

/// The kind of lock that a failed attempt causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockKind {
    /// A lock that ends at a time.
    Temporary,
    /// The password is revoked until a new one is set.
    Revoked,
}

impl LockKind {
    /// Returns the kind of the lock that is in effect, if any.
    pub(super) fn of(state: LockState) -> Option<Self> {
        match state {
            LockState::Unlocked => None,
            LockState::LockedUntil(_) => Some(Self::Temporary),
            LockState::Revoked => Some(Self::Revoked),
        }
    }
}

impl App {
    /// Records a check that did not match, and notifies the contact of a lock. Does nothing if the
    /// customer is not on file.
    pub(super) async fn record_check(
        &self,
        agent: &Actor,
        contact: &ContactRef,
        kind: EventKind,
        lock: Option<LockKind>,
    ) -> Result<()> {
        let (app, agent, contact) = (self.clone(), agent.clone(), contact.clone());
        let customer_number = contact.customer_number.clone();
        let mail_queued = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, contact) = (app.clone(), agent.clone(), contact.clone());
                Box::pin(async move {
                    let customer_number = &contact.customer_number;
                    let Some(locked) = transaction.find_and_lock_customer(customer_number).await?
                    else {
                        return Ok(Outcome::Rollback(false));
                    };
                    let event = app.event(&locked, &agent, kind, Some(contact.contact_id), &[])?;
                    transaction.insert_audit_event(&event).await?;
                    let mail_queued = match lock {
                        Some(lock) => app.notify_of_lock(transaction, &contact, lock).await?,
                        None => false,
                    };
                    Ok(Outcome::Commit(mail_queued))
                })
            })
            .await?;
        self.mail_signal.raise_if(mail_queued);
        Ok(())
    }

    /// Notifies the contact of a lock by e-mail, at most once a day (rule 16). Returns false if
    /// the contact has no confirmed address; that does not suppress the next notice.
    async fn notify_of_lock(
        &self,
        transaction: &Transaction,
        contact: &ContactRef,
        lock: LockKind,
    ) -> Result<bool> {
        let ContactRef {
            customer_number,
            contact_id,
        } = contact;
        let contacts = transaction.list_contacts(customer_number).await?;
        let contact = find_contact(&contacts, *contact_id).ok();
        let contact = contact.filter(|contact| contact.phone_password.set_time.is_some());
        let Some((contact, email)) = contact.and_then(|c| Some((c, c.email.clone()?))) else {
            return Ok(false);
        };
        let now = self.now();
        let mut record = transaction
            .lock_phone_password(customer_number, *contact_id, now)
            .await?;
        if !record
            .attempts
            .claim_lock_notice(lock == LockKind::Revoked, now)
        {
            return Ok(false);
        }
        transaction
            .update_contact_attempts(customer_number, *contact_id, &record.attempts)
            .await?;
        let kind = MailKind::PhonePasswordLocked;
        self.queue_mail(transaction, kind, contact, email, None, now)
            .await?;
        Ok(true)
    }
}
