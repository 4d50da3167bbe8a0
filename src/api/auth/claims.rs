//! The claims of a verified token: whose it is, what it allows, and when.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    caller::{Caller, Holder, Signer},
    payload::{self, Lookup, Object},
    scope::ScopeSet,
};
use crate::{
    api::admission::log_limit::printable,
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Result, TokenFault},
};

const MAX_SUBJECT_CHARS: usize = 255;
/// The first that is there names the caller: tokens of clients without a user may lack `sub`.
const SUBJECT_CLAIMS: [&str; 4] = ["sub", "client_id", "azp", "appid"];
/// The first that is there names the application that requested the token.
const CLIENT_CLAIMS: [&str; 3] = ["client_id", "azp", "appid"];
/// The first that is there holds the scopes, where the settings name no claim.
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "permissions"];

/// The tokens that are accepted, and how they are read.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The issuers, one of which the claim `iss` must be.
    pub issuers: Vec<String>,
    /// The audiences, one of which the claim `aud` must be or hold.
    pub audiences: Vec<String>,
    /// Name or path of the claim that holds the scopes; `None`: the first of `scope`, `scp` and
    /// `permissions` that is there.
    pub scope_claim: Option<String>,
    /// Name or path of the claim that confines a token to one customer.
    pub customer_claim: String,
    /// How far the issuers' clocks may be off.
    pub leeway: TimeDelta,
    /// How long a token may be valid, from `iat` on; without one, from now on.
    pub max_lifetime: TimeDelta,
    /// How old keys may get whose source fails, before none of them is accepted.
    pub keys_max_stale: TimeDelta,
}

impl AuthSettings {
    /// Name of the claim that confines a token to one customer, where the settings name none.
    pub const DEFAULT_CUSTOMER_CLAIM: &str = "customer_number";
    /// The leeway, where the settings give none.
    pub const DEFAULT_LEEWAY: TimeDelta = TimeDelta::seconds(30);
    /// How long a token may be valid, where the settings do not say.
    pub const DEFAULT_MAX_LIFETIME: TimeDelta = TimeDelta::hours(24);
    /// How old keys may get, where the settings do not say.
    pub const DEFAULT_KEYS_MAX_STALE: TimeDelta = TimeDelta::hours(24);

    /// Settings with the defaults but for one issuer and one audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuers: vec![issuer.into()],
            audiences: vec![audience.into()],
            scope_claim: None,
            customer_claim: Self::DEFAULT_CUSTOMER_CLAIM.to_owned(),
            leeway: Self::DEFAULT_LEEWAY,
            max_lifetime: Self::DEFAULT_MAX_LIFETIME,
            keys_max_stale: Self::DEFAULT_KEYS_MAX_STALE,
        }
    }
}

/// The caller that the claims name. The time is checked by [`Caller::check_time`], so that only a
/// token that was valid once is called expired.
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

fn malformed(claim: &str) -> Error {
    Error::token_claim(TokenFault::Malformed, claim)
}

fn missing(claim: &str) -> Error {
    Error::token_claim(TokenFault::ClaimMissing, claim)
}

fn check_audience(claims: &Object, accepted: &[String]) -> Result<()> {
    let claim = "aud";
    let named = match claims.get(claim).ok_or_else(|| missing(claim))? {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => texts(many).ok_or_else(|| malformed(claim))?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(malformed(claim));
        }
    };
    if accepted.iter().any(|one| named.contains(&one.as_str())) {
        Ok(())
    } else {
        Err(Error::token_claim(TokenFault::Audience, claim))
    }
}

fn texts(values: &[Value]) -> Option<Vec<&str>> {
    values.iter().map(Value::as_str).collect()
}

/// The first of these claims that is there.
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

/// The application that requested the token, for the log alone: one that is of no use is left out.
fn client(claims: &Object) -> Option<String> {
    let (_, value) = first_of(claims, &CLIENT_CLAIMS)?;
    let client = value.as_str().filter(|client| !client.is_empty())?;
    Some(printable(client, MAX_SUBJECT_CHARS))
}

/// A claim that is there must name a customer: taken for absent, it would open all of them.
fn customer(claims: &Object, claim: &str) -> Result<Option<CustomerNumber>> {
    match payload::find(claims, claim) {
        Lookup::Absent => Ok(None),
        Lookup::Found(Value::String(number)) => CustomerNumber::parse(number)
            .map(Some)
            .map_err(|_| malformed(claim)),
        Lookup::Found(_) | Lookup::Blocked => Err(malformed(claim)),
    }
}

/// A claim that the settings name is the only one that counts: another may hold what a client
/// asked for rather than what it was granted.
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
        Lookup::Found(value) => scopes_in(value).ok_or_else(|| malformed(claim)),
    }
}

/// A string with blanks between scopes, a list of scopes, or, as Zitadel writes the roles of a
/// project, an object of them by name, each with the organizations that granted it.
fn scopes_in(value: &Value) -> Option<ScopeSet> {
    match value {
        Value::String(scopes) => Some(ScopeSet::parse(scopes)),
        Value::Array(scopes) => Some(ScopeSet::of_names(texts(scopes)?)),
        Value::Object(roles) => roles
            .values()
            .all(|granted| granted.as_object().is_some_and(|by| !by.is_empty()))
            .then(|| ScopeSet::of_names(roles.keys().map(String::as_str))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The time in which a token is valid, in seconds since 1970, with the leeway at both ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Validity {
    begins: f64,
    /// The claim that sets the begin.
    begin_claim: &'static str,
    ends: f64,
}

impl Validity {
    fn read(claims: &Object, settings: &AuthSettings, now: DateTime<Utc>) -> Result<Self> {
        let leeway = settings.leeway.as_seconds_f64();
        let ends = seconds(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        let issued = seconds(claims, "iat")?.unwrap_or_else(|| seconds_of(now));
        if ends > issued + settings.max_lifetime.as_seconds_f64() + leeway {
            return Err(Error::token_claim(TokenFault::Lifetime, "exp"));
        }
        let mut validity = Self {
            ends: ends + leeway,
            ..Self::default()
        };
        for claim in ["nbf", "iat"] {
            let begins = seconds(claims, claim)?.map(|begins| begins - leeway);
            if let Some(begins) = begins.filter(|begins| *begins > validity.begins) {
                (validity.begins, validity.begin_claim) = (begins, claim);
            }
        }
        Ok(validity)
    }

    /// Checks that it is valid `now`.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let now = seconds_of(now);
        if self.begins > now {
            return Err(Error::token_claim(
                TokenFault::NotYetValid,
                self.begin_claim,
            ));
        }
        if self.ends <= now {
            return Err(Error::TokenExpired);
        }
        Ok(())
    }
}

fn seconds_of(time: DateTime<Utc>) -> f64 {
    time.signed_duration_since(DateTime::UNIX_EPOCH)
        .as_seconds_f64()
}

/// A `NumericDate` (RFC 7519, 2): a number, from 1970 on.
fn seconds(claims: &Object, claim: &'static str) -> Result<Option<f64>> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    seconds.map(Some).ok_or_else(|| malformed(claim))
}
