//! A statement about one recipient, before its customer is known.

use chrono::{DateTime, Utc};

use crate::domain::{
    delivery_report::DeliveryStatus, email_address::EmailAddress, enhanced_status::EnhancedStatus,
};

/// The statement of a bounce about one recipient, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Notice {
    pub(super) address: Option<EmailAddress>,
    pub(super) status: Option<DeliveryStatus>,
    pub(super) enhanced_status: Option<EnhancedStatus>,
    pub(super) time: Option<DateTime<Utc>>,
}
