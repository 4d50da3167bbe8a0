//! Addresses entered, dropped and removed (rules 5 to 8).

use std::sync::Arc;

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
        self.change_contact(
            actor,
            Change {
                contact,
                kind: EventKind::EmailChanged,
                etag: String::new(),
                request,
                validate_only: false,
                mutation: Arc::new(
                    move |contact, now| Ok(contact.change_email(email.clone(), now)),
                ),
            },
        )
        .await
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
        self.change_contact(
            actor,
            Change {
                contact,
                kind: EventKind::EmailRemoved,
                etag: String::new(),
                request,
                validate_only: false,
                mutation: Arc::new(|contact, now| Ok(contact.remove_email(now))),
            },
        )
        .await
    }

    /// Drops the pending address.
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`](crate::error::Error::NoPendingEmail),
    /// [`Error::InvoiceEmailNotAllowed`](crate::error::Error::InvoiceEmailNotAllowed)
    /// when it is the only one while invoice e-mail is on, and those of
    /// [`change_email`](Self::change_email).
    pub async fn cancel_email_change(&self, actor: &Actor, contact: ContactRef) -> Result<Contact> {
        self.change_contact(
            actor,
            Change {
                contact,
                kind: EventKind::EmailChangeCancelled,
                etag: String::new(),
                request: None,
                validate_only: false,
                mutation: Arc::new(Contact::cancel_email_change),
            },
        )
        .await
    }
}
