//! Contacts and the rules on changing them (rules 1 to 8, 20, 22).

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        contact_types::{ContactType, ContactTypes},
        email_address::EmailAddress,
        email_confirmation::PendingEmail,
        etag::etag,
        ids::{ConfirmationId, ContactId, CustomerNumber},
        phone_number::PhoneNumber,
        phone_password::PhonePasswordState,
        restrictions::{OrderTypeCode, Restrictions},
        text,
    },
    error::{Error, Invalid, Result},
};

/// Rule 4: the most contacts of a customer.
pub const MAX_CONTACTS: usize = 100;
/// Rule 4: the most phone numbers of a contact.
pub const MAX_PHONE_NUMBERS: usize = 10;
const MAX_DISPLAY_NAME_CHARS: usize = 200;

/// The language a contact is written to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locale {
    /// German.
    #[default]
    German,
    /// English.
    English,
}

impl Locale {
    /// Reads `de`, `en`, or nothing, which is `de`.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        match text {
            "" | "de" => Ok(Self::German),
            "en" => Ok(Self::English),
            _ => Err(Invalid::new("must be \"de\" or \"en\"")),
        }
    }

    /// `de` or `en`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }
}

/// Reads the name of a person or department: 1 to 200 characters of one line.
///
/// # Errors
/// [`Invalid`] when empty, too long or with control characters.
pub fn parse_display_name(name: &str) -> std::result::Result<String, Invalid> {
    text::single_line(name, MAX_DISPLAY_NAME_CHARS)
}

