//! Creates, reads and deletes contacts (rules 1 to 5, 20, 22). `contact_edit` changes them.

use chrono::{DateTime, Utc};

use super::{
    contact_edit::EditedContact,
    contact_update::{PHONE_PASSWORD, Updated},
    context::App,
    idempotency::{self, ChangeOptions},
    mail_limits,
    page::paginate,
    phone_password::{NewPhonePassword, check_password},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        change_notice::{NoticeKind, NoticedChange},
        contact::{Contact, check_addition, check_deletion, find_contact, is_last_standard},
        contact_change::ContactChange,
        contact_types::ContactTypes,
        email_address::EmailAddress,
        etag::check_etag,
        ids::{ConfirmationId, ContactId, ContactRef, CustomerNumber},
        recipient_changes::{RecipientChange, recipient_changes},
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
    pub phone_password: Option<NewPhonePassword>,
    /// The conditions of the change; its etag is not used.
    pub options: ChangeOptions,
    /// If true, the effect on recipients is returned, as it is for a validation.
    pub shows_recipient_changes: bool,
}

/// A contact that is to be created, with its hashed phone password.
#[derive(Clone)]
struct PreparedContact {
    contact: Contact,
    /// The names of the fields that are set.
    fields: Vec<&'static str>,
    phone_password: Option<PhonePasswordChange>,
}

/// A request to delete a contact.
#[derive(Clone, Debug)]
pub struct DeleteContact {
    /// The contact to delete.
    pub contact: ContactRef,
    /// The conditions of the change.
    pub options: ChangeOptions,
    /// If true, the effect on recipients is returned, as it is for a validation.
    pub shows_recipient_changes: bool,
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
    /// [`Error::InvoiceEmailNotAllowed`], [`Error::ResendLimit`], [`Error::RequestIdReused`],
    /// [`Error::InvalidFields`] for the customer number and the contact's own name as a phone password,
    /// and [`Error::Overloaded`] if too many passwords are set concurrently.
    pub async fn create_contact(&self, actor: &Actor, new: NewContact) -> Result<EditedContact> {
        let now = self.now();
        let id = ContactId(self.random.uuid_v7(now)?);
        let confirmation_id = self.confirmation_id(now)?;
        let (contact, mut fields) = new_contact(&new, id, confirmation_id, now);
        fields.extend(["types", "display_name"]);
        fields.extend(new.phone_password.as_ref().map(|_| PHONE_PASSWORD));
        let (phone_password, generated) = self.new_phone_password(&new, &contact).await?;
        let prepared = PreparedContact {
            contact,
            fields,
            phone_password,
        };
        let validate_only = new.options.validate_only;
        let (app, actor) = (self.clone(), actor.clone());
        let created = self
            .database
            .customer_transaction(&new.customer_number.clone(), move |transaction| {
                let (app, actor, new) = (app.clone(), actor.clone(), new.clone());
                let prepared = prepared.clone();
                Box::pin(async move {
                    app.create_contact_within(transaction, &actor, &new, prepared)
                        .await
                })
            })
            .await;
        let created = mail_limits::count_rejection(created)?;
        self.mail_signal.raise_if(created.mails_queued);
        Ok(EditedContact::new(created, generated, validate_only))
    }

