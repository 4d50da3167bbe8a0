//! The review of a customer's contacts, and its yearly reminder (rule 33).

use super::{
    context::App,
    idempotency::{self, ChangeOptions},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        change_notice::NoticeRecipient,
        customer::{ContactsReview, Customer, REVIEW_INTERVAL},
        ids::CustomerNumber,
        mail::{MailKind, QueuedMail},
        review::{Finding, review},
    },
    error::{Error, Result},
    storage::{Outcome, Transaction},
};

/// Reminders that are queued in one pass: a provider that switches them on writes to its customers over
/// days, not at once.
const REMINDERS_PER_PASS: u32 = 100;

impl App {
    /// Returns the findings about a customer's contacts, and the last review.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn review_contacts(
        &self,
        customer_number: &CustomerNumber,
    ) -> Result<(Vec<Finding>, Option<ContactsReview>)> {
        let customer = self.get_customer(customer_number).await?;
        let contacts = self.database.list_contacts(customer_number, i64::MIN);
        let now = self.now();
        let contacts: Vec<_> = contacts
            .await?
            .into_iter()
            .map(|contact| contact.as_of(now))
            .collect();
        Ok((review(&customer, &contacts, now), customer.contacts_review))
    }

    /// Records that the contacts were reviewed.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::RequestIdReused`].
    pub async fn mark_contacts_reviewed(
        &self,
        actor: &Actor,
        customer_number: CustomerNumber,
        options: ChangeOptions,
    ) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        self.database
            .customer_transaction(&customer_number.clone(), move |transaction| {
                let (app, actor) = (app.clone(), actor.clone());
                let (number, options) = (customer_number.clone(), options.clone());
                Box::pin(async move {
                    app.mark_reviewed_within(transaction, &actor, &number, &options)
                        .await
                })
            })
            .await
    }

    async fn mark_reviewed_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        number: &CustomerNumber,
        options: &ChangeOptions,
    ) -> Result<Outcome<Customer>> {
        let now = self.now();
        let mut locked = transaction.lock_customer(number).await?;
        if let Some(replayed) =
            idempotency::replay_customer(transaction, number, actor, options, now).await?
        {
            return Ok(replayed);
        }
        locked.customer.contacts_review = Some(ContactsReview {
            time: now,
            by: actor.clone(),
        });
        locked.customer.review_remind_time = now + REVIEW_INTERVAL;
        transaction.update_review(&locked.customer).await?;
        let (kind, fields) = (EventKind::ContactsReviewed, ["contacts_review"]);
        let event = self.event(&locked, actor, kind, None, &fields)?;
        transaction.insert_audit_event(&event).await?;
        idempotency::store_customer(transaction, actor, options, locked.customer, now).await
    }

    /// Queues reminders of reviews that are due, at most 100, and returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn remind_of_reviews(&self) -> Result<u64> {
        let due = self
            .database
            .list_due_reviews(self.now(), REMINDERS_PER_PASS);
        let mut count = 0;
        for number in due.await? {
            match self.remind_of_review(number).await {
                Ok(is_queued) => count += u64::from(is_queued),
                Err(Error::CustomerNotFound) => {}
                Err(error) => tracing::warn!(%error, "reminder of a review failed"),
            }
        }
        self.mail_signal.raise_if(count > 0);
        Ok(count)
    }

    async fn remind_of_review(&self, number: CustomerNumber) -> Result<bool> {
        let app = self.clone();
        self.database
            .customer_transaction(&number.clone(), move |transaction| {
                let (app, number) = (app.clone(), number.clone());
                Box::pin(async move { app.remind_of_review_within(transaction, &number).await })
            })
            .await
    }

    async fn remind_of_review_within(
        &self,
        transaction: &Transaction,
        number: &CustomerNumber,
    ) -> Result<Outcome<bool>> {
        let now = self.now();
        let mut customer = transaction.lock_customer(number).await?.customer;
        if customer.review_remind_time > now {
            // Reviewed, or reminded by another instance, since it was listed.
            return Ok(Outcome::Rollback(false));
        }
        customer.review_remind_time = now + REVIEW_INTERVAL;
        transaction.update_review(&customer).await?;
        let Some(recipient) = NoticeRecipient::contact_data(&customer) else {
            return Ok(Outcome::Commit(false));
        };
        let (id, kind) = (self.random.uuid_v7(now)?, MailKind::ContactsReview);
        let mail = QueuedMail::about_customer(id, kind, customer.number, recipient, now);
        transaction.insert_mail(&mail, now).await?;
        Ok(Outcome::Commit(true))
    }
}
