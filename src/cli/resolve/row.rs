//! A row of the results: a customer and a purpose.

use std::io;

use contact_service::{
    domain::recipients::{DeliveryMethod, ExclusionReason, Resolution},
    error::Error,
};
use serde::{Deserialize, Serialize};

use super::{
    format::{OutputFormat, Record, SEPARATOR},
    purpose::PurposeArg,
};

/// The delivery of a row by its name in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Delivery {
    Email,
    Postal,
    None,
    /// There is no resolution.
    #[serde(rename = "")]
    Unknown,
}

/// The outcome for a customer and a purpose.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The customer number, or the line of the file that is none.
    pub(super) customer_number: String,
    pub(super) purpose: PurposeArg,
    pub(super) delivery: Delivery,
    pub(super) emails: Vec<String>,
    pub(super) attention_line: String,
    /// The reasons why no e-mail is sent, joined by [`SEPARATOR`]; empty if one is sent.
    pub(super) reason: String,
    /// The error in words; empty if there is a resolution.
    pub(super) error: String,
}

/// The values of a line of CSV.
type CsvRow = (String, PurposeArg, Delivery, String, String, String, String);

impl Row {
    pub(super) fn resolved(purpose: PurposeArg, resolution: &Resolution) -> Self {
        let recipients = resolution.recipients.iter();
        let (delivery, reason) = match resolution.delivery {
            DeliveryMethod::Email => (Delivery::Email, String::new()),
            DeliveryMethod::Postal => (Delivery::Postal, reason(resolution)),
            DeliveryMethod::None => (Delivery::None, reason(resolution)),
        };
        Self {
            customer_number: resolution.customer_number.as_str().to_owned(),
            purpose,
            delivery,
            emails: recipients
                .map(|recipient| recipient.email.as_str().to_owned())
                .collect(),
            attention_line: resolution.attention_line.text.clone(),
            reason,
            error: String::new(),
        }
    }

    /// A customer that is unknown or cannot be read.
    pub(super) fn unresolved(customer_number: &str, purpose: PurposeArg, error: &Error) -> Self {
        let reason = if *error == Error::CustomerNotFound {
            "CUSTOMER_NOT_FOUND"
        } else {
            "READ_FAILED"
        };
        Self::failed(customer_number, purpose, reason, error.to_string())
    }

    /// A line that is no customer number.
    pub(super) fn invalid(line: &str, purpose: PurposeArg, violation: &str) -> Self {
        let error = format!("a customer number {violation}");
        Self::failed(line, purpose, "INVALID_CUSTOMER_NUMBER", error)
    }

    fn failed(customer_number: &str, purpose: PurposeArg, reason: &str, error: String) -> Self {
        Self {
            customer_number: customer_number.to_owned(),
            purpose,
            delivery: Delivery::Unknown,
            emails: Vec::new(),
            attention_line: String::new(),
            reason: reason.to_owned(),
            error,
        }
    }

    /// Parses a line that was written in a format. `None`: it was not.
    pub(super) fn parse(line: &[u8], format: OutputFormat) -> Option<Self> {
        match format {
            OutputFormat::Csv => Self::parse_csv(line),
            OutputFormat::Jsonl => serde_json::from_slice(line).ok(),
        }
    }

    fn parse_csv(line: &[u8]) -> Option<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .buffer_capacity(line.len())
            .from_reader(io::Cursor::new(line));
        let values: CsvRow = reader.deserialize().next()?.ok()?;
        let (customer_number, purpose, delivery, emails, attention_line, reason, error) = values;
        let emails = emails.split(SEPARATOR).filter(|email| !email.is_empty());
        Some(Self {
            customer_number,
            purpose,
            delivery,
            emails: emails.map(str::to_owned).collect(),
            attention_line,
            reason,
            error,
        })
    }
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &[
        "customer_number",
        "purpose",
        "delivery",
        "emails",
        "attention_line",
        "reason",
        "error",
    ];

    fn to_csv(&self) -> impl Serialize + '_ {
        (
            &self.customer_number,
            self.purpose,
            self.delivery,
            self.emails.join(SEPARATOR),
            &self.attention_line,
            &self.reason,
            &self.error,
        )
    }
}

/// Returns the reasons of the exclusions, each once, by their names in the contract. A setting of
/// the customer comes first, then the reasons closest to a usable address.
fn reason(resolution: &Resolution) -> String {
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
    if names.is_empty() {
        "NO_CONTACT".to_owned()
    } else {
        names.join(SEPARATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [Row; 3] {
        [
            Row {
                customer_number: "K-1".to_owned(),
                purpose: PurposeArg::Invoice,
                delivery: Delivery::Email,
                emails: vec!["a@x.example".to_owned(), "b@x.example".to_owned()],
                attention_line: "z.Hd. \"Anna\", Bernd".to_owned(),
                reason: String::new(),
                error: String::new(),
            },
            Row::invalid("K 2\r, ;", PurposeArg::SecurityNotice, "must be one"),
            Row::unresolved("K-3", PurposeArg::Outage, &Error::CustomerNotFound),
        ]
    }

    #[test]
    fn csv_is_read_back_as_it_was_written() {
        for row in rows() {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.serialize(row.to_csv()).unwrap();
            let line = writer.into_inner().unwrap();
            assert_eq!(Row::parse(&line, OutputFormat::Csv), Some(row));
        }
    }

    #[test]
    fn columns_of_csv_are_the_fields_of_json() {
        let row = serde_json::to_string(&rows()[0]).unwrap();
        let of_json = Row::COLUMNS.map_positions(&row);
        assert!(of_json.is_sorted(), "{row}");
    }

    trait Positions {
        fn map_positions(&self, json: &str) -> Vec<usize>;
    }

    impl Positions for [&str] {
        fn map_positions(&self, json: &str) -> Vec<usize> {
            let position = |name: &&str| json.find(&format!("\"{name}\":")).unwrap();
            self.iter().map(position).collect()
        }
    }
}
