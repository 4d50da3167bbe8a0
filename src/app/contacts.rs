//! Contacts: on file, changed, deleted (rules 1 to 5, 20, 22).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    app::{
        App, ContactRef, RequestKey, confirmation_mails, cut_page, idempotency,
        phone_password::check_password,
    },
    domain::{
        audit::{Actor, EventKind},
        contact::{
            Contact, ContactChange, ContactId, check_addition, check_contact_rules, check_deletion,
        },
        contact_types::ContactTypes,
        customer::CustomerNumber,
        email_address::EmailAddress,
        email_confirmation::ConfirmationId,
        etag::check_etag,
        phone_password::FoldedPassword,
    },
    error::{Error, Result},
    failpoint::failpoint,
    storage::{Answer, Outcome, PhonePasswordChange, Transaction},
};

/// A contact to be put on file.
#[derive(Clone, Debug)]
pub struct NewContact {
    /// Whose contact it is.
    pub customer_number: CustomerNumber,
    /// Its types, not empty.
    pub types: ContactTypes,
    /// Its name.
    pub display_name: String,
    /// Everything else; its types and name are not looked at.
    pub fields: ContactChange,
    /// An address, which becomes pending.
    pub email: Option<EmailAddress>,
    /// A phone password.
    pub phone_password: Option<FoldedPassword>,
    /// The caller's id of this request.
    pub request: Option<RequestKey>,
    /// Whether to check only.
    pub validate_only: bool,
}

/// A change of a contact.
#[derive(Clone, Debug)]
pub struct UpdateContact {
    /// Which contact.
    pub contact: ContactRef,
    /// What to set.
    pub change: ContactChange,
    /// The state the caller has seen; empty: any.
    pub etag: String,
    /// The caller's id of this request.
    pub request: Option<RequestKey>,
    /// Whether to check only.
    pub validate_only: bool,
}

/// A deletion of a contact.
#[derive(Clone, Debug)]
pub struct DeleteContact {
    /// Which contact.
    pub contact: ContactRef,
    /// The state the caller has seen; empty: any.
    pub etag: String,
    /// The caller's id of this request.
    pub request: Option<RequestKey>,
    /// Whether to check only.
    pub validate_only: bool,
}

/// Some of a customer's contacts.
#[derive(Clone, Debug)]
pub struct ContactPage {
    /// The contacts, in the order of their creation.
    pub contacts: Vec<Contact>,
    /// Position behind which the next page begins; `None`: there is none.
    pub next_after: Option<i64>,
}

/// What a change does to a contact; answers the names of the changed fields.
type Mutation = dyn Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<&'static str>> + Send + Sync;

/// A change of one contact, whatever the RPC.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) contact: ContactRef,
    pub(super) kind: EventKind,
    pub(super) etag: String,
    pub(super) request: Option<RequestKey>,
    pub(super) validate_only: bool,
    /// What becomes of the phone password, where the mutation names it as changed.
    pub(super) phone_password: Option<PhonePasswordChange>,
    pub(super) mutation: Arc<Mutation>,
}

impl Change {
    /// A change of whatever state the contact is in, done at once and without a
    /// request id.
    pub(super) fn new(
        contact: ContactRef,
        kind: EventKind,
        mutation: impl Fn(&mut Contact, DateTime<Utc>) -> Result<Vec<&'static str>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            contact,
            kind,
            etag: String::new(),
            request: None,
            validate_only: false,
            phone_password: None,
            mutation: Arc::new(mutation),
        }
    }
}

impl App {
    /// The contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], and the failures of
    /// the database.
    pub async fn get_contact(&self, contact: &ContactRef) -> Result<Contact> {
        let number = &contact.customer_number;
        let found = self.database.find_contact(number, contact.contact_id);
        if let Some(contact) = found.await? {
            return Ok(contact.as_of(self.now()));
        }
        self.get_customer(number).await?;
        Err(Error::ContactNotFound)
    }

