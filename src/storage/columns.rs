//! Columns that several tables have, with the text or bits in which they are stored, and the columns
//! that an update sets.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, EntityTrait, Iterable};

use crate::{
    domain::{contact::Locale, contact_types::ContactTypes, restrictions::OrderTypeCode},
    error::{Error, Result},
};

/// Returns the row `after` without the columns in which it equals `before`: a distributed database
/// rejects an update of a key, and an unchanged column costs time and space in the log.
pub(super) fn changed_columns<A: ActiveModelTrait>(before: A, after: A) -> A {
    let (before, mut after) = (before.reset_all(), after.reset_all());
    for column in <A::Entity as EntityTrait>::Column::iter() {
        if before.get(column) == after.get(column) {
            after.not_set(column);
        }
    }
    after
}

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

/// Writes the details of an event as a JSON object; `None` if there are none.
pub(super) fn from_details(details: &BTreeMap<String, String>) -> Result<Option<String>> {
    let json = (!details.is_empty()).then(|| serde_json::to_string(details));
    json.transpose()
        .map_err(|_| Error::internal("details of an audit event cannot be serialized"))
}

/// Reads the details of an event.
pub(super) fn to_details(json: Option<&str>) -> Result<BTreeMap<String, String>> {
    json.map_or_else(|| Ok(BTreeMap::new()), serde_json::from_str)
        .map_err(|_| Error::data_loss("audit_events.details"))
}

/// Reads the codes of order types from a JSON array.
pub(super) fn to_codes(json: &str) -> Result<Vec<OrderTypeCode>> {
    let codes: Vec<String> =
        serde_json::from_str(json).map_err(|_| Error::data_loss("codes of order types"))?;
    Ok(codes.into_iter().map(OrderTypeCode::from_stored).collect())
}

/// Writes the codes of order types as a JSON array.
pub(super) fn from_codes(codes: &[OrderTypeCode]) -> Result<String> {
    let codes: Vec<&str> = codes.iter().map(OrderTypeCode::as_str).collect();
    serde_json::to_string(&codes).map_err(|_| Error::internal("order types are not serializable"))
}

#[cfg(test)]
mod tests {
    use sea_orm::{ActiveValue::NotSet, Set};

    use super::*;
    use crate::storage::entity::mail_customers::ActiveModel;

    fn row(mail_times: &str) -> ActiveModel {
        ActiveModel {
            customer_number: Set("K-1".to_owned()),
            mail_times: Set(mail_times.to_owned()),
            last_time: Set(DateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn update_sets_the_changed_columns_and_no_key() {
        let changed = changed_columns(row("[1]"), row("[2]"));
        let expected = ActiveModel {
            customer_number: NotSet,
            mail_times: Set("[2]".to_owned()),
            last_time: NotSet,
        };
        assert_eq!(changed, expected);
        let same = changed_columns(row("[1]"), row("[1]"));
        assert_eq!(same, <ActiveModel as sea_orm::ActiveModelTrait>::default());
    }
}
