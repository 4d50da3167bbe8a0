//! Why a mail did not leave.

use crate::observability::metrics::RejectionClass;

/// The outcome of a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The failure, free of personal data, such as `SMTP 550 5.1.1 at RCPT`.
    pub(super) failure: String,
    /// The class under which it is counted.
    pub(super) class: RejectionClass,
}

impl Refusal {
    pub(super) fn new(failure: impl Into<String>, class: RejectionClass) -> Self {
        Self {
            failure: failure.into(),
            class,
        }
    }

    /// Returns true if it is about the mailbox alone: then the address is marked, and a retry is of
    /// no use (rule 32).
    pub(super) fn is_about_mailbox(&self) -> bool {
        self.class == RejectionClass::Mailbox
    }
}
