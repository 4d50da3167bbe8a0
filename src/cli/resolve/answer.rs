//! The answer for one line of the file.

use contact_service::domain::recipients::Resolution;

/// A line of the file and its outcome.
pub(super) struct Answer {
    /// The line, trimmed.
    pub(super) text: String,
    pub(super) outcome: Outcome,
}

/// The resolution, or the reason why there is none.
pub(super) type Outcome = Result<Resolution, String>;