/// A contact person or department of a customer.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Whose contact it is.
    pub customer_number: CustomerNumber,
    /// Which contact it is.
    pub id: ContactId,
    /// Rank of its creation among the customer's contacts; grows, with gaps.
    pub position: i64,
    /// What it is for; never empty.
    pub types: ContactTypes,
    /// Its name.
    pub display_name: String,
    /// The language it is written to in.
    pub locale: Locale,
    /// The confirmed address.
    pub email: Option<EmailAddress>,
    /// When a mail to the confirmed address was refused for good.
    pub email_bounce_time: Option<DateTime<Utc>>,
    /// The address last entered and not yet confirmed; read it through [`pending_email_at`](Self::pending_email_at).
    pub pending_email: Option<PendingEmail>,
    /// Its phone numbers, in the order given.
    pub phone_numbers: Vec<PhoneNumber>,
    /// Whether invoices go to it by e-mail.
    pub invoice_email_enabled: bool,
    /// What it may not order by phone.
    pub restrictions: Restrictions,
    /// The state of its phone password.
    pub phone_password: PhonePasswordState,
    /// Counts the changes of this contact; the etag is made of it.
    pub version: i64,
    /// When it was put on file.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl Contact {
    /// A contact as it is before more is known of it than its types and name. Its
    /// position is given when it is put on file.
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
            locale: Locale::default(),
            email: None,
            email_bounce_time: None,
            pending_email: None,
            phone_numbers: Vec::new(),
            invoice_email_enabled: false,
            restrictions: Restrictions::default(),
            phone_password: PhonePasswordState::default(),
            version: 1,
            create_time: now,
            update_time: now,
        }
    }

    /// Rule 7: the pending address as of `now`; an expired one is none.
    pub fn pending_email_at(&self, now: DateTime<Utc>) -> Option<&PendingEmail> {
        self.pending_email
            .as_ref()
            .filter(|pending| now < pending.expire_time)
    }

    /// Rules 7, 11, 16 and 22: the contact as it is shown at `now`, without a pending address
    /// that expired or a lock that is over, and with the resends that are possible then.
    #[must_use]
    pub fn as_of(mut self, now: DateTime<Utc>) -> Self {
        let _lapsed = self.expire_pending_email(now);
        if let Some(pending) = &mut self.pending_email {
            pending.resends_left = pending.resends.left_at(now);
        }
        let locked_until = &mut self.phone_password.locked_until;
        *locked_until = locked_until.filter(|time| *time > now);
        self
    }

    /// Rules 7 and 22: drops a pending address that expired by `now`, and disables invoice e-mail
    /// with it where no current address remains. `None`: nothing expired.
    ///
    /// The result depends on the contact alone: a read before the expiry is stored shows the
    /// version and update time that are stored later.
    pub fn expire_pending_email(&mut self, now: DateTime<Utc>) -> Option<Lapse> {
        let pending = self
            .pending_email
            .take_if(|pending| now >= pending.expire_time)?;
        let disables_invoice_email = self.invoice_email_enabled && self.email.is_none();
        if disables_invoice_email {
            self.invoice_email_enabled = false;
        }
        self.version += 1;
        self.update_time = self.update_time.max(pending.expire_time);
        Some(Lapse {
            id: pending.id,
            disables_invoice_email,
        })
    }

    /// Tells this state of the contact from others.
    pub fn etag(&self) -> String {
        etag(self.create_time, self.version)
    }

    fn has_any_address_at(&self, now: DateTime<Utc>) -> bool {
        self.email.is_some() || self.pending_email_at(now).is_some()
    }

    /// Rules 5 and 8: `email` becomes pending and replaces an older pending one.
    /// The address that is current already needs no confirmation, unless mails to it
    /// bounce: choosing it again only drops the pending one. Entering the pending address once more changes
    /// nothing, or it would prolong the 7 days (rule 7) and renew the resends (rule 11).
    /// `id` tells this entering from others.
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

    /// Rules 7 and 8: the pending address becomes the current one, if it is still the
    /// one that was entered as `id`.
    ///
    /// # Errors
    /// [`Error::ConfirmationSuperseded`] when it is another one, or none.
    pub fn confirm_email(
        &mut self,
        id: ConfirmationId,
        now: DateTime<Utc>,
    ) -> Result<Vec<&'static str>> {
        let pending = self.pending_email_at(now).filter(|held| held.id == id);
        let pending = pending.ok_or(Error::ConfirmationSuperseded)?;
        self.email = Some(pending.email.clone());
        self.email_bounce_time = None;
        self.pending_email = None;
        Ok(vec!["email", "pending_email"])
    }

    /// Rule 11: the link to the pending address is to be sent again; the 7 days go on.
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`] or [`Error::ResendLimit`].
    pub fn resend_confirmation(&mut self, now: DateTime<Utc>) -> Result<Vec<&'static str>> {
        let pending = self.pending_email.as_mut();
        let pending = pending.filter(|pending| now < pending.expire_time);
        pending.ok_or(Error::NoPendingEmail)?.resends.take(now)?;
        Ok(vec!["pending_email"])
    }

    /// Notes that a mail to `address` was refused for good. What is noted already stays as
    /// it is, and so does an address that took its place.
    pub fn note_bounce(&mut self, address: &EmailAddress, now: DateTime<Utc>) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let is_it = |held: &EmailAddress| held.is_same_as(address);
        if self.email.as_ref().is_some_and(is_it) && self.email_bounce_time.is_none() {
            self.email_bounce_time = Some(now);
            changed.push("email");
        }
        if let Some(pending) = &mut self.pending_email
            && now < pending.expire_time
            && is_it(&pending.email)
            && pending.bounce_time.is_none()
        {
            pending.bounce_time = Some(now);
            changed.push("pending_email");
        }
        changed
    }

    /// Leaves the contact without an address, confirmed or pending.
    pub fn remove_email(&mut self, now: DateTime<Utc>) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.email.take().is_some() {
            changed.push("email");
        }
        self.email_bounce_time = None;
        changed.extend(self.drop_pending_email(now));
        changed
    }

    /// Rule 6: drops the pending address.
    ///
    /// # Errors
    /// [`Error::NoPendingEmail`] when there is none.
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
pub struct Lapse {
    /// Which entering of the address expired.
    pub id: ConfirmationId,
    /// Disables invoice e-mail as well: no address remains (rule 22).
    pub disables_invoice_email: bool,
}

/// What an update sets; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactChange {
    /// The new types, not empty.
    pub types: Option<ContactTypes>,
    /// The new name.
    pub display_name: Option<String>,
    /// The new language.
    pub locale: Option<Locale>,
    /// The new phone numbers, all of them.
    pub phone_numbers: Option<Vec<PhoneNumber>>,
    /// Whether invoices go to it by e-mail.
    pub invoice_email_enabled: Option<bool>,
    /// The new free text of the restrictions.
    pub restrictions_note: Option<String>,
    /// The new list of allowed order types.
    pub allowed_order_types: Option<Vec<OrderTypeCode>>,
    /// The new list of denied order types.
    pub denied_order_types: Option<Vec<OrderTypeCode>>,
}

impl ContactChange {
    /// Applies the change and names the fields that differ afterwards. No rule is
    /// checked here; see [`check_contact_rules`].
    pub fn apply_to(self, contact: &mut Contact) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let restrictions = &mut contact.restrictions;
        set(&mut contact.types, self.types, "types", &mut changed);
        set(
            &mut contact.display_name,
            self.display_name,
            "display_name",
            &mut changed,
        );
        set(&mut contact.locale, self.locale, "locale", &mut changed);
        set(
            &mut contact.phone_numbers,
            self.phone_numbers,
            "phone_numbers",
            &mut changed,
        );
        set(
            &mut contact.invoice_email_enabled,
            self.invoice_email_enabled,
            "invoice_email_enabled",
            &mut changed,
        );
        set(
            &mut restrictions.note,
            self.restrictions_note,
            "restrictions.note",
            &mut changed,
        );
        set(
            &mut restrictions.allowed_order_types,
            self.allowed_order_types,
            "restrictions.allowed_order_types",
            &mut changed,
        );
        set(
            &mut restrictions.denied_order_types,
            self.denied_order_types,
            "restrictions.denied_order_types",
            &mut changed,
        );
        changed
    }
}

fn set<T: PartialEq>(
    kept: &mut T,
    new: Option<T>,
    name: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if let Some(new) = new
        && new != *kept
    {
        *kept = new;
        changed.push(name);
    }
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

/// Rules 2, 4 and 22 for a contact that is to be added to `others`.
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

/// Rules 2 and 22 for a contact that is to change from `before` to `after`;
/// `contacts` are all contacts of the customer before the change.
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

/// Rule 22: invoice e-mail needs a type that receives invoices, and an address.
fn check_invoice_email(contact: &Contact, now: DateTime<Utc>) -> Result<()> {
    let is_allowed = contact.types.may_have_invoice_email() && contact.has_any_address_at(now);
    if contact.invoice_email_enabled && !is_allowed {
        return Err(Error::InvoiceEmailNotAllowed);
    }
    Ok(())
}

/// Rule 2 for a contact that is to be deleted.
///
/// # Errors
/// [`Error::LastStandardContact`].
pub fn check_deletion(contact: &Contact, contacts: &[Contact]) -> Result<()> {
    let is_standard = contact.types.contains(ContactType::Standard);
    if is_standard && !has_other_standard(contact.id, contacts) {
        return Err(Error::LastStandardContact);
    }
    Ok(())
}

fn has_other_standard(id: ContactId, contacts: &[Contact]) -> bool {
    contacts
        .iter()
        .any(|other| other.id != id && other.types.contains(ContactType::Standard))
}

#[cfg(test)]
mod tests;
