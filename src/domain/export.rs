//! The export of everything that is on file about a customer (rule 26).
//!
//! Contains no phone passwords, tokens or request digests, nor hashes of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    audit::{Actor, AuditEvent},
    authentication::AuthenticationMethod,
    change_notice::NoticedChange,
    contact::{Contact, Locale},
    customer::Customer,
    email_address::EmailAddress,
    email_confirmation::ConfirmationState,
    ids::ContactId,
    phone_order::PhoneOrder,
    phone_password::attempts::ContactAttempts,
};

/// All data of a customer as of one moment.
#[derive(Clone, Debug)]
pub struct Export {
    /// The customer's record.
    pub customer: Customer,
    /// The contacts, in the order of their creation.
    pub contacts: Vec<Contact>,
    /// The audit log, oldest event first.
    pub events: Vec<AuditEvent>,
    /// The decisions about phone orders, oldest first.
    pub phone_orders: Vec<PhoneOrder>,
    /// The entered e-mail addresses, sorted by expiry.
    pub confirmations: Vec<ExportedConfirmation>,
    /// The queued e-mails and dead letters, oldest first.
    pub mails: Vec<ExportedMail>,
    /// The stored attempts on phone passwords.
    pub attempts: Vec<ExportedAttempts>,
    /// The stored responses, sorted by expiry.
    pub requests: Vec<ExportedRequest>,
    /// The imported contacts, sorted by time of import.
    pub imports: Vec<ExportedImport>,
    /// The latest one-time codes.
    pub codes: Vec<ExportedCode>,
}

/// An entered e-mail address.
#[derive(Clone, Debug)]
pub struct ExportedConfirmation {
    /// The contact that the address was entered for.
    pub contact_id: ContactId,
    /// The masked address.
    pub masked_email: String,
    /// The state of the link.
    pub state: ConfirmationState,
    /// The expiry of the address, past or future.
    pub expire_time: DateTime<Utc>,
    /// The due time of the reminder.
    pub remind_time: Option<DateTime<Utc>>,
}

/// An e-mail in the outbox.
#[derive(Clone, Debug)]
pub struct ExportedMail {
    /// The id of the e-mail.
    pub id: Uuid,
    /// The kind of the e-mail, as text: a newer version may have queued another kind.
    pub kind: String,
    /// The contact that the e-mail is about.
    pub contact_id: Option<ContactId>,
    /// The address that it is sent to.
    pub recipient: EmailAddress,
    /// The name in the salutation.
    pub display_name: String,
    /// The language of the e-mail.
    pub locale: Locale,
    /// The changes of a notice of rule 31.
    pub changes: Vec<NoticedChange>,
    /// True if the e-mail is a dead letter.
    pub is_dead: bool,
    /// The number of delivery attempts.
    pub attempts: i16,
    /// The time at which it was queued.
    pub create_time: DateTime<Utc>,
    /// The time of the next attempt, or the time at which it became a dead letter.
    pub due_time: DateTime<Utc>,
    /// The cause of the last failure.
    pub failure: Option<String>,
}

/// The attempts on a phone password.
#[derive(Clone, Debug)]
pub struct ExportedAttempts {
    /// The contact.
    pub contact_id: ContactId,
    /// The time at which the password was set; `None`: none is set.
    pub set_time: Option<DateTime<Utc>>,
    /// The attempts and the lock.
    pub attempts: ContactAttempts,
    /// The reason for which the last lock was lifted.
    pub unlock_reason: Option<String>,
    /// The time of the last change.
    pub update_time: DateTime<Utc>,
}

/// A stored response to a request.
#[derive(Clone, Debug)]
pub struct ExportedRequest {
    /// The request id.
    pub id: Uuid,
    /// The actor that made the request.
    pub actor: Actor,
    /// The contact in the response.
    pub contact: Option<Contact>,
    /// The customer in the response.
    pub customer: Option<Customer>,
    /// The time at which the response is deleted.
    pub expire_time: DateTime<Utc>,
}

/// An imported contact.
#[derive(Clone, Copy, Debug)]
pub struct ExportedImport {
    /// The contact.
    pub contact_id: ContactId,
    /// The time of the import.
    pub import_time: DateTime<Utc>,
}

/// The latest one-time code of a method.
#[derive(Clone, Debug)]
pub struct ExportedCode {
    /// The contact.
    pub contact_id: ContactId,
    /// The way in which the contact got it.
    pub method: AuthenticationMethod,
    /// The expiry.
    pub expire_time: DateTime<Utc>,
    /// The number of wrong codes since it was made.
    pub attempts: i16,
    /// The times of the codes that were mailed lately, oldest first.
    pub mail_times: Vec<DateTime<Utc>>,
}
