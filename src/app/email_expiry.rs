//! Sends reminders, and clears pending addresses that expired (rules 7, 10, 22).
//!
//! These jobs only maintain stored data: reads show a contact as if its expiry was stored already.
//! Several instances may run them at the same time.

use super::context::App;
use crate::{
    domain::{
        contact::find_contact,
        email_confirmation::{CONFIRMATION_RETENTION, EmailConfirmation},
        ids::ConfirmationId,
        mail::MailKind,
    },
    error::Result,
    storage::{Outcome, Transaction},
};

impl App {
    /// Queues the reminders that are due (rule 10), and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn remind_of_pending_emails(&self) -> Result<u64> {
        let mut count = 0;
        let mut after = None;
        loop {
            let due = self.database.list_due_reminders(self.now(), after);
            let (due, last) = due.await?;
            if last.is_none() {
                self.mail_signal.raise_if(count > 0);
                return Ok(count);
            }
            after = last;
            for confirmation in due {
                let id = confirmation.id;
                count += count_done("reminder", id, self.remind(confirmation).await);
            }
        }
    }

    async fn remind(&self, confirmation: EmailConfirmation) -> Result<bool> {
        let app = self.clone();
        let customer_number = confirmation.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, confirmation) = (app.clone(), confirmation.clone());
                Box::pin(async move { app.remind_within(transaction, &confirmation).await })
            })
            .await
    }

    async fn remind_within(
        &self,
        transaction: &Transaction,
        confirmation: &EmailConfirmation,
    ) -> Result<Outcome<bool>> {
        let customer_number = &confirmation.customer_number;
        if !transaction
            .claim_reminder(customer_number, confirmation.id)
            .await?
        {
            return Ok(Outcome::Rollback(false));
        }
        let contacts = transaction.list_contacts(customer_number).await?;
        let contact = find_contact(&contacts, confirmation.contact_id).ok();
        let pending = contact
            .and_then(|contact| contact.pending_email_at(self.now()))
            .filter(|pending| pending.id == confirmation.id);
        let (Some(contact), Some(pending)) = (contact, pending) else {
            return Ok(Outcome::Commit(false));
        };
        let (recipient, now) = (pending.email.clone(), self.now());
        // Reminders count as well: the address may belong to a victim of mail flooding.
        let mut recipients = self.lock_recipients(transaction, [&recipient], now).await?;
        let due_time = recipients.next_time(&recipient);
        if due_time >= pending.expire_time {
            return Ok(Outcome::Commit(false));
        }
        recipients.add(&recipient, due_time);
        recipients.save(transaction).await?;
        let (kind, id) = (MailKind::EmailConfirmationReminder, Some(pending.id));
        self.queue_mail(transaction, kind, contact, recipient, id, due_time)
            .await?;
        Ok(Outcome::Commit(true))
    }

    /// Clears the pending addresses that expired (rule 7), and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn clear_expired_emails(&self) -> Result<u64> {
        let mut count = 0;
        let mut after = None;
        loop {
            let expired = self.database.list_expired_confirmations(self.now(), after);
            let (expired, last) = expired.await?;
            if last.is_none() {
                return Ok(count);
            }
            after = last;
            for confirmation in expired {
                let id = confirmation.id;
                count += count_done("expiry", id, self.clear_expired(confirmation).await);
            }
        }
    }

    async fn clear_expired(&self, confirmation: EmailConfirmation) -> Result<bool> {
        let app = self.clone();
        let customer_number = confirmation.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, confirmation) = (app.clone(), confirmation.clone());
                Box::pin(async move { app.clear_expired_within(transaction, &confirmation).await })
            })
            .await
    }

    async fn clear_expired_within(
        &self,
        transaction: &Transaction,
        confirmation: &EmailConfirmation,
    ) -> Result<Outcome<bool>> {
        let customer_number = &confirmation.customer_number;
        let Some(locked) = transaction.find_and_lock_customer(customer_number).await? else {
            return Ok(Outcome::Rollback(false));
        };
        let contacts = transaction.list_contacts(customer_number).await?;
        let Ok(contact) = find_contact(&contacts, confirmation.contact_id) else {
            return Ok(Outcome::Rollback(false));
        };
        let (mut contact, now) = (contact.clone(), self.now());
        if self
            .expire_pending_email(transaction, &locked, &mut contact, now)
            .await?
        {
            Ok(Outcome::Commit(true))
        } else {
            Ok(Outcome::Rollback(false))
        }
    }

    /// Deletes the links whose retention has ended, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_confirmations(&self) -> Result<u64> {
        let time = self.now() - CONFIRMATION_RETENTION;
        self.database.delete_confirmations_before(time).await
    }
}

/// Returns the number of confirmations that were processed, 0 or 1. A failure is logged only, so
/// that it does not block the remaining ones.
fn count_done(job: &'static str, id: ConfirmationId, done: Result<bool>) -> u64 {
    match done {
        Ok(done) => u64::from(done),
        Err(error) => {
            tracing::warn!(job, confirmation = %id.0, %error, "e-mail confirmation job failed");
            0
        }
    }
}
