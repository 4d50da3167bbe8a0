//! Changes a contact, its addresses and its phone password in one transaction (rules 1 to 8, 14, 20,
//! 22).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    contact_update::{Change, ContactUpdate, PHONE_PASSWORD, Updated},
    context::App,
    idempotency::ChangeOptions,
    phone_password::{NewPhonePassword, check_password, generated_from},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        contact_change::ContactChange,
        email_address::EmailAddress,
        ids::{ConfirmationId, ContactRef},
        phone_password::NormalizedPassword,
        recipient_changes::RecipientChange,
    },
    error::{Error, Result, Violation},
    storage::PhonePasswordChange,
};

/// A request to update a contact.
#[derive(Clone, Debug)]
pub struct UpdateContact {
    /// The contact to update.
    pub contact: ContactRef,
    /// The fields to set.
    pub fields: ContactChange,
    /// The change of the addresses.
    pub email: Option<EmailEdit>,
    /// The change of the phone password.
    pub phone_password: Option<PhonePasswordEdit>,
    /// The conditions of the change.
    pub options: ChangeOptions,
    /// If true, the effect on recipients is returned, as it is for a validation.
    pub shows_recipient_changes: bool,
}

/// A change of the addresses of a contact.
#[derive(Clone, Debug)]
pub enum EmailEdit {
    /// Enters an address, which becomes pending; the current one stays in use.
    Enter(EmailAddress),
    /// Removes the confirmed and the pending address.
    Remove,
    /// Drops the pending address.
    CancelPending,
}

/// A change of the phone password of a contact.
#[derive(Clone, Debug)]
pub enum PhonePasswordEdit {
    /// Sets it.
    Set {
        /// The new password.
        new: NewPhonePassword,
        /// The field of the request that has it, for violations.
        field: &'static str,
    },
    /// Removes it.
    Clear,
}

/// A contact after its creation or change.
#[derive(Clone, Debug)]
pub struct EditedContact {
    /// The contact.
    pub contact: Contact,
    /// The generated phone password; `None` also if the request was validated only.
    pub generated_phone_password: Option<String>,
    /// The purposes whose recipients differ after the change.
    pub recipient_changes: Vec<RecipientChange>,
}

impl EditedContact {
    /// Creates the response to a creation or an update. `generated` is the password that this request
    /// generated; a repeated one shows that of the first.
    pub(super) fn new(updated: Updated, generated: Option<String>, validate_only: bool) -> Self {
        let seed = updated.replayed_seed.as_ref();
        let generated = generated.map(|text| seed.map_or(text, generated_from));
        Self {
            contact: updated.contact,
            generated_phone_password: generated.filter(|_| !validate_only),
            recipient_changes: updated.recipient_changes,
        }
    }
}

/// A password that is to be set, after the costly hash.
#[derive(Clone)]
struct PreparedPassword {
    password: NormalizedPassword,
    field: &'static str,
    generated: Option<String>,
    change: PhonePasswordChange,
}

impl UpdateContact {
    /// Creates an update that changes nothing yet.
    pub fn new(contact: ContactRef, options: ChangeOptions) -> Self {
        Self {
            contact,
            fields: ContactChange::default(),
            email: None,
            phone_password: None,
            options,
            shows_recipient_changes: false,
        }
    }
}

impl App {
    /// Changes fields, addresses and phone password of a contact.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], [`Error::EtagMismatch`],
    /// [`Error::LastStandardContact`], [`Error::InvoiceEmailNotAllowed`], [`Error::NoPendingEmail`],
    /// [`Error::ResendLimit`], [`Error::RequestIdReused`], [`Error::InvalidFields`] for a name without
    /// parts and for the customer number and the contact's own name as a phone password, and
    /// [`Error::Overloaded`] if too many passwords are set concurrently.
    pub async fn update_contact(
        &self,
        actor: &Actor,
        update: UpdateContact,
    ) -> Result<EditedContact> {
        let validate_only = update.options.validate_only;
        let password = self.prepare_phone_password(&update).await?;
        let generated = password.as_ref().and_then(|new| new.generated.clone());
        let clears = matches!(update.phone_password, Some(PhonePasswordEdit::Clear));
        let change = password.as_ref().map(|new| new.change.clone());
        let confirmation_id = self.confirmation_id(self.now())?;
        let (fields, email) = (update.fields, update.email);
        let mutator = move |contact: &mut Contact, now| {
            let kind = EventKind::ContactUpdated;
            let mut changes = vec![Change {
                kind,
                fields: fields.clone().apply_to(contact),
            }];
            check_name(contact)?;
            if let Some(edit) = &email {
                changes.push(edit_email(contact, edit, confirmation_id, now)?);
            }
            if let Some(new) = &password {
                let (number, name) = (&contact.customer_number, &contact.display_name);
                check_password(&new.password, number, name, new.field)?;
                changes.push(of_password(EventKind::PhonePasswordSet));
            }
            if clears && contact.phone_password.set_time.is_some() {
                changes.push(of_password(EventKind::PhonePasswordCleared));
            }
            Ok(changes)
        };
        let updated = self.apply_contact_update(
            actor,
            ContactUpdate {
                contact: update.contact,
                options: update.options,
                shows_recipient_changes: update.shows_recipient_changes,
                phone_password: change.or_else(|| clears.then_some(PhonePasswordChange::Clear)),
                mutator: Arc::new(mutator),
            },
        );
        Ok(EditedContact::new(updated.await?, generated, validate_only))
    }

    /// Chooses and hashes the password to set. Rejects most invalid requests before the hash.
    async fn prepare_phone_password(
        &self,
        update: &UpdateContact,
    ) -> Result<Option<PreparedPassword>> {
        let Some(PhonePasswordEdit::Set { new, field }) = &update.phone_password else {
            return Ok(None);
        };
        let options = &update.options;
        let stored = self.get_contact(&update.contact).await?;
        let name = update.fields.display_name_for(&stored);
        let name = name.unwrap_or(stored.display_name);
        let (password, generated) = self.choose_phone_password(new, options.request.as_ref())?;
        check_password(&password, &stored.customer_number, &name, field)?;
        let hash = if options.validate_only {
            // It is rolled back.
            self.placeholder_hash()?
        } else {
            self.hash_phone_password(&update.contact, &password).await?
        };
        Ok(Some(PreparedPassword {
            password,
            field,
            generated,
            change: PhonePasswordChange::Set(hash),
        }))
    }
}

/// Rule 4: a contact has a name, given or composed.
fn check_name(contact: &Contact) -> Result<()> {
    if contact.display_name.is_empty() {
        let field = "contact.display_name";
        return Err(Error::invalid_field(field, Violation::NameMissing));
    }
    Ok(())
}

fn edit_email(
    contact: &mut Contact,
    edit: &EmailEdit,
    id: ConfirmationId,
    now: DateTime<Utc>,
) -> Result<Change> {
    let (kind, fields) = match edit {
        EmailEdit::Enter(email) => (
            EventKind::EmailChanged,
            contact.change_email(id, email.clone(), now),
        ),
        EmailEdit::Remove => (EventKind::EmailRemoved, contact.remove_email(now)),
        EmailEdit::CancelPending => (
            EventKind::EmailChangeCancelled,
            contact.cancel_email_change(now)?,
        ),
    };
    Ok(Change { kind, fields })
}

fn of_password(kind: EventKind) -> Change {
    Change {
        kind,
        fields: vec![PHONE_PASSWORD],
    }
}
