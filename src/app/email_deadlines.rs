//! Reminders, and pending addresses that expire (rules 7, 10, 22).
//!
//! Nothing here is needed for a response to be right: a read shows the contact as it will be
//! stored. It may run in several processes at once.

use chrono::{DateTime, Utc};

use crate::{
    app::{App, contacts},
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        email_confirmation::{
            CONFIRMATION_HISTORY, ConfirmationId, ConfirmationState, EmailConfirmation,
        },
        mail::{DEAD_LETTERS_KEPT, MailKind},
    },
    error::Result,
    observability::metrics::OutboxDepth,
    storage::{LockedCustomer, Outcome, Transaction},
};

impl App {
    /// Rule 10: queues the reminders that are due, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn remind_of_pending_emails(&self) -> Result<u64> {
        let mut count = 0;
        let mut behind = None;
        loop {
            let due = self.database.list_due_reminders(self.now(), behind);
            let (due, last) = due.await?;
            if last.is_none() {
                self.mail_signal.raise_if(count > 0);
                return Ok(count);
            }
            behind = last;
            for confirmation in due {
                let id = confirmation.id;
                count += tally("a reminder", id, self.remind(confirmation).await);
            }
        }
    }

    async fn remind(&self, confirmation: EmailConfirmation) -> Result<bool> {
        let app = self.clone();
        let of = confirmation.customer_number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, confirmation) = (app.clone(), confirmation.clone());
                Box::pin(async move {
                    let number = &confirmation.customer_number;
                    if !transaction.take_reminder(number, confirmation.id).await? {
                        return Ok(Outcome::Rollback(false));
                    }
                    let contacts = transaction.list_contacts(number).await?;
                    let contact = contacts::find(&contacts, confirmation.contact_id).ok();
                    let pending = contact
                        .and_then(|contact| contact.pending_email_at(app.now()))
                        .filter(|pending| pending.id == confirmation.id);
                    let (Some(contact), Some(pending)) = (contact, pending) else {
                        return Ok(Outcome::Commit(false));
                    };
                    let kind = MailKind::EmailConfirmationReminder;
                    let (recipient, now) = (pending.email.clone(), app.now());
                    // Also a reminder is a mail to an address that may be a victim's.
                    let mut recipients =
                        app.lock_recipients(transaction, [&recipient], now).await?;
                    let time = recipients.next_time(&recipient);
                    if time >= pending.expire_time {
                        return Ok(Outcome::Commit(false));
                    }
                    recipients.add(&recipient, time);
                    recipients.save(transaction).await?;
                    let id = Some(pending.id);
                    app.queue_mail(transaction, kind, contact, recipient, id, time)
                        .await?;
                    Ok(Outcome::Commit(true))
                })
            })
            .await
    }

    /// Rule 7: clears the pending addresses that lapsed, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn clear_lapsed_emails(&self) -> Result<u64> {
        let mut count = 0;
        let mut behind = None;
        loop {
            let lapsed = self.database.list_lapsed_confirmations(self.now(), behind);
            let (lapsed, last) = lapsed.await?;
            if last.is_none() {
                return Ok(count);
            }
            behind = last;
            for confirmation in lapsed {
                let id = confirmation.id;
                count += tally("an expiry", id, self.clear_lapsed(confirmation).await);
            }
        }
    }

    async fn clear_lapsed(&self, confirmation: EmailConfirmation) -> Result<bool> {
        let app = self.clone();
        let of = confirmation.customer_number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, confirmation) = (app.clone(), confirmation.clone());
                Box::pin(async move {
                    let number = &confirmation.customer_number;
                    let Some(locked) = transaction.find_and_lock_customer(number).await? else {
                        return Ok(Outcome::Rollback(false));
                    };
                    let contacts = transaction.list_contacts(number).await?;
                    let Ok(contact) = contacts::find(&contacts, confirmation.contact_id) else {
                        return Ok(Outcome::Rollback(false));
                    };
                    let (mut contact, now) = (contact.clone(), app.now());
                    if app
                        .expire_pending_email(transaction, &locked, &mut contact, now)
                        .await?
                    {
                        Ok(Outcome::Commit(true))
                    } else {
                        Ok(Outcome::Rollback(false))
                    }
                })
            })
            .await
    }

    /// Stores the expiry of the pending address of `contact`, if it expired by `now`, and records
    /// it; so it does with invoice e-mail that is disabled by it (rule 22).
    pub(super) async fn expire_pending_email(
        &self,
        transaction: &Transaction,
        locked: &LockedCustomer,
        contact: &mut Contact,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let before = contact.clone();
        let Some(lapse) = contact.expire_pending_email(now) else {
            return Ok(false);
        };
        transaction.save_expiry(&before, contact).await?;
        let number = &contact.customer_number;
        // An older version, running beside this one, may have entered it without a link.
        let _had_link = transaction
            .settle_confirmation(number, lapse.id, ConfirmationState::Expired)
            .await?;
        let (by, of) = (Actor::service(), Some(contact.id));
        let (kind, fields) = (EventKind::PendingEmailExpired, ["pending_email"]);
        let event = self.event(locked, &by, kind, of, &fields)?;
        transaction.insert_audit_event(&event).await?;
        if lapse.disables_invoice_email {
            // Each event has a rank of its own.
            let locked = transaction.lock_customer(number).await?;
            let (kind, fields) = (EventKind::InvoiceEmailLapsed, ["invoice_email_enabled"]);
            let event = self.event(&locked, &by, kind, of, &fields)?;
            transaction.insert_audit_event(&event).await?;
        }
        Ok(true)
    }

    /// How many mails wait, and since when, and how many were given up.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_mails(&self) -> Result<OutboxDepth> {
        self.database.count_mails(self.now()).await
    }

    /// Deletes the mails that were given up long ago, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_dead_letters(&self) -> Result<u64> {
        let time = self.now() - DEAD_LETTERS_KEPT;
        self.database.delete_dead_mails_before(time).await
    }

    /// Forgets what became of links that expired long ago, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_old_confirmations(&self) -> Result<u64> {
        let time = self.now() - CONFIRMATION_HISTORY;
        self.database.delete_confirmations_before(time).await
    }
}

/// One that cannot be seen to must not keep the rest waiting.
fn tally(what: &str, id: ConfirmationId, done: Result<bool>) -> u64 {
    match done {
        Ok(done) => u64::from(done),
        Err(error) => {
            tracing::warn!(confirmation = %id.0, %error, "{what} could not be seen to");
            0
        }
    }
}
