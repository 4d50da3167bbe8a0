//! Makes tokens signed with the service's key or with other keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use contact_service::crypto::development_keys::DevelopmentKeys;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::Forgery;

pub(super) const MISSING: &str = "TOKEN_MISSING";
pub(super) const INVALID: &str = "TOKEN_INVALID";
const EXPIRED: &str = "TOKEN_EXPIRED";
pub(super) struct Forger<'a> {
    pub(super) keys: &'a DevelopmentKeys,
    pub(super) header: Value,
    pub(super) claims: Value,
    pub(super) audience: &'a str,
    pub(super) issuer: &'a str,
    pub(super) now: DateTime<Utc>,
}

impl<'a> Forger<'a> {
    pub(super) fn new(
        keys: &'a DevelopmentKeys,
        issuer: &'a str,
        audience: &'a str,
        now: DateTime<Utc>,
    ) -> Self {
        let seconds = now.timestamp();
        Self {
            keys,
            header: json!({ "alg": "EdDSA", "typ": "JWT", "kid": keys.kid() }),
            claims: json!({
                "iss": issuer,
                "aud": audience,
                "sub": "forger",
                "iat": seconds,
                "nbf": seconds,
                "exp": seconds + 600,
                "scope": "contacts.read",
            }),
            audience,
            issuer,
            now,
        }
    }

    pub(super) fn token(&self) -> String {
        self.sign(&self.header, &self.claims)
    }

    /// Signs with the service's key, regardless of the header.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (header.to_string(), claims.to_string());
        self.keys
            .sign(header.as_bytes(), claims.as_bytes())
            .unwrap()
    }

    /// Signs with another key and its algorithm.
    pub(super) fn sign_by(
        &self,
        header: &Value,
        key: &EncodingKey,
        algorithm: Algorithm,
    ) -> String {
        let header = with(header, "alg", serde_json::to_value(algorithm).unwrap());
        let message = message(&header, &self.claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// The claims with these times, in seconds from now.
    pub(super) fn at(&self, times: &[(&str, f64)]) -> Value {
        let mut claims = self.claims.clone();
        for (name, offset) in times {
            let now = self.now.signed_duration_since(DateTime::UNIX_EPOCH);
            claims = with(&claims, name, now.as_seconds_f64() + offset);
        }
        claims
    }

    pub(super) fn with_claims(
        &self,
        wrong: impl IntoIterator<Item = (&'static str, &'static str, Value)>,
    ) -> impl Iterator<Item = Forgery> {
        wrong.into_iter().map(|(name, claim, value)| {
            invalid(
                name,
                self.sign(&self.header, &with(&self.claims, claim, value)),
            )
        })
    }
}

pub(super) fn forgery(
    name: &'static str,
    reason: &'static str,
    headers: Vec<(&'static str, String)>,
) -> Forgery {
    Forgery {
        name,
        headers,
        reason,
    }
}

pub(super) fn invalid(name: &'static str, token: String) -> Forgery {
    forgery(name, INVALID, bearer(&token))
}

pub(super) fn expiry(name: &'static str, token: String) -> Forgery {
    forgery(name, EXPIRED, bearer(&token))
}

pub(super) fn bearer(token: &str) -> Vec<(&'static str, String)> {
    authorization(format!("Bearer {token}"))
}

pub(super) fn authorization(value: String) -> Vec<(&'static str, String)> {
    vec![("authorization", value)]
}

pub(super) fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// The same signature in a non-canonical encoding: 64 bytes leave four bits of the last character
/// unused.
pub(super) fn with_stray_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = token.to_owned();
    let last = token.pop().unwrap();
    let value = ALPHABET.find(last).unwrap();
    token.push(ALPHABET.chars().nth(value ^ 1).unwrap());
    token
}

pub(super) fn with(object: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    object
        .as_object_mut()
        .unwrap()
        .insert(member.to_owned(), value.into());
    object
}

pub(super) fn without(object: &Value, member: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}
