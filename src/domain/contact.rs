//! Contacts and the rules of their changes (rules 1 to 8, 20, 22).

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        contact_types::{ContactType, ContactTypes},
        email_address::EmailAddress,
        email_confirmation::PendingEmail,
        etag::etag,
        ids::{ConfirmationId, ContactId, CustomerNumber},
        person_name::PersonName,
        phone_number::PhoneNumber,
        phone_password::PhonePasswordState,
        restrictions::Restrictions,
        text,
    },
    error::{Error, Result, Violation},
};

/// The maximum number of contacts of a customer (rule 4).
pub const MAX_CONTACTS: usize = 100;
/// The maximum number of phone numbers of a contact (rule 4).
pub const MAX_PHONE_NUMBERS: usize = 10;
const MAX_DISPLAY_NAME_CHARS: usize = 200;
const MAX_POSITION_CHARS: usize = 100;
const MAX_DEPARTMENT_CHARS: usize = 100;

/// The language of messages to a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locale {
    /// German.
    #[default]
    German,
    /// English.
    English,
}

impl Locale {
    /// Parses `de` or `en`. An empty text means `de`.
    ///
    /// # Errors
    /// [`Violation`] for any other text.
    pub fn parse(text: &str) -> std::result::Result<Self, Violation> {
        match text {
            "" | "de" => Ok(Self::German),
            "en" => Ok(Self::English),
            _ => Err(Violation::UnknownLocale),
        }
    }

    /// Returns `de` or `en`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }
}

/// Parses the name of a person or department: 1 to 200 characters on one line.
///
/// # Errors
/// [`Violation`] if the name is empty, too long or contains control characters.
pub fn parse_display_name(name: &str) -> std::result::Result<String, Violation> {
    text::single_line(name, MAX_DISPLAY_NAME_CHARS)
}

/// Parses the position of a person in the company: up to 100 characters on one line.
///
/// # Errors
/// [`Violation`] if it is too long or contains control characters.
pub fn parse_position(text: &str) -> std::result::Result<String, Violation> {
    text::optional_line(text, MAX_POSITION_CHARS)
}

/// Parses the name of a department: up to 100 characters on one line.
///
/// # Errors
/// [`Violation`] if it is too long or contains control characters.
pub fn parse_department(text: &str) -> std::result::Result<String, Violation> {
    text::optional_line(text, MAX_DEPARTMENT_CHARS)
}

/// A contact person or department of a customer.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The customer that the contact belongs to.
    pub customer_number: CustomerNumber,
    /// The id within the customer.
    pub id: ContactId,
    /// The sequence number of the contact's creation, which orders the customer's contacts. It has
    /// gaps.
    pub position: i64,
    /// The types; never empty.
    pub types: ContactTypes,
    /// The name of the person or department. If it equals the one that the parts of the name compose, it
    /// follows their changes.
    pub display_name: String,
    /// The parts of a person's name.
    pub name: PersonName,
    /// The position in the company; may be empty.
    pub job_position: String,
    /// The department; may be empty.
    pub department: String,
    /// The language of messages to the contact.
    pub locale: Locale,
    /// The confirmed e-mail address.
    pub email: Option<EmailAddress>,
    /// The time of the last confirmation of the confirmed address.
    pub email_confirm_time: Option<DateTime<Utc>>,
    /// The time at which an e-mail to the confirmed address bounced.
    pub email_bounce_time: Option<DateTime<Utc>>,
    /// The time before which reports of failures are outdated, as the confirmed address was confirmed then,
    /// or delivered to after a failure.
    pub email_works_since: Option<DateTime<Utc>>,
    /// The address that was entered last and is not confirmed. It may have expired: read it through
    /// [`pending_email_at`](Self::pending_email_at).
    pub pending_email: Option<PendingEmail>,
    /// The phone numbers, in the order of the request.
    pub phone_numbers: Vec<PhoneNumber>,
    /// True if invoices are sent to the contact by e-mail.
    pub invoice_email_enabled: bool,
    /// The time at which invoice e-mail was disabled because the last address expired, until it is enabled
    /// again (rule 22).
    pub invoice_email_lapse_time: Option<DateTime<Utc>>,
    /// The restrictions of phone orders.
    pub restrictions: Restrictions,
    /// The state of the phone password.
    pub phone_password: PhonePasswordState,
    /// True if this is the customer's only STANDARD contact (rule 2).
    pub is_last_standard: bool,
    /// The number of changes of the contact, from which its etag is derived.
    pub version: i64,
    /// The time of the contact's creation.
    pub create_time: DateTime<Utc>,
    /// The time of the last change.
    pub update_time: DateTime<Utc>,
}

