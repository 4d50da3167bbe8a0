//! Verification of tokens: algorithms, claims, key rotation, discovery and log lines.
//! `tests/api/forged_tokens.rs` covers wrong claims and forged tokens of one key.

mod claims;
mod discovery;
mod keys;
mod logs;
mod rotation;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, jwk::Jwk};
use rstest::rstest;
use serde_json::{Value, json};

use super::{AuthSettings, Authenticator, Caller, JwksLocation, KeySource, caller::Signer};
use crate::api::auth::keys::{ring::KeyRing, set::KeySet};
use crate::{
    clock::Clock,
    error::{Error, Result, TokenFault},
};

/// Shared, because RSA keys are slow to generate.
static RSA_KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let base64 = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
});

const MALFORMED: Error = Error::token_invalid(TokenFault::Malformed);
const UNKNOWN_KEY: Error = Error::token_invalid(TokenFault::UnknownKey);
const BAD_SIGNATURE: Error = Error::token_invalid(TokenFault::BadSignature);
const ALGORITHM: Error = Error::token_invalid(TokenFault::Algorithm);

/// A key pair of an issuer.
struct TestKey {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl TestKey {
    fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let private = match algorithm.family() {
            AlgorithmFamily::Ed => {
                let key = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(key.to_pkcs8v1().unwrap().as_ref())
            }
            AlgorithmFamily::Ec if algorithm == Algorithm::ES256 => {
                ec_key(&ECDSA_P256_SHA256_FIXED_SIGNING)
            }
            AlgorithmFamily::Ec => ec_key(&ECDSA_P384_SHA384_FIXED_SIGNING),
            AlgorithmFamily::Rsa => RSA_KEY.clone(),
            AlgorithmFamily::Hmac => EncodingKey::from_secret(&[7; 64]),
        };
        Self {
            kid,
            algorithm,
            private,
        }
    }

    /// The public key, with `kid` and `alg`.
    fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        with(&serde_json::to_value(jwk).unwrap(), "kid", self.kid)
    }

    fn token(&self) -> String {
        self.sign(self.algorithm, Some(self.kid))
    }

    fn sign(&self, algorithm: Algorithm, kid: Option<&str>) -> String {
        let mut header = json!({ "alg": algorithm });
        if let Some(kid) = kid {
            header = with(&header, "kid", kid);
        }
        self.sign_message(&header, &claims(), algorithm)
    }

    /// Signs a token with these claims.
    fn sign_claims(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm, "kid": self.kid });
        self.sign_message(&header, claims, self.algorithm)
    }

    fn sign_message(&self, header: &Value, claims: &Value, algorithm: Algorithm) -> String {
        let message = message(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, algorithm);
        format!("{message}.{}", signature.unwrap())
    }
}

fn ec_key(algorithm: &'static EcdsaSigningAlgorithm) -> EncodingKey {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref())
}

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// Claims that are valid for a day.
fn claims() -> Value {
    json!({
        "iss": "issuer",
        "aud": "contact-service",
        "sub": "anna.schmidt",
        "nbf": now().timestamp(),
        "exp": now().timestamp() + 86_400,
        "scope": "contacts.read",
        "customer_number": "K-1001",
    })
}

/// Creates a signer with a key ring of its own.
pub(super) fn signer(clock: Clock) -> Signer {
    let set = key_set(&[TestKey::new("a", Algorithm::EdDSA).jwk()]);
    let set = KeySet::parse(set.as_bytes()).unwrap();
    Signer {
        key: set.find(Some("a"), Algorithm::EdDSA).ok().unwrap(),
        keys: Arc::new(KeyRing::fixed(set, clock)),
    }
}

/// The signed part of a token: the header and the claims.
fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

fn with(object: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    object[member] = value.into();
    object
}

fn without(object: &Value, member: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn settings() -> AuthSettings {
    AuthSettings::new("issuer", "contact-service")
}

async fn load(location: &str, clock: &Clock) -> std::result::Result<Authenticator, String> {
    let source = KeySource::Jwks(JwksLocation::parse(location).unwrap());
    Authenticator::new(settings(), source, clock.clone()).await
}

async fn with_keys(keys: &[Value]) -> Authenticator {
    with_settings(settings(), keys).await
}

async fn with_settings(settings: AuthSettings, keys: &[Value]) -> Authenticator {
    let source = KeySource::Development(key_set(keys));
    let authenticator = Authenticator::new(settings, source, Clock::manual(now())).await;
    authenticator.unwrap()
}

/// Returns the error of a token that is rejected.
async fn verify(authenticator: &Authenticator, token: &str) -> Result<()> {
    authenticate(authenticator, token).await.map(|_| ())
}

async fn authenticate(authenticator: &Authenticator, token: &str) -> Result<Caller> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    authenticator.authenticate(&headers).await
}

#[tokio::test]
async fn caller_has_the_claims_of_the_token() {
    let key = TestKey::new("a", Algorithm::EdDSA);
    let authenticator = with_keys(&[key.jwk()]).await;
    let value = HeaderValue::from_str(&format!("Bearer  {}", key.token())).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let caller = authenticator.authenticate(&headers).await.unwrap();
    assert_eq!(caller.actor().0, "anna.schmidt");
    assert_eq!(caller.customer().unwrap().as_str(), "K-1001");
    assert_eq!(caller.require(super::Scope::ContactsRead), Ok(()));
    assert!(caller.require(super::Scope::ContactsWrite).is_err());
}

#[rstest]
#[case::blanks(b"  ", Error::TokenMissing)]
#[case::not_ascii(b"Bearer \xc3\xa4.b.c", MALFORMED)]
#[case::not_utf_8(b"Bearer \xff", MALFORMED)]
#[case::tab_for_a_blank(b"Bearer\ta.b.c", MALFORMED)]
#[tokio::test]
async fn malformed_authorization_header_is_rejected(#[case] value: &[u8], #[case] expected: Error) {
    let key = TestKey::new("a", Algorithm::EdDSA);
    let authenticator = with_keys(&[key.jwk()]).await;
    let value = HeaderValue::from_bytes(value).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let result = authenticator.authenticate(&headers).await;
    assert_eq!(result.unwrap_err(), expected);
}

#[tokio::test]
async fn token_expires_with_its_leeway() {
    let key = TestKey::new("a", Algorithm::EdDSA);
    let clock = Clock::manual(now());
    let source = KeySource::Development(key_set(&[key.jwk()]));
    let authenticator = Authenticator::new(settings(), source, clock.clone())
        .await
        .unwrap();
    let token = key.token();
    clock.advance(chrono::TimeDelta::seconds(86_429));
    assert_eq!(verify(&authenticator, &token).await, Ok(()));
    clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(
        verify(&authenticator, &token).await,
        Err(Error::TokenExpired)
    );
}
