//! Everything that is on file about a customer, to be given out (rule 26).
//!
//! No phone passwords, tokens and fingerprints of requests, nor hashes of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    audit::{Actor, AuditEvent},
    contact::{Contact, Locale},
    customer::Customer,
    email_address::EmailAddress,
    email_confirmation::ConfirmationState,
    ids::ContactId,
    phone_order::OrderDecision,
    phone_password::attempts::ContactTries,
    restrictions::OrderTypeCode,
};

/// Everything, as of one moment.
#[derive(Clone, Debug)]
pub struct Export {
    /// The customer's record.
    pub customer: Customer,
    /// Its contacts, in the order of their creation.
    pub contacts: Vec<Contact>,
    /// Its trail, the oldest first.
    pub events: Vec<AuditEvent>,
    /// Decisions about its orders by phone, the oldest first.
    pub phone_orders: Vec<DecisionOnFile>,
    /// Addresses that were entered, by their expiry.
    pub confirmations: Vec<ConfirmationOnFile>,
    /// Mails that wait or were given up, the oldest first.
    pub mails: Vec<MailOnFile>,
    /// What is kept of tries on phone passwords.
    pub tries: Vec<TriesOnFile>,
    /// Requests that are remembered, by their expiry.
    pub requests: Vec<RequestOnFile>,
    /// Contacts that were taken over from a file, by the time of that.
    pub imports: Vec<ImportOnFile>,
}

/// A decision about an order by phone.
#[derive(Clone, Debug)]
pub struct DecisionOnFile {
    /// Which one.
    pub id: Uuid,
    /// Who ordered.
    pub contact_id: ContactId,
    /// The agent that asked.
    pub agent: String,
    /// In which call.
    pub call_id: String,
    /// What was ordered.
    pub order_type: OrderTypeCode,
    /// Whether that was system management.
    pub system_management: bool,
    /// Whether it was offered by phone.
    pub offered_by_phone: bool,
    /// Whether the customer administered the product.
    pub customer_administers_product: bool,
    /// What was decided.
    pub decision: OrderDecision,
    /// When.
    pub decision_time: DateTime<Utc>,
}

/// An address that was entered.
#[derive(Clone, Debug)]
pub struct ConfirmationOnFile {
    /// Whose.
    pub contact_id: ContactId,
    /// The address, mostly hidden.
    pub masked_email: String,
    /// What became of it.
    pub state: ConfirmationState,
    /// When it expires or expired.
    pub expire_time: DateTime<Utc>,
    /// When the reminder is due.
    pub remind_time: Option<DateTime<Utc>>,
}

/// A mail in the outbox.
#[derive(Clone, Debug)]
pub struct MailOnFile {
    /// Which one.
    pub id: Uuid,
    /// What it is about; kept as text, as a newer version may have queued it.
    pub kind: String,
    /// Whom it is about.
    pub contact_id: ContactId,
    /// Where it goes.
    pub recipient: EmailAddress,
    /// The name it speaks to.
    pub display_name: String,
    /// Its language.
    pub locale: Locale,
    /// Whether it was given up.
    pub is_dead: bool,
    /// How often it was tried.
    pub attempts: i16,
    /// When it was written down.
    pub create_time: DateTime<Utc>,
    /// When it is tried next, or was given up.
    pub due_time: DateTime<Utc>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

/// The tries on a phone password.
#[derive(Clone, Debug)]
pub struct TriesOnFile {
    /// Whose.
    pub contact_id: ContactId,
    /// When the password was set, if one is.
    pub set_time: Option<DateTime<Utc>>,
    /// The tries.
    pub tries: ContactTries,
    /// Why a lock was lifted.
    pub unlock_reason: Option<String>,
    /// When something of it was last written down.
    pub update_time: DateTime<Utc>,
}

/// A request that is remembered.
#[derive(Clone, Debug)]
pub struct RequestOnFile {
    /// Its id.
    pub id: Uuid,
    /// Whose it was.
    pub actor: Actor,
    /// The contact that was answered.
    pub contact: Option<Contact>,
    /// Until when it is remembered.
    pub expire_time: DateTime<Utc>,
}

/// A contact that was taken over from a file.
#[derive(Clone, Copy, Debug)]
pub struct ImportOnFile {
    /// Which one.
    pub contact_id: ContactId,
    /// When.
    pub import_time: DateTime<Utc>,
}
