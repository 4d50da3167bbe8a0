//! Confirms e-mail addresses, and sends their links again (rules 5 to 12).

use chrono::{DateTime, Utc};

use super::{contact_update::ContactUpdate, context::App, idempotency::ChangeOptions};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        email_confirmation::{ConfirmationState, ConfirmationToken, EmailConfirmation},
        ids::ContactRef,
    },
    error::{Error, Result},
    observability::metrics::{self, ConfirmationOutcome},
};

/// The state of a confirmation link, for its bearer.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The state as of now.
    pub state: ConfirmationState,
    /// The address, mostly masked.
    pub masked_email: String,
    /// The expiry of the link, past or future.
    pub expire_time: DateTime<Utc>,
}

/// The result of a confirmation.
#[derive(Clone, Debug)]
pub struct ConfirmedEmail {
    /// The contact whose address was confirmed.
    pub contact: ContactRef,
    /// True if the address had been confirmed before, so that nothing was changed.
    pub already_confirmed: bool,
}

impl App {
    /// Sends the link to the pending address again (rule 11).
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`], [`Error::ResendLimit`], [`Error::CustomerNotFound`],
    /// [`Error::ContactNotFound`], [`Error::RequestIdReused`].
    pub async fn resend_email_confirmation(
        &self,
        actor: &Actor,
        contact: ContactRef,
        options: ChangeOptions,
    ) -> Result<Contact> {
        let kind = EventKind::EmailConfirmationResent;
        let update = ContactUpdate::new(contact, kind, options, Contact::resend_confirmation);
        Ok(self.apply_contact_update(actor, update).await?.contact)
    }

    /// Returns the state of a link.
    ///
    /// # Errors
    /// [`Error::ConfirmationNotFound`].
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

    /// Makes the pending address the current one (rules 7 to 9). A link that was used before
    /// succeeds again without a change.
    ///
    /// # Errors
    /// [`Error::ConfirmationNotFound`], [`Error::ConfirmationExpired`],
    /// [`Error::ConfirmationSuperseded`].
    pub async fn confirm_email(
        &self,
        actor: &Actor,
        token: &ConfirmationToken,
    ) -> Result<ConfirmedEmail> {
        let confirmed = self.confirm(actor, token).await;
        if let Some(outcome) = metric_outcome(&confirmed) {
            metrics::email_confirmation(outcome);
        }
        confirmed
    }

    async fn confirm(&self, actor: &Actor, token: &ConfirmationToken) -> Result<ConfirmedEmail> {
        // Without a lock, so that requests with dead links cannot block the customer.
        let confirmation = self.find_confirmation(token).await?;
        match confirmation.state_at(self.now()) {
            ConfirmationState::Pending => {}
            ConfirmationState::Confirmed => return Ok(confirmed(&confirmation, true)),
            ConfirmationState::Expired => return Err(Error::ConfirmationExpired),
            ConfirmationState::Superseded => return Err(Error::ConfirmationSuperseded),
        }
        let id = confirmation.id;
        let mutator = move |contact: &mut Contact, now| contact.confirm_email(id, now);
        let contact = confirmed(&confirmation, false).contact;
        let options = ChangeOptions::default();
        let update = ContactUpdate::new(contact, EventKind::EmailConfirmed, options, mutator);
        match self.apply_contact_update(actor, update).await {
            Ok(_) => Ok(confirmed(&confirmation, false)),
            Err(
                Error::ConfirmationSuperseded | Error::ContactNotFound | Error::CustomerNotFound,
            ) => self.resolve_lost_race(token).await,
            Err(error) => Err(error),
        }
    }

    /// Determines the outcome after a concurrent change has resolved the link first. That change
    /// is committed, so the link is pending no longer.
    async fn resolve_lost_race(&self, token: &ConfirmationToken) -> Result<ConfirmedEmail> {
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
}

/// Returns `None` for errors that are unrelated to the state of the link.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are unrelated to the link"
)]
fn metric_outcome(confirmed: &Result<ConfirmedEmail>) -> Option<ConfirmationOutcome> {
    match confirmed {
        Ok(confirmed) if confirmed.already_confirmed => Some(ConfirmationOutcome::AlreadyConfirmed),
        Ok(_) => Some(ConfirmationOutcome::Confirmed),
        Err(Error::ConfirmationExpired) => Some(ConfirmationOutcome::Expired),
        Err(Error::ConfirmationSuperseded) => Some(ConfirmationOutcome::Superseded),
        Err(Error::ConfirmationNotFound) => Some(ConfirmationOutcome::NotFound),
        Err(_) => None,
    }
}

fn confirmed(confirmation: &EmailConfirmation, already_confirmed: bool) -> ConfirmedEmail {
    ConfirmedEmail {
        contact: ContactRef {
            customer_number: confirmation.customer_number.clone(),
            contact_id: confirmation.contact_id,
        },
        already_confirmed,
    }
}