impl Contact {
    /// Creates a contact with default values for all other fields. Its position is assigned when it
    /// is inserted.
    pub fn new(
        customer_number: CustomerNumber,
        id: ContactId,
        types: ContactTypes,
        display_name: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            customer_number,
            id,
            position: 0,
            types,
            display_name,
            name: PersonName::default(),
            job_position: String::new(),
            department: String::new(),
            locale: Locale::default(),
            email: None,
            email_confirm_time: None,
            email_bounce_time: None,
            email_works_since: None,
            pending_email: None,
            phone_numbers: Vec::new(),
            invoice_email_enabled: false,
            invoice_email_lapse_time: None,
            restrictions: Restrictions::default(),
            phone_password: PhonePasswordState::default(),
            is_last_standard: false,
            version: 1,
            create_time: now,
            update_time: now,
        }
    }

    /// Returns the pending address unless it expired by `now` (rule 7).
    pub fn pending_email_at(&self, now: DateTime<Utc>) -> Option<&PendingEmail> {
        self.pending_email
            .as_ref()
            .filter(|pending| now < pending.expire_time)
    }

    /// Returns the contact as of `now`: without an expired pending address or an ended lock, and
    /// with the number of resends that are possible (rules 7, 11, 16 and 22).
    #[must_use]
    pub fn as_of(mut self, now: DateTime<Utc>) -> Self {
        let _expired = self.expire_pending_email(now);
        if let Some(pending) = &mut self.pending_email {
            pending.resends_left = pending.resends.remaining_at(now);
        }
        let locked_until = &mut self.phone_password.locked_until;
        *locked_until = locked_until.filter(|time| *time > now);
        self
    }

    /// Drops a pending address that expired by `now`, and disables invoice e-mail if no current
    /// address remains (rules 7 and 22). Returns `None` if nothing expired.
    ///
    /// The resulting version and update time depend on the contact only, so that a read before the
    /// expiry is stored shows the same values as one after it.
    pub fn expire_pending_email(&mut self, now: DateTime<Utc>) -> Option<EmailExpiry> {
        let pending = self
            .pending_email
            .take_if(|pending| now >= pending.expire_time)?;
        let disables_invoice_email = self.invoice_email_enabled && self.email.is_none();
        if disables_invoice_email {
            self.invoice_email_enabled = false;
            self.invoice_email_lapse_time = Some(pending.expire_time);
        }
        self.version += 1;
        self.update_time = self.update_time.max(pending.expire_time);
        Some(EmailExpiry {
            id: pending.id,
            disables_invoice_email,
        })
    }

    /// Returns the etag of this version of the contact.
    pub fn etag(&self) -> String {
        etag(self.create_time, self.version)
    }

    /// Returns true if invoice e-mail can be enabled (rule 22). The contact must be one [as of](Self::as_of)
    /// now.
    pub fn can_have_invoice_email(&self) -> bool {
        self.types.may_have_invoice_email()
            && (self.email.is_some() || self.pending_email.is_some())
    }

    /// Makes `email` pending, in place of a previous pending address (rules 5 and 8). `id`
    /// identifies this entry.
    ///
    /// Entering the current address only drops the pending one, unless e-mails to it bounce.
    /// Entering the pending address again changes nothing: it must extend neither the seven days
    /// (rule 7) nor the resends (rule 11).
    pub fn change_email(
        &mut self,
        id: ConfirmationId,
        email: EmailAddress,
        now: DateTime<Utc>,
    ) -> Vec<&'static str> {
        let is_current = self
            .email
            .as_ref()
            .is_some_and(|current| current.is_same_as(&email));
        if is_current && self.email_bounce_time.is_none() {
            return self.drop_pending_email(now);
        }
        let is_pending = self
            .pending_email_at(now)
            .is_some_and(|pending| pending.email.is_same_as(&email));
        if is_pending {
            return Vec::new();
        }
        self.pending_email = Some(PendingEmail::new(id, email, now));
        vec!["pending_email"]
    }

    /// Makes the pending address current if it is the entry `id` (rules 7 and 8).
    ///
    /// # Errors
    /// [`Error::ConfirmationSuperseded`] if it is not, or none is pending.
    pub fn confirm_email(
        &mut self,
        id: ConfirmationId,
        now: DateTime<Utc>,
    ) -> Result<Vec<&'static str>> {
        let pending = self
            .pending_email_at(now)
            .filter(|pending| pending.id == id);
        let pending = pending.ok_or(Error::ConfirmationSuperseded)?;
        self.email = Some(pending.email.clone());
        self.email_confirm_time = Some(now);
        self.email_bounce_time = None;
        self.email_works_since = Some(now);
        self.pending_email = None;
        Ok(vec!["email", "pending_email"])
    }

    /// Counts a resend of the link to the pending address, whose expiry is unchanged (rule 11).
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`] or [`Error::ResendLimit`].
    pub fn resend_confirmation(&mut self, now: DateTime<Utc>) -> Result<Vec<&'static str>> {
        let pending = self.pending_email.as_mut();
        let pending = pending.filter(|pending| now < pending.expire_time);
        pending.ok_or(Error::NoPendingEmail)?.resends.record(now)?;
        Ok(vec!["pending_email"])
    }

    /// Marks the pending address as failing if it is `address`, and returns true if it was not marked
    /// before. A failure from before the address was entered does not count.
    pub(super) fn fail_pending(
        &mut self,
        address: &EmailAddress,
        time: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> bool {
        let Some(pending) = &mut self.pending_email else {
            return false;
        };
        let is_failing = now < pending.expire_time
            && pending.email.is_same_as(address)
            && pending.bounce_time.is_none()
            && time >= pending.request_time;
        if is_failing {
            pending.bounce_time = Some(time);
        }
        is_failing
    }

    /// Removes the confirmed and the pending address.
    pub fn remove_email(&mut self, now: DateTime<Utc>) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.email.take().is_some() {
            changed.push("email");
        }
        self.email_confirm_time = None;
        self.email_bounce_time = None;
        self.email_works_since = None;
        changed.extend(self.drop_pending_email(now));
        changed
    }

    /// Drops the pending address (rule 6).
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`].
    pub fn cancel_email_change(&mut self, now: DateTime<Utc>) -> Result<Vec<&'static str>> {
        if self.pending_email_at(now).is_none() {
            return Err(Error::NoPendingEmail);
        }
        Ok(self.drop_pending_email(now))
    }

    fn drop_pending_email(&mut self, now: DateTime<Utc>) -> Vec<&'static str> {
        let was_pending = self.pending_email_at(now).is_some();
        self.pending_email = None;
        if was_pending {
            vec!["pending_email"]
        } else {
            Vec::new()
        }
    }
}

