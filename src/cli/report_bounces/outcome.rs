//! The outcomes of the recipients of a message.

use chrono::{DateTime, Utc};
use contact_service::{domain::delivery_report::DeliveryReport, mail::dsn::BounceReport};

/// A message that was read, with the outcomes of its recipients in their order.
pub(super) struct ReadMessage {
    pub(super) name: String,
    pub(super) outcomes: Vec<Outcome>,
}

/// The report about a recipient, or the reason why there is none.
pub(super) type Outcome = Result<Report, String>;

/// A report about one recipient.
pub(super) struct Report {
    pub(super) bounce: BounceReport,
    pub(super) time: DateTime<Utc>,
}

impl Report {
    pub(super) fn to_domain(&self) -> DeliveryReport {
        let bounce = &self.bounce;
        DeliveryReport {
            customer_number: bounce.customer_number.clone(),
            email: bounce.email.clone(),
            status: bounce.status,
            enhanced_status: bounce.enhanced_status,
            time: self.time,
        }
    }
}
