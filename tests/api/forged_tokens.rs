//! Tokens that the service must reject, one for each validation rule, and tokens that differ from
//! them in nothing else and must be accepted.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    reason = "a table of test cases is read by eye, and a failure here fails the test"
)]

mod claims;
mod forger;
mod headers;
mod keys;

use chrono::{DateTime, Utc};
use contact_service::crypto::development_keys::DevelopmentKeys;
use serde_json::{Value, json};

use self::forger::{Forger, authorization, bearer, with, without};

/// `authorization` headers that must be rejected, and the expected reason.
pub(crate) struct Forgery {
    pub(crate) name: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) reason: &'static str,
}

/// Every forged or malformed token, for a service that accepts `keys`, `issuer` and `audience` at
/// `now`.
pub(crate) fn forgeries(
    keys: &DevelopmentKeys,
    issuer: &str,
    audience: &str,
    now: DateTime<Utc>,
) -> Vec<Forgery> {
    let forger = Forger::new(keys, issuer, audience, now);
    let mut all = forger.credentials();
    all.extend(forger.form());
    all.extend(forger.payload_text());
    all.extend(forger.invalid_algorithms());
    all.extend(forger.public_key_as_secret());
    all.extend(forger.foreign_keys());
    all.extend(forger.jose_headers());
    all.extend(forger.claims());
    all.extend(forger.subjects_and_customers());
    all.extend(forger.times());
    all.extend(forger.duplicates());
    all
}

/// Valid tokens made in the same way, so that a rejection is due to its rule.
pub(crate) fn controls(
    keys: &DevelopmentKeys,
    issuer: &str,
    audience: &str,
    now: DateTime<Utc>,
) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let forger = Forger::new(keys, issuer, audience, now);
    let headers = [
        ("typ absent", without(&forger.header, "typ")),
        ("typ jwt", with(&forger.header, "typ", "jwt")),
        (
            "typ application/jwt",
            with(&forger.header, "typ", "application/jwt"),
        ),
        ("typ at+jwt", with(&forger.header, "typ", "at+jwt")),
        (
            "typ application/AT+JWT",
            with(&forger.header, "typ", "application/AT+JWT"),
        ),
        (
            "kid absent with a single key",
            without(&forger.header, "kid"),
        ),
        ("x5t is not used", with(&forger.header, "x5t", "AAAA")),
        ("alg Ed25519", with(&forger.header, "alg", "Ed25519")),
        (
            "unknown header member",
            with(&forger.header, "x", json!({ "y": 1 })),
        ),
    ];
    let claims = accepted_claims(&forger);
    let token = forger.token();
    let mut all = vec![
        ("unmodified token", bearer(&token)),
        (
            "scheme in lower case",
            authorization(format!("bearer {token}")),
        ),
        (
            "scheme in capitals",
            authorization(format!("BEARER {token}")),
        ),
    ];
    all.extend(headers.map(|(name, header)| (name, bearer(&forger.sign(&header, &forger.claims)))));
    all.extend(
        claims
            .into_iter()
            .map(|(name, claims)| (name, bearer(&forger.sign(&forger.header, &claims)))),
    );
    all
}

fn accepted_claims(forger: &Forger<'_>) -> Vec<(&'static str, Value)> {
    vec![
        (
            "aud array that contains ours",
            with(&forger.claims, "aud", json!(["x", forger.audience])),
        ),
        (
            "exp and nbf with fractions",
            forger.at(&[("exp", 0.5), ("nbf", -0.5)]),
        ),
        ("exp within the leeway", forger.at(&[("exp", -29.0)])),
        (
            "nbf and iat within the leeway",
            forger.at(&[("nbf", 29.0), ("iat", 29.0)]),
        ),
        ("iat absent", without(&forger.claims, "iat")),
        ("nbf absent", without(&forger.claims, "nbf")),
        (
            "client_id for sub",
            with(&without(&forger.claims, "sub"), "client_id", "bff"),
        ),
        (
            "scope an array",
            with(&forger.claims, "scope", json!(["contacts.read"])),
        ),
        ("scope absent", without(&forger.claims, "scope")),
        (
            "customer_number",
            with(&forger.claims, "customer_number", "K-1"),
        ),
        (
            "sub of 255 characters",
            with(&forger.claims, "sub", "ä".repeat(255)),
        ),
        (
            "unknown claim",
            with(&forger.claims, "x", json!({ "sub": "y" })),
        ),
    ]
}
