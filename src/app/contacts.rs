//! Creates, reads, updates and deletes contacts (rules 1 to 5, 20, 22).

use chrono::{DateTime, Utc};

use super::{
    contact_update::ContactUpdate,
    context::App,
    idempotency::{self, RequestKey},
    mail_limits,
    page::paginate,
    phone_password::check_password,
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, ContactChange, check_addition, check_deletion, find_contact},
        contact_types::ContactTypes,
        email_address::EmailAddress,
        etag::check_etag,
        ids::{ConfirmationId, ContactId, ContactRef, CustomerNumber},
        phone_password::NormalizedPassword,
    },
    error::{Error, Result},
    storage::{CachedResponse, Outcome, PhonePasswordChange, Transaction},
};

/// A request to create a contact.
#[derive(Clone, Debug)]
pub struct NewContact {
    /// The customer that gets the contact.
    pub customer_number: CustomerNumber,
    /// The types, not empty.
    pub types: ContactTypes,
    /// The name of the person or department.
    pub display_name: String,
    /// All other fields; `types` and `display_name` in it are ignored.
    pub fields: ContactChange,
    /// An e-mail address, which becomes pending.
    pub email: Option<EmailAddress>,
    /// The phone password to set.
    pub phone_password: Option<NormalizedPassword>,
    /// The request id, for idempotency.
    pub request: Option<RequestKey>,
    /// If true, the request is validated only.
    pub validate_only: bool,
}

/// A request to update a contact.
#[derive(Clone, Debug)]
pub struct UpdateContact {
    /// The contact to update.
    pub contact: ContactRef,
    /// The fields to set.
    pub change: ContactChange,
    /// The expected etag; empty: any.
    pub etag: String,
    /// The request id, for idempotency.
    pub request: Option<RequestKey>,
    /// If true, the request is validated only.
    pub validate_only: bool,
}

/// A request to delete a contact.
#[derive(Clone, Debug)]
pub struct DeleteContact {
    /// The contact to delete.
    pub contact: ContactRef,
    /// The expected etag; empty: any.
    pub etag: String,
    /// The request id, for idempotency.
    pub request: Option<RequestKey>,
    /// If true, the request is validated only.
    pub validate_only: bool,
}

/// A page of a customer's contacts.
#[derive(Clone, Debug)]
pub struct ContactPage {
    /// The contacts, in the order of their creation.
    pub contacts: Vec<Contact>,
    /// The position after which the next page starts; `None` on the last page.
    pub next_after: Option<i64>,
}

impl App {
    /// Returns a contact as of now.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`].
    pub async fn get_contact(&self, contact: &ContactRef) -> Result<Contact> {
        let customer_number = &contact.customer_number;
        let found = self
            .database
            .find_contact(customer_number, contact.contact_id);
        if let Some(contact) = found.await? {
            return Ok(contact.as_of(self.now()));
        }
        self.get_customer(customer_number).await?;
        Err(Error::ContactNotFound)
    }

