//! The claims of a verified token: subject, client, customer, scopes and validity.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    caller::{Caller, Holder, Signer},
    payload::{self, Lookup, Object, malformed, missing},
    scope::ScopeSet,
    settings::AuthSettings,
    validity::Validity,
};
use crate::{
    api::admission::log_limit::printable,
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, Result, TokenFault},
};

const MAX_SUBJECT_CHARS: usize = 255;
/// The claims that name the caller, in order: tokens of clients without a user may lack `sub`.
const SUBJECT_CLAIMS: [&str; 4] = ["sub", "client_id", "azp", "appid"];
/// The claims that name the application that requested the token, in order.
const CLIENT_CLAIMS: [&str; 3] = ["client_id", "azp", "appid"];
/// The claims that contain the scopes, in order, unless the settings name a claim.
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "permissions"];

/// Returns the caller that the claims identify. The time is checked by [`Caller::check_time`], so that
/// only a token that was valid once is reported as expired.
pub(super) fn read(
    claims: &Object,
    settings: &AuthSettings,
    signer: Signer,
    now: DateTime<Utc>,
) -> Result<Caller> {
    check_audience(claims, &settings.audiences)?;
    let validity = Validity::read(claims, settings, now)?;
    Ok(Caller::new(Holder {
        actor: subject(claims)?,
        client: client(claims),
        customer: customer(claims, &settings.customer_claim)?,
        scopes: scopes(claims, settings.scope_claim.as_deref())?,
        validity,
        signer,
    }))
}

fn check_audience(claims: &Object, accepted: &[String]) -> Result<()> {
    let claim = "aud";
    let audiences = match claims.get(claim).ok_or_else(|| missing(claim))? {
        Value::String(audience) => vec![audience.as_str()],
        Value::Array(audiences) => strings(audiences).ok_or_else(|| malformed(claim))?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(malformed(claim));
        }
    };
    if accepted
        .iter()
        .any(|audience| audiences.contains(&audience.as_str()))
    {
        Ok(())
    } else {
        Err(Error::token_claim(TokenFault::Audience, claim))
    }
}

fn strings(values: &[Value]) -> Option<Vec<&str>> {
    values.iter().map(Value::as_str).collect()
}

/// Returns the first of these claims that is present, with its name.
fn first_of<'a>(claims: &'a Object, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
    names
        .iter()
        .find_map(|name| Some((*name, claims.get(*name)?)))
}

fn subject(claims: &Object) -> Result<Actor> {
    let (claim, value) = first_of(claims, &SUBJECT_CLAIMS).ok_or_else(|| missing("sub"))?;
    let subject = value
        .as_str()
        .filter(|subject| (1..=MAX_SUBJECT_CHARS).contains(&subject.chars().count()))
        .filter(|subject| !subject.contains(char::is_control))
        .ok_or_else(|| malformed(claim))?;
    if Actor::is_reserved(subject) {
        return Err(Error::token_claim(TokenFault::Subject, claim));
    }
    Ok(Actor(subject.to_owned()))
}

/// Returns the application that requested the token. It is only logged, so an unusable value is
/// ignored.
fn client(claims: &Object) -> Option<String> {
    let (_, value) = first_of(claims, &CLIENT_CLAIMS)?;
    let client = value.as_str().filter(|client| !client.is_empty())?;
    Some(printable(client, MAX_SUBJECT_CHARS))
}

/// Returns the customer of a tenant-scoped token. A claim that is present must be a customer number:
/// if it were ignored, the token would have access to all customers.
fn customer(claims: &Object, claim: &str) -> Result<Option<CustomerNumber>> {
    match payload::find(claims, claim) {
        Lookup::Absent => Ok(None),
        Lookup::Found(Value::String(number)) => CustomerNumber::parse(number)
            .map(Some)
            .map_err(|_| malformed(claim)),
        Lookup::Found(_) | Lookup::Blocked => Err(malformed(claim)),
    }
}

/// Returns the scopes. If the settings name a claim, only that one is read: others may contain what the
/// client requested rather than what it was granted.
fn scopes(claims: &Object, claim: Option<&str>) -> Result<ScopeSet> {
    let (claim, found) = match claim {
        Some(claim) => (claim, payload::find(claims, claim)),
        None => match first_of(claims, &SCOPE_CLAIMS) {
            Some((claim, value)) => (claim, Lookup::Found(value)),
            None => return Ok(ScopeSet::default()),
        },
    };
    match found {
        Lookup::Absent => Ok(ScopeSet::default()),
        Lookup::Blocked => Err(malformed(claim)),
        Lookup::Found(value) => parse_scopes(value).ok_or_else(|| malformed(claim)),
    }
}

/// Parses a blank-separated string or a list of scopes, or an object keyed by scope, the form in which
/// Zitadel encodes the roles of a project with the organizations that granted each.
fn parse_scopes(value: &Value) -> Option<ScopeSet> {
    match value {
        Value::String(scopes) => Some(ScopeSet::parse(scopes)),
        Value::Array(scopes) => Some(ScopeSet::of_names(strings(scopes)?)),
        Value::Object(roles) => roles
            .values()
            .all(|granted| granted.as_object().is_some_and(|by| !by.is_empty()))
            .then(|| ScopeSet::of_names(roles.keys().map(String::as_str))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
