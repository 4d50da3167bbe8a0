//! The report of customers without a recipient.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use contact_service::domain::recipients::{DeliveryMethod, ExclusionReason, Resolution};

use super::line::ResolvedLine;
use crate::cli::startup_error::StartupError;

/// Customers that the report on standard error names.
const MAX_PRINTED: usize = 20;

/// The number of results, and the customers without a recipient with the reason of each.
#[derive(Default)]
pub(super) struct ResolveReport {
    resolved: usize,
    unreached: Vec<(String, String)>,
}

impl ResolveReport {
    pub(super) fn add(&mut self, line: ResolvedLine) {
        self.resolved += 1;
        let reason = match line.outcome {
            Err(reason) => reason,
            Ok(resolution) if resolution.recipients.is_empty() => cause(&resolution),
            Ok(_) => return,
        };
        self.unreached.push((line.text, reason));
    }

    /// The number of results so far.
    pub(super) fn resolved(&self) -> usize {
        self.resolved
    }

    /// Prints the counts to standard error, and the customers to `path` or standard error.
    pub(super) fn print(&self, path: Option<&Path>) -> Result<(), StartupError> {
        eprintln!(
            "{} customers resolved, {} of them without a recipient",
            self.resolved,
            self.unreached.len()
        );
        if let Some(path) = path {
            let written = self.write(path);
            return written.map_err(|error| StartupError::unwritable(path, &error));
        }
        for (number, reason) in self.unreached.iter().take(MAX_PRINTED) {
            eprintln!("{number}: {reason}");
        }
        if self.unreached.len() > MAX_PRINTED {
            eprintln!("… and more: --report FILE lists them all");
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for (number, reason) in &self.unreached {
            writeln!(file, "{number}: {reason}")?;
        }
        file.flush()
    }
}

/// Returns the reasons of the exclusions, each once, by their names in the contract. A setting of
/// the customer comes first, then the reasons closest to a usable address.
fn cause(resolution: &Resolution) -> String {
    const REASONS: [(ExclusionReason, &str); 5] = [
        (ExclusionReason::NotificationsOff, "NOTIFICATIONS_OFF"),
        (ExclusionReason::EmailBounced, "EMAIL_BOUNCED"),
        (ExclusionReason::EmailUnconfirmed, "EMAIL_UNCONFIRMED"),
        (ExclusionReason::InvoiceEmailOff, "INVOICE_EMAIL_OFF"),
        (ExclusionReason::NoEmail, "NO_EMAIL"),
    ];
    let applies = |reason| {
        let mut exclusions = resolution.exclusions.iter();
        exclusions.any(|exclusion| exclusion.reason == reason)
    };
    let names: Vec<&str> = REASONS
        .into_iter()
        .filter_map(|(reason, name)| applies(reason).then_some(name))
        .collect();
    let names = if names.is_empty() {
        "NO_CONTACT".to_owned()
    } else {
        names.join(", ")
    };
    match resolution.delivery {
        DeliveryMethod::Postal => format!("by post: {names}"),
        DeliveryMethod::Email | DeliveryMethod::None => names,
    }
}