    /// Returns up to `page_size` contacts after a position that have at least one of `types`, or
    /// any contacts if `types` is empty.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn list_contacts(
        &self,
        customer_number: &CustomerNumber,
        types: ContactTypes,
        after_position: i64,
        page_size: usize,
    ) -> Result<ContactPage> {
        let mut contacts = self
            .database
            .list_contacts(customer_number, after_position)
            .await?;
        if contacts.is_empty() {
            self.get_customer(customer_number).await?;
        }
        contacts.retain(|contact| {
            types.is_empty() || contact.types.iter().any(|own| types.contains(own))
        });
        let next_after = paginate(&mut contacts, page_size, |contact| contact.position);
        let now = self.now();
        Ok(ContactPage {
            contacts: contacts
                .into_iter()
                .map(|contact| contact.as_of(now))
                .collect(),
            next_after,
        })
    }

    /// Creates a contact. An e-mail address becomes pending (rule 5).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactLimit`], [`Error::FirstContactNotStandard`],
    /// [`Error::InvoiceEmailNotAllowed`], [`Error::ResendLimit`], [`Error::RequestIdReused`], and
    /// those of [`set_phone_password`](Self::set_phone_password).
    pub async fn create_contact(&self, actor: &Actor, new: NewContact) -> Result<Contact> {
        let now = self.now();
        let id = ContactId(self.random.uuid_v7(now)?);
        let confirmation_id = self.confirmation_id(now)?;
        let (contact, mut fields) = new_contact(&new, id, confirmation_id, now);
        fields.extend(["types", "display_name"]);
        let phone_password = self.new_phone_password(&new, id).await?;
        fields.extend(new.phone_password.as_ref().map(|_| "phone_password"));
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = new.customer_number.clone();
        let created = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor, new) = (app.clone(), actor.clone(), new.clone());
                let (mut contact, fields) = (contact.clone(), fields.clone());
                let phone_password = phone_password.clone();
                Box::pin(async move {
                    let customer_number = &new.customer_number;
                    let request = new.request.as_ref();
                    let locked = transaction.lock_customer(customer_number).await?;
                    if let Some(response) =
                        idempotency::replay(transaction, customer_number, &actor, request, now)
                            .await?
                    {
                        let contact = idempotency::replayed_contact(response)?;
                        return Ok(Outcome::Replayed(contact));
                    }
                    let others = transaction.list_contacts(customer_number).await?;
                    check_addition(&contact, &others, now)?;
                    contact.position = locked.sequence_number;
                    transaction.insert_contact(&contact).await?;
                    app.apply_email_transition(transaction, None, &contact)
                        .await?;
                    contact.phone_password.set_time = new.phone_password.as_ref().map(|_| now);
                    if let Some(change) = &phone_password {
                        transaction
                            .change_phone_password(customer_number, id, change, now)
                            .await?;
                    }
                    let kind = EventKind::ContactCreated;
                    let event = app.event(&locked, &actor, kind, Some(id), &fields)?;
                    transaction.insert_audit_event(&event).await?;
                    let response = CachedResponse::Contact(Box::new(contact.clone()));
                    idempotency::store(
                        transaction,
                        &actor,
                        request,
                        customer_number,
                        response,
                        now,
                    )
                    .await?;
                    Ok(Outcome::commit_unless(new.validate_only, contact))
                })
            })
            .await;
        let created = mail_limits::count_rejection(created)?;
        self.mail_signal.raise_if(created.pending_email.is_some());
        Ok(created)
    }

    /// Sets fields of a contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], [`Error::EtagMismatch`],
    /// [`Error::LastStandardContact`], [`Error::InvoiceEmailNotAllowed`],
    /// [`Error::RequestIdReused`].
    pub async fn update_contact(&self, actor: &Actor, update: UpdateContact) -> Result<Contact> {
        let fields = update.change;
        let mutator = move |contact: &mut Contact, _| Ok(fields.clone().apply_to(contact));
        let update = ContactUpdate {
            etag: update.etag,
            request: update.request,
            validate_only: update.validate_only,
            ..ContactUpdate::new(update.contact, EventKind::ContactUpdated, mutator)
        };
        self.apply_contact_update(actor, update).await
    }

    /// Deletes a contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], [`Error::EtagMismatch`],
    /// [`Error::LastStandardContact`], [`Error::RequestIdReused`].
    pub async fn delete_contact(&self, actor: &Actor, deletion: DeleteContact) -> Result<()> {
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = deletion.contact.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor, deletion) = (app.clone(), actor.clone(), deletion.clone());
                Box::pin(async move {
                    app.delete_contact_within(transaction, &actor, &deletion)
                        .await
                })
            })
            .await
    }

    async fn delete_contact_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        deletion: &DeleteContact,
    ) -> Result<Outcome<()>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &deletion.contact;
        let request = deletion.request.as_ref();
        let locked = transaction.lock_customer(customer_number).await?;
        let response =
            idempotency::replay(transaction, customer_number, actor, request, now).await?;
        if response.is_some() {
            return Ok(Outcome::Replayed(()));
        }
        let contacts = transaction.list_contacts(customer_number).await?;
        let contact = find_contact(&contacts, *contact_id)?;
        check_etag(&deletion.etag, &contact.clone().as_of(now).etag())?;
        check_deletion(contact, &contacts)?;
        transaction.delete_contact(contact).await?;
        transaction
            .delete_phone_password(customer_number, *contact_id)
            .await?;
        transaction
            .delete_responses(customer_number, *contact_id)
            .await?;
        let kind = EventKind::ContactDeleted;
        let event = self.event(&locked, actor, kind, Some(*contact_id), &[])?;
        transaction.insert_audit_event(&event).await?;
        let response = CachedResponse::Nothing;
        idempotency::store(transaction, actor, request, customer_number, response, now).await?;
        Ok(Outcome::commit_unless(deletion.validate_only, ()))
    }

    /// Returns the change that sets the phone password of a new contact. Skips the hash if the
    /// request is validated only or the customer does not exist.
    async fn new_phone_password(
        &self,
        new: &NewContact,
        contact_id: ContactId,
    ) -> Result<Option<PhonePasswordChange>> {
        let Some(password) = &new.phone_password else {
            return Ok(None);
        };
        check_password(password, &new.customer_number, &new.display_name)?;
        self.get_customer(&new.customer_number).await?;
        if new.validate_only {
            return Ok(None);
        }
        let contact = ContactRef {
            customer_number: new.customer_number.clone(),
            contact_id,
        };
        let hash = self.hash_phone_password(&contact, password).await?;
        Ok(Some(PhonePasswordChange::Set(hash)))
    }
}

/// Builds the requested contact. Also returns the names of the fields that are set, except for the
/// types and the name.
pub(super) fn new_contact(
    new: &NewContact,
    id: ContactId,
    confirmation_id: ConfirmationId,
    now: DateTime<Utc>,
) -> (Contact, Vec<&'static str>) {
    let customer_number = new.customer_number.clone();
    let display_name = new.display_name.clone();
    let mut contact = Contact::new(customer_number, id, new.types, display_name, now);
    let mut fields = new.fields.clone().apply_to(&mut contact);
    if let Some(email) = &new.email {
        fields.extend(contact.change_email(confirmation_id, email.clone(), now));
    }
    (contact, fields)
}