/// The expiry of a pending address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailExpiry {
    /// The entry of the address that expired.
    pub id: ConfirmationId,
    /// True if invoice e-mail was disabled because no address remains (rule 22).
    pub disables_invoice_email: bool,
}

/// Finds a contact among those of its customer.
///
/// # Errors
/// [`Error::ContactNotFound`].
pub fn find_contact(contacts: &[Contact], id: ContactId) -> Result<&Contact> {
    contacts
        .iter()
        .find(|contact| contact.id == id)
        .ok_or(Error::ContactNotFound)
}

/// Checks that a contact can be added to `others` (rules 2, 4 and 22).
///
/// # Errors
/// [`Error::ContactLimit`], [`Error::FirstContactNotStandard`] or
/// [`Error::InvoiceEmailNotAllowed`].
pub fn check_addition(new: &Contact, others: &[Contact], now: DateTime<Utc>) -> Result<()> {
    if others.len() >= MAX_CONTACTS {
        return Err(Error::ContactLimit {
            limit: MAX_CONTACTS,
        });
    }
    if others.is_empty() && !new.types.contains(ContactType::Standard) {
        return Err(Error::FirstContactNotStandard);
    }
    check_invoice_email(new, now)
}

/// Checks that a contact can change from `before` to `after` (rules 2 and 22). `contacts` are all
/// contacts of the customer before the change.
///
/// # Errors
/// [`Error::LastStandardContact`] or [`Error::InvoiceEmailNotAllowed`].
pub fn check_contact_rules(
    before: &Contact,
    after: &Contact,
    contacts: &[Contact],
    now: DateTime<Utc>,
) -> Result<()> {
    let loses_standard = before.types.contains(ContactType::Standard)
        && !after.types.contains(ContactType::Standard);
    if loses_standard && !has_other_standard(before.id, contacts) {
        return Err(Error::LastStandardContact);
    }
    check_invoice_email(after, now)
}

/// Checks that invoice e-mail is enabled only with a type that receives invoices and an address
/// (rule 22).
fn check_invoice_email(contact: &Contact, now: DateTime<Utc>) -> Result<()> {
    if contact.invoice_email_enabled && !contact.clone().as_of(now).can_have_invoice_email() {
        return Err(Error::InvoiceEmailNotAllowed);
    }
    Ok(())
}

/// Checks that a contact can be deleted (rule 2).
///
/// # Errors
/// [`Error::LastStandardContact`].
pub fn check_deletion(contact: &Contact, contacts: &[Contact]) -> Result<()> {
    if is_last_standard(contact, contacts) {
        return Err(Error::LastStandardContact);
    }
    Ok(())
}

/// Returns true if `contact` is STANDARD, and no other one of `contacts` is (rule 2).
pub fn is_last_standard(contact: &Contact, contacts: &[Contact]) -> bool {
    contact.types.contains(ContactType::Standard) && !has_other_standard(contact.id, contacts)
}

fn has_other_standard(id: ContactId, contacts: &[Contact]) -> bool {
    contacts
        .iter()
        .any(|other| other.id != id && other.types.contains(ContactType::Standard))
}

#[cfg(test)]
mod tests;