    async fn create_contact_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        new: &NewContact,
        prepared: PreparedContact,
    ) -> Result<Outcome<Updated>> {
        let now = self.now();
        let customer_number = &new.customer_number;
        let request = new.options.request.as_ref();
        let mut contact = prepared.contact;
        let locked = transaction.lock_customer(customer_number).await?;
        if let Some(replay) =
            idempotency::replay(transaction, customer_number, actor, request, now).await?
        {
            return Ok(Outcome::Replayed(Updated {
                contact: idempotency::replayed_contact(replay.response)?,
                recipient_changes: Vec::new(),
                replayed_seed: replay.seed,
                mails_queued: false,
            }));
        }
        let others = transaction.list_contacts(customer_number).await?;
        check_addition(&contact, &others, now)?;
        contact.position = locked.sequence_number;
        contact.is_last_standard = is_last_standard(&contact, &others);
        transaction.insert_contact(&contact).await?;
        let mails_queued = self
            .apply_email_transition(transaction, None, &contact)
            .await?;
        contact.phone_password.set_time = new.phone_password.as_ref().map(|_| now);
        if let Some(change) = &prepared.phone_password {
            transaction
                .change_phone_password(customer_number, contact.id, change, now)
                .await?;
        }
        let (kind, id) = (EventKind::ContactCreated, Some(contact.id));
        let event = self.event(&locked, actor, kind, id, &prepared.fields)?;
        transaction.insert_audit_event(&event).await?;
        let change = NoticedChange::of_contact(NoticeKind::ContactAdded, &contact, now);
        self.notify_of_changes(transaction, &locked.customer, &others, vec![change])
            .await?;
        let response = CachedResponse::Contact(Box::new(contact.clone()));
        idempotency::store(transaction, actor, request, customer_number, response, now).await?;
        let validate_only = new.options.validate_only;
        let recipient_changes = if new.shows_recipient_changes || validate_only {
            let after = others.iter().chain([&contact]);
            recipient_changes(&locked.customer, &others, after, now)
        } else {
            Vec::new()
        };
        let created = Updated {
            contact,
            recipient_changes,
            replayed_seed: None,
            mails_queued,
        };
        Ok(Outcome::commit_unless(validate_only, created))
    }

    /// Deletes a contact. Returns the purposes whose recipients differ, if the request asks for them.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], [`Error::EtagMismatch`],
    /// [`Error::LastStandardContact`], [`Error::RequestIdReused`].
    pub async fn delete_contact(
        &self,
        actor: &Actor,
        deletion: DeleteContact,
    ) -> Result<Vec<RecipientChange>> {
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
    ) -> Result<Outcome<Vec<RecipientChange>>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &deletion.contact;
        let options = &deletion.options;
        let request = options.request.as_ref();
        let locked = transaction.lock_customer(customer_number).await?;
        let replay = idempotency::replay(transaction, customer_number, actor, request, now).await?;
        if replay.is_some() {
            return Ok(Outcome::Replayed(Vec::new()));
        }
        let contacts = transaction.list_contacts(customer_number).await?;
        let contact = find_contact(&contacts, *contact_id)?;
        check_etag(&options.etag, &contact.clone().as_of(now).etag())?;
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
        transaction
            .delete_notices_to(customer_number, *contact_id)
            .await?;
        let change = NoticedChange::of_contact(NoticeKind::ContactDeleted, contact, now);
        self.notify_of_changes(transaction, &locked.customer, &contacts, vec![change])
            .await?;
        let response = CachedResponse::Nothing;
        idempotency::store(transaction, actor, request, customer_number, response, now).await?;
        let recipient_changes = if deletion.shows_recipient_changes || options.validate_only {
            let others = contacts.iter().filter(|other| other.id != *contact_id);
            recipient_changes(&locked.customer, &contacts, others, now)
        } else {
            Vec::new()
        };
        Ok(Outcome::commit_unless(
            options.validate_only,
            recipient_changes,
        ))
    }

    /// Returns the change that sets the phone password of a new contact, and the generated text. Skips the
    /// hash if the request is validated only.
    async fn new_phone_password(
        &self,
        new: &NewContact,
        contact: &Contact,
    ) -> Result<(Option<PhonePasswordChange>, Option<String>)> {
        let Some(source) = &new.phone_password else {
            return Ok((None, None));
        };
        let request = new.options.request.as_ref();
        let (password, generated) = self.choose_phone_password(source, request)?;
        let (number, name) = (&new.customer_number, &contact.display_name);
        check_password(&password, number, name, PHONE_PASSWORD)?;
        self.get_customer(number).await?;
        if new.options.validate_only {
            return Ok((None, generated));
        }
        let contact = ContactRef {
            customer_number: number.clone(),
            contact_id: contact.id,
        };
        let hash = self.hash_phone_password(&contact, &password).await?;
        Ok((Some(PhonePasswordChange::Set(hash)), generated))
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
