//! Addresses entered, dropped, removed and confirmed (rules 5 to 12), and the mails
//! that follow from it.

use chrono::{DateTime, Utc};

use crate::{
    app::{App, ContactRef, RequestKey, contacts::Change},
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        email_address::EmailAddress,
        email_confirmation::{
            ConfirmationId, ConfirmationState, ConfirmationToken, EmailConfirmation, REMINDER_LEAD,
        },
        mail::{MailKind, QueuedMail},
    },
    error::{Error, Result},
    observability::metrics::{self, ConfirmationOutcome},
    storage::Transaction,
};

/// What became of a link.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What became of it until now.
    pub state: ConfirmationState,
    /// Its address, mostly hidden.
    pub masked_email: String,
    /// When it expires or expired.
    pub expire_time: DateTime<Utc>,
}

/// An address that is confirmed.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// Whose address it is.
    pub contact: ContactRef,
    /// Whether it had been confirmed before, so that nothing was changed.
    pub already: bool,
}

impl App {
    /// Enters an address, which becomes pending; the current one stays in use.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`],
    /// [`Error::RequestIdReused`], and the failures of the database.
    pub async fn change_email(
        &self,
        actor: &Actor,
        contact: ContactRef,
        email: EmailAddress,
        request: Option<RequestKey>,
    ) -> Result<Contact> {
        let id = self.confirmation_id(self.now())?;
        let mutation =
            move |contact: &mut Contact, now| Ok(contact.change_email(id, email.clone(), now));
        let change = Change {
            request,
            ..Change::new(contact, EventKind::EmailChanged, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Leaves the contact without an address, confirmed or pending.
    ///
    /// # Errors
    /// [`Error::InvoiceEmailNotAllowed`] while invoice e-mail is on, and those of
    /// [`change_email`](Self::change_email).
    pub async fn remove_email(
        &self,
        actor: &Actor,
        contact: ContactRef,
        request: Option<RequestKey>,
    ) -> Result<Contact> {
        let mutation = |contact: &mut Contact, now| Ok(contact.remove_email(now));
        let change = Change {
            request,
            ..Change::new(contact, EventKind::EmailRemoved, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Drops the pending address.
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`], [`Error::InvoiceEmailNotAllowed`] when it is the only
    /// one while invoice e-mail is on, and those of [`change_email`](Self::change_email).
    pub async fn cancel_email_change(&self, actor: &Actor, contact: ContactRef) -> Result<Contact> {
        let kind = EventKind::EmailChangeCancelled;
        let change = Change::new(contact, kind, Contact::cancel_email_change);
        self.change_contact(actor, change).await
    }

    /// Rule 11: mails the link to the pending address again.
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`], [`Error::ResendLimit`], and those of
    /// [`change_email`](Self::change_email).
    pub async fn resend_email_confirmation(
        &self,
        actor: &Actor,
        contact: ContactRef,
    ) -> Result<Contact> {
        let kind = EventKind::EmailConfirmationResent;
        let change = Change::new(contact, kind, Contact::resend_confirmation);
        self.change_contact(actor, change).await
    }

    /// Says what became of a link.
    ///
    /// # Errors
    /// [`Error::ConfirmationNotFound`], and the failures of the database.
    pub async fn inspect_email_confirmation(
        &self,
        token: &ConfirmationToken,
    ) -> Result<Inspection> {
        let confirmation = self.find_confirmation(token).await?;
        Ok(Inspection {
            state: confirmation.state_at(self.now()),
            masked_email: confirmation.masked_email,
            expire_time: confirmation.expire_time,
        })
    }

    /// Rules 7 to 9: makes the pending address the current one. A used link is told so
    /// and changes nothing.
    ///
    /// # Errors
    /// [`Error::ConfirmationNotFound`], [`Error::ConfirmationExpired`],
    /// [`Error::ConfirmationSuperseded`], and the failures of the database.
    pub async fn confirm_email(
        &self,
        actor: &Actor,
        token: &ConfirmationToken,
    ) -> Result<Confirmed> {
        let confirmed = self.confirm(actor, token).await;
        if let Some(outcome) = outcome_of(&confirmed) {
            metrics::email_confirmation(outcome);
        }
        confirmed
    }

    async fn confirm(&self, actor: &Actor, token: &ConfirmationToken) -> Result<Confirmed> {
        // Without a lock: whoever tries dead links must not hold up the customer.
        let confirmation = self.find_confirmation(token).await?;
        match confirmation.state_at(self.now()) {
            ConfirmationState::Pending => {}
            ConfirmationState::Confirmed => return Ok(confirmed(&confirmation, true)),
            ConfirmationState::Expired => return Err(Error::ConfirmationExpired),
            ConfirmationState::Superseded => return Err(Error::ConfirmationSuperseded),
        }
        let id = confirmation.id;
        let mutation = move |contact: &mut Contact, now| contact.confirm_email(id, now);
        let contact = confirmed(&confirmation, false).contact;
        let change = Change::new(contact, EventKind::EmailConfirmed, mutation);
        match self.change_contact(actor, change).await {
            Ok(_) => Ok(confirmed(&confirmation, false)),
            Err(
                Error::ConfirmationSuperseded | Error::ContactNotFound | Error::CustomerNotFound,
            ) => self.after_a_lost_race(token).await,
            Err(error) => Err(error),
        }
    }

    /// Whatever was faster has been committed by now, so the link is no longer pending.
    async fn after_a_lost_race(&self, token: &ConfirmationToken) -> Result<Confirmed> {
        let confirmation = self.find_confirmation(token).await?;
        match confirmation.state_at(self.now()) {
            ConfirmationState::Confirmed => Ok(confirmed(&confirmation, true)),
            ConfirmationState::Expired => Err(Error::ConfirmationExpired),
            ConfirmationState::Superseded | ConfirmationState::Pending => {
                Err(Error::ConfirmationSuperseded)
            }
        }
    }

    async fn find_confirmation(&self, token: &ConfirmationToken) -> Result<EmailConfirmation> {
        self.database
            .find_confirmation(token)
            .await?
            .ok_or(Error::ConfirmationNotFound)
    }

    pub(super) fn confirmation_id(&self, now: DateTime<Utc>) -> Result<ConfirmationId> {
        Ok(ConfirmationId(self.random.uuid_v7(now)?))
    }

    /// Writes down what follows from a change of a contact's addresses: what became of
    /// the links, and the mails. `before` is free of lapsed addresses. Gives whether
    /// mails were queued. A confirmation mail leaves at `mail_time`, for which it was counted;
    /// without one it leaves, and is counted, now.
    ///
    /// # Errors
    /// [`Error::ResendLimit`] without a `mail_time`.
    pub(super) async fn follow_addresses(
        &self,
        transaction: &Transaction,
        before: Option<&Contact>,
        after: &Contact,
        mail_time: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let number = &after.customer_number;
        let held = before.and_then(|before| before.pending_email.as_ref());
        let pending = after.pending_email.as_ref();
        let mut has_mail = false;
        if let Some(held) = held
            && pending.is_none_or(|pending| pending.id != held.id)
        {
            let is_current = |email: &EmailAddress| email.is_same_as(&held.email);
            // One that bounces may be pending and current at once, until it is confirmed anew.
            let is_confirmed =
                after.email_bounce_time.is_none() && after.email.as_ref().is_some_and(is_current);
            let state = if is_confirmed {
                ConfirmationState::Confirmed
            } else {
                ConfirmationState::Superseded
            };
            // An older version, running beside this one, may have entered it without a link.
            let _had_link = transaction
                .settle_confirmation(number, held.id, state)
                .await?;
            let replaced = before.and_then(|before| before.email.clone());
            let is_another = |email: &EmailAddress| is_confirmed && !is_current(email);
            if let Some(replaced) = replaced.filter(is_another) {
                // Rule 10.
                let kind = MailKind::EmailReplaced;
                self.queue_mail(transaction, kind, after, replaced, None, self.now())
                    .await?;
                has_mail = true;
            }
        }
        if let Some(pending) = pending {
            let is_new = held.is_none_or(|held| held.id != pending.id);
            let is_resent = held.is_some_and(|held| held.resends != pending.resends);
            if is_new {
                let remind_time = pending.expire_time - REMINDER_LEAD;
                transaction
                    .insert_confirmation(after, pending, remind_time)
                    .await?;
            }
            if is_new || is_resent {
                let kind = MailKind::EmailConfirmation;
                let (recipient, id) = (pending.email.clone(), Some(pending.id));
                let time = mail_time.unwrap_or_else(|| self.now());
                if mail_time.is_none() {
                    self.count_confirmation_mail(transaction, number, &recipient, time)
                        .await?;
                }
                self.queue_mail(transaction, kind, after, recipient, id, time)
                    .await?;
                has_mail = true;
            }
        }
        Ok(has_mail)
    }

    pub(super) async fn queue_mail(
        &self,
        transaction: &Transaction,
        kind: MailKind,
        contact: &Contact,
        recipient: EmailAddress,
        confirmation_id: Option<ConfirmationId>,
        due_time: DateTime<Utc>,
    ) -> Result<()> {
        let now = self.now();
        let id = self.random.uuid_v7(now)?;
        let mail = QueuedMail::new(id, kind, contact, recipient, confirmation_id, now);
        transaction.insert_mail(&mail, due_time).await
    }
}

/// `None` for failures that say nothing of the link.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are not about links"
)]
fn outcome_of(confirmed: &Result<Confirmed>) -> Option<ConfirmationOutcome> {
    match confirmed {
        Ok(confirmed) if confirmed.already => Some(ConfirmationOutcome::AlreadyConfirmed),
        Ok(_) => Some(ConfirmationOutcome::Confirmed),
        Err(Error::ConfirmationExpired) => Some(ConfirmationOutcome::Expired),
        Err(Error::ConfirmationSuperseded) => Some(ConfirmationOutcome::Superseded),
        Err(Error::ConfirmationNotFound) => Some(ConfirmationOutcome::NotFound),
        Err(_) => None,
    }
}

fn confirmed(confirmation: &EmailConfirmation, already: bool) -> Confirmed {
    Confirmed {
        contact: ContactRef {
            customer_number: confirmation.customer_number.clone(),
            contact_id: confirmation.contact_id,
        },
        already,
    }
}
