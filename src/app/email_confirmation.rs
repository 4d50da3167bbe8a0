//! Addresses entered, dropped and removed (rules 5 to 8).

use crate::{
    app::{App, ContactRef, RequestKey, contacts::Change},
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        email_address::EmailAddress,
    },
    error::Result,
};

impl App {
    /// Enters an address, which becomes pending; the current one stays in use.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`](crate::error::Error::CustomerNotFound),
    /// [`Error::ContactNotFound`](crate::error::Error::ContactNotFound),
    /// [`Error::RequestIdReused`](crate::error::Error::RequestIdReused), and the
    /// failures of the database.
    pub async fn change_email(
        &self,
        actor: &Actor,
        contact: ContactRef,
        email: EmailAddress,
        request: Option<RequestKey>,
    ) -> Result<Contact> {
        let mutation =
            move |contact: &mut Contact, now| Ok(contact.change_email(email.clone(), now));
        let change = Change {
            request,
            ..Change::new(contact, EventKind::EmailChanged, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Leaves the contact without an address, confirmed or pending.
    ///
    /// # Errors
    /// [`Error::InvoiceEmailNotAllowed`](crate::error::Error::InvoiceEmailNotAllowed)
    /// while invoice e-mail is on, and those of [`change_email`](Self::change_email).
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
    /// [`Error::NoPendingEmail`](crate::error::Error::NoPendingEmail),
    /// [`Error::InvoiceEmailNotAllowed`](crate::error::Error::InvoiceEmailNotAllowed)
    /// when it is the only one while invoice e-mail is on, and those of
    /// [`change_email`](Self::change_email).
    pub async fn cancel_email_change(&self, actor: &Actor, contact: ContactRef) -> Result<Contact> {
        let kind = EventKind::EmailChangeCancelled;
        let change = Change::new(contact, kind, Contact::cancel_email_change);
        self.change_contact(actor, change).await
    }
}