    /// Up to `page_size` contacts behind a position that have at least one of
    /// `types` (none given: all).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn list_contacts(
        &self,
        number: &CustomerNumber,
        types: ContactTypes,
        after_position: i64,
        page_size: usize,
    ) -> Result<ContactPage> {
        let mut contacts = self.database.list_contacts(number, after_position).await?;
        if contacts.is_empty() {
            self.get_customer(number).await?;
        }
        contacts.retain(|contact| {
            types.is_empty() || contact.types.iter().any(|held| types.contains(held))
        });
        let next_after = cut_page(&mut contacts, page_size, |contact| contact.position);
        let now = self.now();
        Ok(ContactPage {
            contacts: contacts
                .into_iter()
                .map(|contact| contact.as_of(now))
                .collect(),
            next_after,
        })
    }

    /// Puts a contact on file; an address becomes pending (rule 5).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactLimit`],
    /// [`Error::FirstContactNotStandard`], [`Error::InvoiceEmailNotAllowed`],
    /// [`Error::RequestIdReused`], and the failures of the database.
    pub async fn create_contact(&self, actor: &Actor, new: NewContact) -> Result<Contact> {
        let now = self.now();
        let id = ContactId(self.random.uuid_v7(now)?);
        let confirmation_id = self.confirmation_id(now)?;
        let (contact, mut fields) = new_contact(&new, id, confirmation_id, now);
        fields.extend(["types", "display_name"]);
        let phone_password = self.new_phone_password(&new, id).await?;
        fields.extend(new.phone_password.as_ref().map(|_| "phone_password"));
        let (app, actor) = (self.clone(), actor.clone());
        let of = new.customer_number.clone();
        let created = self
            .database
            .transaction_of(&of, move |transaction| {
                let (app, actor, new) = (app.clone(), actor.clone(), new.clone());
                let (mut contact, fields) = (contact.clone(), fields.clone());
                let phone_password = phone_password.clone();
                Box::pin(async move {
                    let number = &new.customer_number;
                    let request = new.request.as_ref();
                    let locked = transaction.lock_customer(number).await?;
                    if let Some(answer) =
                        idempotency::find_answer(transaction, number, &actor, request, now).await?
                    {
                        return Ok(Outcome::Rollback(to_contact(answer)?));
                    }
                    let others = transaction.list_contacts(number).await?;
                    check_addition(&contact, &others, now)?;
                    contact.position = locked.rank;
                    transaction.insert_contact(&contact).await?;
                    app.follow_addresses(transaction, None, &contact, None)
                        .await?;
                    contact.phone_password.set_time = new.phone_password.as_ref().map(|_| now);
                    if let Some(change) = &phone_password {
                        transaction
                            .change_phone_password(number, id, change, now)
                            .await?;
                    }
                    let kind = EventKind::ContactCreated;
                    let event = app.event(&locked, &actor, kind, Some(id), &fields)?;
                    transaction.insert_audit_event(&event).await?;
                    let answer = Answer::Contact(Box::new(contact.clone()));
                    idempotency::remember(transaction, &actor, request, number, answer, now)
                        .await?;
                    Ok(outcome(contact, new.validate_only))
                })
            })
            .await;
        let created = confirmation_mails::count_rejection(created)?;
        self.mail_signal.raise_if(created.pending_email.is_some());
        Ok(created)
    }

    /// Sets fields of a contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`],
    /// [`Error::EtagMismatch`], [`Error::LastStandardContact`],
    /// [`Error::InvoiceEmailNotAllowed`], [`Error::RequestIdReused`], and the
    /// failures of the database.
    pub async fn update_contact(&self, actor: &Actor, update: UpdateContact) -> Result<Contact> {
        let fields = update.change;
        let mutation = move |contact: &mut Contact, _| Ok(fields.clone().apply_to(contact));
        let change = Change {
            etag: update.etag,
            request: update.request,
            validate_only: update.validate_only,
            ..Change::new(update.contact, EventKind::ContactUpdated, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Deletes a contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`],
    /// [`Error::EtagMismatch`], [`Error::LastStandardContact`],
    /// [`Error::RequestIdReused`], and the failures of the database.
    pub async fn delete_contact(&self, actor: &Actor, deletion: DeleteContact) -> Result<()> {
        let (app, actor) = (self.clone(), actor.clone());
        let now = self.now();
        let of = deletion.contact.customer_number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, actor, deletion) = (app.clone(), actor.clone(), deletion.clone());
                Box::pin(async move {
                    let ContactRef {
                        customer_number: number,
                        contact_id: id,
                    } = &deletion.contact;
                    let request = deletion.request.as_ref();
                    let locked = transaction.lock_customer(number).await?;
                    let known =
                        idempotency::find_answer(transaction, number, &actor, request, now).await?;
                    if known.is_some() {
                        return Ok(Outcome::Rollback(()));
                    }
                    let contacts = transaction.list_contacts(number).await?;
                    let contact = find(&contacts, *id)?;
                    check_etag(&deletion.etag, &contact.clone().as_of(now).etag())?;
                    check_deletion(contact, &contacts)?;
                    transaction.delete_contact(contact).await?;
                    transaction.delete_phone_password(number, *id).await?;
                    transaction.forget_answers(number, *id).await?;
                    let kind = EventKind::ContactDeleted;
                    let event = app.event(&locked, &actor, kind, Some(*id), &[])?;
                    transaction.insert_audit_event(&event).await?;
                    let answer = Answer::Nothing;
                    idempotency::remember(transaction, &actor, request, number, answer, now)
                        .await?;
                    Ok(outcome((), deletion.validate_only))
                })
            })
            .await
    }

    /// The one way in which a contact on file changes: locked, judged, saved and
    /// recorded in one transaction, with the mails that follow from it. A change after which
    /// nothing differs records nothing (rule 25).
    pub(super) async fn change_contact(&self, actor: &Actor, change: Change) -> Result<Contact> {
        let (app, actor) = (self.clone(), actor.clone());
        let of = change.contact.customer_number.clone();
        let changed = self
            .database
            .transaction_of(&of, move |transaction| {
                let (app, actor, change) = (app.clone(), actor.clone(), change.clone());
                Box::pin(async move { app.apply_change(transaction, &actor, &change).await })
            })
            .await;
        let (contact, has_mail) = confirmation_mails::count_rejection(changed)?;
        self.mail_signal.raise_if(has_mail);
        Ok(contact)
    }

    /// Gives the contact, and whether mails were queued.
    async fn apply_change(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        change: &Change,
    ) -> Result<Outcome<(Contact, bool)>> {
        let now = self.now();
        let ContactRef {
            customer_number: number,
            contact_id: id,
        } = &change.contact;
        let request = change.request.as_ref();
        let mut locked = transaction.lock_customer(number).await?;
        if let Some(answer) =
            idempotency::find_answer(transaction, number, actor, request, now).await?
        {
            return Ok(Outcome::Rollback((to_contact(answer)?, false)));
        }
        let contacts = transaction.list_contacts(number).await?;
        let mut before = find(&contacts, *id)?.clone();
        if self
            .expire_pending_email(transaction, &locked, &mut before, now)
            .await?
        {
            // Each event has a rank of its own.
            locked = transaction.lock_customer(number).await?;
        }
        check_etag(&change.etag, &before.etag())?;
        let mut after = before.clone();
        let changed = (change.mutation)(&mut after, now)?;
        check_contact_rules(&before, &after, &contacts, now)?;
        let mut has_mail = false;
        if !changed.is_empty() {
            transaction.update_contact(&before, &mut after, now).await?;
            has_mail = self
                .follow_addresses(transaction, Some(&before), &after, None)
                .await?;
            if let Some(change) = &change.phone_password {
                after.phone_password = transaction
                    .change_phone_password(number, *id, change, now)
                    .await?;
            }
            let mut event = self.event(&locked, actor, change.kind, Some(*id), &changed)?;
            if matches!(change.phone_password, Some(PhonePasswordChange::Unlock(_))) {
                event = event.with_reason_given();
            }
            transaction.insert_audit_event(&event).await?;
        }
        // Before it is remembered: the answer stays the one of this moment.
        let after = after.as_of(now);
        let answer = Answer::Contact(Box::new(after.clone()));
        idempotency::remember(transaction, actor, request, number, answer, now).await?;
        failpoint("change-written").await;
        Ok(outcome((after, has_mail), change.validate_only))
    }

    /// The hash of a new contact's phone password. A check alone needs none, and neither
    /// does a customer that is not on file.
    async fn new_phone_password(
        &self,
        new: &NewContact,
        id: ContactId,
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
            contact_id: id,
        };
        let hash = self.hash_phone_password(&contact, password).await?;
        Ok(Some(PhonePasswordChange::Set(hash)))
    }
}

/// The contact that `new` asks for, and the names of its fields besides types and name.
pub(super) fn new_contact(
    new: &NewContact,
    id: ContactId,
    confirmation_id: ConfirmationId,
    now: DateTime<Utc>,
) -> (Contact, Vec<&'static str>) {
    let number = new.customer_number.clone();
    let mut contact = Contact::new(number, id, new.types, new.display_name.clone(), now);
    let mut fields = new.fields.clone().apply_to(&mut contact);
    if let Some(email) = &new.email {
        fields.extend(contact.change_email(confirmation_id, email.clone(), now));
    }
    (contact, fields)
}

pub(super) fn find(contacts: &[Contact], id: ContactId) -> Result<&Contact> {
    contacts
        .iter()
        .find(|contact| contact.id == id)
        .ok_or(Error::ContactNotFound)
}

fn outcome<T>(answer: T, validate_only: bool) -> Outcome<T> {
    if validate_only {
        Outcome::Rollback(answer)
    } else {
        Outcome::Commit(answer)
    }
}

/// The fingerprint names the RPC, so a remembered answer is of the right kind.
fn to_contact(answer: Answer) -> Result<Contact> {
    match answer {
        Answer::Contact(contact) => Ok(*contact),
        Answer::Deleted => Err(Error::ContactNotFound),
        Answer::Nothing => Err(Error::data_loss("request_ids.answer")),
    }
}
