//! Columns that several tables have, with the text or bits in which they are stored.

use chrono::{DateTime, Utc};

use crate::{
    domain::{contact::Locale, contact_types::ContactTypes},
    error::{Error, Result},
};

pub(super) fn to_types(bits: i16) -> Result<ContactTypes> {
    ContactTypes::from_bits(bits)
        .filter(|types| !types.is_empty())
        .ok_or_else(|| Error::data_loss("contacts.types"))
}

/// Reads a locale; `column` is named by the error.
///
/// # Errors
/// [`Error::DataLoss`] for a text other than `de` or `en`.
pub(super) fn to_locale(text: &str, column: &'static str) -> Result<Locale> {
    match text {
        "de" => Ok(Locale::German),
        "en" => Ok(Locale::English),
        _ => Err(Error::data_loss(column)),
    }
}

/// Reads a JSON array of times.
pub(super) fn to_times(json: &str) -> Result<Vec<DateTime<Utc>>> {
    serde_json::from_str(json).map_err(|_| Error::data_loss("times of attempts or mails"))
}

pub(super) fn from_times(times: &[DateTime<Utc>]) -> Result<String> {
    serde_json::to_string(times).map_err(|_| Error::internal("times are not serializable"))
}

/// Writes the names of changed fields as a JSON array.
pub(super) fn from_field_names(names: &[String]) -> Result<String> {
    serde_json::to_string(names).map_err(|_| Error::internal("field names are not serializable"))
}
