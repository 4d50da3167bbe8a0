//! The consequences of a change of a contact's addresses (rules 5 to 11, 22): the states of
//! confirmation links, e-mails, and the expiry of pending addresses.

use std::slice;

use chrono::{DateTime, Utc};

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, EventKind},
        change_notice::{NoticeKind, NoticedChange},
        contact::Contact,
        email_address::EmailAddress,
        email_confirmation::ConfirmationState,
        ids::ConfirmationId,
        mail::MailKind,
    },
    error::Result,
    storage::{LockedCustomer, Transaction},
};

impl App {
    /// Generates the id of a newly entered address.
    pub(super) fn confirmation_id(&self, now: DateTime<Utc>) -> Result<ConfirmationId> {
        Ok(ConfirmationId(self.random.uuid_v7(now)?))
    }

    /// Stores the consequences of a change of a contact's addresses: the states of the
    /// confirmation links, and the queued e-mails. Returns true if e-mails were queued.
    ///
    /// `before` must not contain an expired pending address. A confirmation e-mail is due, and is
    /// counted against the mail limits, now.
    ///
    /// # Errors
    /// [`Error::ResendLimit`](crate::error::Error::ResendLimit).
    pub(super) async fn apply_email_transition(
        &self,
        transaction: &Transaction,
        before: Option<&Contact>,
        after: &Contact,
    ) -> Result<bool> {
        let replaced_mail_queued = self
            .resolve_previous_email(transaction, before, after)
            .await?;
        let Some(pending) = after.pending_email.as_ref() else {
            return Ok(replaced_mail_queued);
        };
        let previous = before.and_then(|before| before.pending_email.as_ref());
        let is_new = previous.is_none_or(|previous| previous.id != pending.id);
        let is_resent = previous.is_some_and(|previous| previous.resends != pending.resends);
        if is_new {
            transaction
                .insert_confirmations(slice::from_ref(after))
                .await?;
        }
        if !is_new && !is_resent {
            return Ok(replaced_mail_queued);
        }
        let (recipient, id) = (pending.email.clone(), Some(pending.id));
        let (kind, now) = (MailKind::EmailConfirmation, self.now());
        self.count_confirmation_mail(transaction, &after.customer_number, &recipient, now)
            .await?;
        self.queue_mail(transaction, kind, after, recipient, id, now)
            .await?;
        Ok(true)
    }

    /// Resolves the link of the previous pending address if that address is pending no longer,
    /// and notifies the address that it replaced (rule 10). Returns true if an e-mail was queued.
    async fn resolve_previous_email(
        &self,
        transaction: &Transaction,
        before: Option<&Contact>,
        after: &Contact,
    ) -> Result<bool> {
        let previous = before.and_then(|before| before.pending_email.as_ref());
        let pending = after.pending_email.as_ref();
        let Some(previous) =
            previous.filter(|previous| pending.is_none_or(|pending| pending.id != previous.id))
        else {
            return Ok(false);
        };
        let is_previous = |email: &EmailAddress| email.is_same_as(&previous.email);
        // An address that bounces can be both current and pending until it is confirmed again.
        let is_confirmed =
            after.email_bounce_time.is_none() && after.email.as_ref().is_some_and(is_previous);
        let state = if is_confirmed {
            ConfirmationState::Confirmed
        } else {
            ConfirmationState::Superseded
        };
        // During a rolling upgrade an older instance may have stored the address without a link.
        let _had_link = transaction
            .resolve_confirmation(&after.customer_number, previous.id, state)
            .await?;
        let replaced = before.and_then(|before| before.email.clone());
        let Some(replaced) = replaced.filter(|email| is_confirmed && !is_previous(email)) else {
            return Ok(false);
        };
        let (kind, now) = (MailKind::EmailReplaced, self.now());
        self.queue_mail(transaction, kind, after, replaced, None, now)
            .await?;
        Ok(true)
    }

    /// Stores the expiry of the pending address of `contact` with its audit event if it expired by
    /// `now`, and likewise the end of invoice e-mail that follows from it (rule 22). Returns true
    /// if it expired.
    pub(super) async fn expire_pending_email(
        &self,
        transaction: &Transaction,
        locked: &LockedCustomer,
        contact: &mut Contact,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let before = contact.clone();
        let Some(expiry) = contact.expire_pending_email(now) else {
            return Ok(false);
        };
        transaction.update_expiry(&before, contact).await?;
        let customer_number = &contact.customer_number;
        // During a rolling upgrade an older instance may have stored the address without a link.
        let _had_link = transaction
            .resolve_confirmation(customer_number, expiry.id, ConfirmationState::Expired)
            .await?;
        let (actor, contact_id) = (Actor::service(), Some(contact.id));
        let (kind, fields) = (EventKind::PendingEmailExpired, ["pending_email"]);
        let event = self.event(locked, &actor, kind, contact_id, &fields)?;
        transaction.insert_audit_event(&event).await?;
        if expiry.disables_invoice_email {
            // Each event takes a sequence number of its own.
            let locked = transaction.lock_customer(customer_number).await?;
            let (kind, fields) = (EventKind::InvoiceEmailLapsed, ["invoice_email_enabled"]);
            let event = self.event(&locked, &actor, kind, contact_id, &fields)?;
            transaction.insert_audit_event(&event).await?;
            let contacts = transaction.list_contacts(customer_number).await?;
            let change = NoticedChange::of_contact(NoticeKind::InvoiceEmailLapsed, contact, now);
            self.notify_of_changes(transaction, &locked.customer, &contacts, vec![change])
                .await?;
        }
        Ok(true)
    }
}
