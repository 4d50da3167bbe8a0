//! The JSON objects of a token: parsing without duplicate members, and lookup by name or path.
//!
//! The names of claims must be unique (RFC 7519, 4): of two members with one name, some parsers use the
//! first and others the last. Duplicates are therefore rejected at every depth.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::error::{Error, TokenFault};

/// A JSON object without a duplicate member at any depth.
pub(super) type Object = Map<String, Value>;

/// Parses an object; `None` for anything else, and for a duplicate member.
pub(super) fn parse_object(json: &[u8]) -> Option<Object> {
    match serde_json::from_slice::<Unique>(json).ok()?.0 {
        Value::Object(object) => Some(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

/// The outcome of looking up a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lookup<'a> {
    Absent,
    /// A member on the path is present but not an object.
    Blocked,
    Found(&'a Value),
}

/// Finds a member by its literal name, else along a path such as `resource_access.contact.roles`.
///
/// Names may contain dots, as URLs do: on each level the longest name that leads to a value wins.
pub(super) fn find<'a>(object: &'a Object, path: &str) -> Lookup<'a> {
    if let Some(value) = object.get(path) {
        return Lookup::Found(value);
    }
    let mut outcome = Lookup::Absent;
    for (dot, _) in path.rmatch_indices('.') {
        let (name, rest) = path.split_at(dot);
        let inner = match object.get(name) {
            None => continue,
            Some(Value::Object(inner)) => find(inner, rest.strip_prefix('.').unwrap_or(rest)),
            Some(_) => Lookup::Blocked,
        };
        match inner {
            Lookup::Found(_) => return inner,
            Lookup::Blocked => outcome = Lookup::Blocked,
            Lookup::Absent => {}
        }
    }
    outcome
}

/// Returns the error for a claim with an unusable value.
pub(super) fn malformed(claim: &str) -> Error {
    Error::token_claim(TokenFault::Malformed, claim)
}

/// Returns the error for a required claim that is absent.
pub(super) fn missing(claim: &str) -> Error {
    Error::token_claim(TokenFault::ClaimMissing, claim)
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(r#"{"a":1,"a":1}"#)]
    #[case(r#"{"a":{"b":1,"c":2,"b":3}}"#)]
    #[case(r#"{"a":[{"b":1,"b":1}]}"#)]
    #[case("{\"a\":1,\"\\u0061\":1}")]
    #[case("[]")]
    #[case("1")]
    #[case("{}{}")]
    fn duplicate_member_or_other_json_is_rejected(#[case] json: &str) {
        assert_eq!(parse_object(json.as_bytes()), None);
    }

    #[test]
    fn object_is_parsed_as_by_serde_json() {
        let json = r#"{"a":[null,true,1,-1,1.5,"x\u00e4",{"b":{}}],"c":18446744073709551615}"#;
        let expected: Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            parse_object(json.as_bytes()).map(Value::Object),
            Some(expected)
        );
        let deep = "[".repeat(10_000);
        assert_eq!(parse_object(deep.as_bytes()), None);
    }

    #[rstest]
    #[case::name(json!({ "a": 1 }), "a", Some(1))]
    #[case::path(json!({ "a": { "b": { "c": 1 } } }), "a.b.c", Some(1))]
    #[case::name_with_dots(json!({ "a.b": 1, "a": { "b": 2 } }), "a.b", Some(1))]
    #[case::url(json!({ "https://h.example/n": 1 }), "https://h.example/n", Some(1))]
    #[case::below_a_url(json!({ "https://h.example/x": { "n": 1 } }), "https://h.example/x.n", Some(1))]
    #[case::path_through_name_with_dots(json!({ "a": { "b.c": { "d": 1 } } }), "a.b.c.d", Some(1))]
    #[case::shorter_name_leads_to_a_value(json!({ "a.b": 7, "a": { "b": { "c": 1 } } }), "a.b.c", Some(1))]
    #[case::unknown_name(json!({ "ab": 1 }), "a.b", None)]
    #[case::unknown_end(json!({ "a": { "c": 1 } }), "a.b", None)]
    #[case::empty_object(json!({ "a": {} }), "a.b", None)]
    fn member_is_found_by_name_or_path(
        #[case] object: Value,
        #[case] path: &str,
        #[case] expected: Option<i64>,
    ) {
        let expected = expected.map(Value::from);
        let expected = expected.as_ref().map_or(Lookup::Absent, Lookup::Found);
        assert_eq!(find(object.as_object().unwrap(), path), expected);
    }

    #[rstest]
    #[case(json!({ "a": null }))]
    #[case(json!({ "a": "K-1" }))]
    #[case(json!({ "a": ["K-1"] }))]
    #[case(json!({ "a": { "b": 1 } }))]
    fn path_through_a_non_object_is_blocked(#[case] object: Value) {
        assert_eq!(find(object.as_object().unwrap(), "a.b.c"), Lookup::Blocked);
    }
}
