//! Messages of the contract in JSON (the mapping of Protocol Buffers), by their descriptors.

use std::{collections::HashSet, fmt};

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::de::{Deserialize, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, error::Category};

use crate::error::{Error, FieldViolation, Result, Violation};

/// Longer names are not repeated in errors.
const MAX_NAME_LENGTH: usize = 100;
/// How the library begins the error about a field that the message does not have.
const UNKNOWN_FIELD: &str = "unrecognized field name '";
/// How [`Unambiguous`] begins the error about a field that has two values.
const TWO_VALUES: &str = "two values of '";

/// Returns the Protobuf encoding of a message in JSON.
///
/// # Errors
/// [`Error::InvalidFields`] names the position of a syntax error, or the first field that is unknown or
/// has two values or one of another type. Unknown fields are invalid, so that a misspelt `validate_only`
/// changes nothing.
pub(super) fn to_protobuf(descriptor: MessageDescriptor, json: &[u8]) -> Result<Vec<u8>> {
    check_values(json)?;
    let mut json = Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let message = DynamicMessage::deserialize(descriptor, tracked)
        .map_err(|error| invalid(&error, &track.path().to_string()))?;
    json.end().map_err(|error| invalid(&error, ""))?;
    Ok(message.encode_to_vec())
}

/// Rejects a second value of a field: the library would ignore the first. What is no JSON is left to it.
fn check_values(json: &[u8]) -> Result<()> {
    let json = &mut Deserializer::from_slice(json);
    let checked: std::result::Result<Unambiguous, _> = serde_path_to_error::deserialize(json);
    match checked {
        Err(error) if error.inner().is_data() => {
            Err(invalid(error.inner(), &error.path().to_string()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Any JSON whose objects have one value for each name, whichever its spelling.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let spelling = name.replace('_', "").to_ascii_lowercase();
            if !names.insert(spelling) {
                return Err(A::Error::custom(format!("{TWO_VALUES}{name}'")));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> std::result::Result<Self, E> {
        Ok(self)
    }
}

/// Returns the JSON of a message in its Protobuf encoding, in one line or, if `is_pretty`, indented. Fields
/// with their default values are absent.
///
/// # Errors
/// [`Error::Internal`] if the bytes are no such message.
pub(super) fn from_protobuf(
    descriptor: MessageDescriptor,
    bytes: &[u8],
    is_pretty: bool,
) -> Result<String> {
    let unwritable = || Error::internal("the response cannot be written as JSON");
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|_| unwritable())?;
    let json = if is_pretty {
        serde_json::to_string_pretty(&message)
    } else {
        serde_json::to_string(&message)
    };
    json.map_err(|_| unwritable())
}

fn invalid(error: &serde_json::Error, path: &str) -> Error {
    let (field, violation) = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => (
            "request".to_owned(),
            Violation::NotJson {
                line: error.line(),
                column: error.column(),
            },
        ),
        Category::Data => {
            let text = error.to_string();
            if let Some(name) = name_after(UNKNOWN_FIELD, &text) {
                (field_path(path, Some(name)), Violation::UnknownField)
            } else if let Some(name) = name_after(TWO_VALUES, &text) {
                (field_path(path, Some(name)), Violation::TwoValues)
            } else {
                (field_path(path, None), Violation::NotAJsonValue)
            }
        }
    };
    Error::InvalidFields(vec![FieldViolation::new(field, violation)])
}

/// Returns the name of the field that an error is about.
fn name_after<'a>(prefix: &str, error: &'a str) -> Option<&'a str> {
    let (name, _) = error.strip_prefix(prefix)?.rsplit_once('\'')?;
    Some(name)
}

/// Returns the path of a field as in other violations. A name that no contract would have is left out:
/// it could be a value.
fn field_path(path: &str, unknown: Option<&str>) -> String {
    let is_name = |name: &&str| {
        let is_of_names = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
        !name.is_empty() && name.len() <= MAX_NAME_LENGTH && name.chars().all(is_of_names)
    };
    let path = Some(path).filter(|path| *path != ".").filter(is_name);
    match (path, unknown.filter(is_name)) {
        (Some(path), Some(name)) => format!("{path}.{name}"),
        (Some(path), None) => path.to_owned(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "request".to_owned(),
    }
}
