//! The error of a failed attempt to send an e-mail.

use crate::observability::metrics::RejectionClass;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SendError {
    /// The failure, free of personal data, such as `SMTP 550 5.1.1 at RCPT`.
    pub(super) failure: String,
    /// The class under which it is counted.
    pub(super) class: RejectionClass,
}

impl SendError {
    pub(super) fn new(failure: impl Into<String>, class: RejectionClass) -> Self {
        Self {
            failure: failure.into(),
            class,
        }
    }

    /// Returns true if the failure is permanent, as it is about the mailbox: the address is marked,
    /// and there is no retry (rule 32).
    pub(super) fn is_permanent(&self) -> bool {
        self.class == RejectionClass::Mailbox
    }
}
