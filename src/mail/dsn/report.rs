//! The outcome of reading a bounce.

use chrono::{DateTime, Utc};

use crate::domain::{
    delivery_report::DeliveryStatus,
    email_address::EmailAddress,
    enhanced_status::EnhancedStatus,
    ids::{ContactId, CustomerNumber},
};

/// A report about one recipient of a returned message.
#[derive(Clone, Debug)]
pub struct BounceReport {
    /// The customer to whom the mail was sent, which may be unknown to this service.
    pub customer_number: CustomerNumber,
    /// The contact to whom the mail was sent, if the bounce names it.
    pub contact_id: Option<ContactId>,
    /// The address that the mail was sent to, before any forwarding that the bounce states.
    pub email: EmailAddress,
    /// The outcome of the delivery.
    pub status: DeliveryStatus,
    /// The most specific enhanced status code; `None` for complaints and servers without such codes.
    pub enhanced_status: Option<EnhancedStatus>,
    /// The time of the last delivery attempt, or of the bounce. The reporting server states it, so it
    /// may be in the future.
    pub report_time: Option<DateTime<Utc>>,
}

/// The reason why a message, or one of its recipients, yields no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unattributed {
    /// An automatic reply, a read receipt, or any other message.
    #[error("message: is neither a bounce nor a complaint; nothing to do")]
    NotABounce,
    /// Neither the bounce address nor a returned header names a customer.
    #[error(
        "customer: is not named; send mails with a bounce address per customer or with the header X-Customer-Number"
    )]
    NoCustomer,
    /// The bounce address and the returned headers name different customers or contacts.
    #[error("customer: is named in two places that differ; check where the message comes from")]
    Conflict,
    /// The report names no recipient, or one without a valid e-mail address.
    #[error("recipient: has no valid e-mail address; look it up in the message")]
    NoRecipient,
    /// The report does not state whether the delivery failed.
    #[error("status: is not stated for this recipient; look it up in the message")]
    NoStatus,
}
