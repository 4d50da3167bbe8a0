//! Reports about deliveries of other services' mails (rule 32).

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The mail was delivered, or relayed to a server that reports no outcome.
    Delivered,
    /// The mail was returned; no server retries it.
    FailedPermanently,
    /// The mail is delayed; a server still retries it.
    FailedTemporarily,
    /// The recipient reported the mail as unwanted.
    Complaint,
}
