//! Messages of the contract in JSON (the mapping of Protocol Buffers), by their descriptors.

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Deserializer, error::Category};

use crate::error::{Error, FieldViolation, Result, Violation};

/// Longer names are not repeated in errors.
const MAX_NAME_LENGTH: usize = 100;
/// How the library begins the error about a field that the message does not have.
const UNKNOWN_FIELD: &str = "unrecognized field name '";

/// Returns the Protobuf encoding of a message in JSON.
///
/// # Errors
/// [`Error::InvalidFields`] names the position of a syntax error, or the first field that is unknown or
/// has a value of another type. Unknown fields are invalid, so that a misspelt `validate_only` changes
/// nothing.
pub(super) fn to_protobuf(descriptor: MessageDescriptor, json: &[u8]) -> Result<Vec<u8>> {
    let mut json = Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let message = DynamicMessage::deserialize(descriptor, tracked)
        .map_err(|error| invalid(&error, &track.path().to_string()))?;
    json.end().map_err(|error| invalid(&error, ""))?;
    Ok(message.encode_to_vec())
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
        Category::Data => match unknown_field(&error.to_string()) {
            Some(name) => (field_path(path, Some(name)), Violation::UnknownField),
            None => (field_path(path, None), Violation::NotAJsonValue),
        },
    };
    Error::InvalidFields(vec![FieldViolation::new(field, violation)])
}

/// Returns the name of the unknown field that an error is about.
fn unknown_field(error: &str) -> Option<&str> {
    let (name, _) = error.strip_prefix(UNKNOWN_FIELD)?.split_once('\'')?;
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
        (Some(path), Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
        (Some(path), _) => path.to_owned(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "request".to_owned(),
    }
}
