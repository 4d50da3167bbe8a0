//! The values of `--purpose`.

use clap::ValueEnum;
use contact_service::domain::recipients::Purpose;
use serde::{Deserialize, Serialize};

// Doc comments of the variants would be printed by --help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum PurposeArg {
    Invoice,
    PaymentReminder,
    SecurityNotice,
    PlannedMaintenance,
    Outage,
    General,
}

impl PurposeArg {
    /// Returns the name in the contract, without its prefix.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "INVOICE",
            Self::PaymentReminder => "PAYMENT_REMINDER",
            Self::SecurityNotice => "SECURITY_NOTICE",
            Self::PlannedMaintenance => "PLANNED_MAINTENANCE",
            Self::Outage => "OUTAGE",
            Self::General => "GENERAL",
        }
    }
}

impl From<PurposeArg> for Purpose {
    fn from(purpose: PurposeArg) -> Self {
        match purpose {
            PurposeArg::Invoice => Self::Invoice,
            PurposeArg::PaymentReminder => Self::PaymentReminder,
            PurposeArg::SecurityNotice => Self::SecurityNotice,
            PurposeArg::PlannedMaintenance => Self::PlannedMaintenance,
            PurposeArg::Outage => Self::Outage,
            PurposeArg::General => Self::General,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_rows() {
        for purpose in PurposeArg::value_variants() {
            let json = serde_json::to_string(purpose).unwrap();
            assert_eq!(json, format!("\"{}\"", purpose.as_str()));
        }
    }
}
