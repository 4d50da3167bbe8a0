//! The result for one line of the file.

use contact_service::domain::recipients::Resolution;

/// A line of the file and its outcome.
pub(super) struct ResolvedLine {
    /// The line, trimmed.
    pub(super) text: String,
    pub(super) outcome: LineOutcome,
}

/// The resolution, or the reason why there is none.
pub(super) type LineOutcome = Result<Resolution, String>;
