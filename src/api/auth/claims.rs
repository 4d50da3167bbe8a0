//! The claims: verified by a key first, then judged by our clock.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;

use super::{
    caller::Caller,
    key_set::VerifyingKey,
    scope::ScopeSet,
    token::{Refusal, present},
};
use crate::domain::{audit::Actor, customer::CustomerNumber};

/// How far the issuer's clock may be off.
const LEEWAY: TimeDelta = TimeDelta::seconds(10);
const MAX_SUBJECT_CHARS: usize = 255;

/// Whose tokens are accepted, and what for.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// What the claim `iss` must be.
    pub issuer: String,
    /// What the claim `aud` must be or hold.
    pub audience: String,
}

/// What this service reads of a payload. A member that occurs twice makes the payload unreadable.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    exp: f64,
    nbf: f64,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "present")]
    customer_number: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn holds(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// What jsonwebtoken has to insist on. It asks the system for the time, so times are left to
/// [`Claims::judge`].
pub(super) fn validation(settings: &AuthSettings) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.algorithms.clear();
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.leeway = 0;
    validation
}

impl Claims {
    /// The claims of a token that `key` signed by `algorithm`.
    pub(super) fn verify(
        token: &str,
        key: &VerifyingKey,
        algorithm: Algorithm,
        validation: &Validation,
    ) -> Result<Self, Refusal> {
        let mut validation = validation.clone();
        validation.algorithms = vec![algorithm];
        let verified = jsonwebtoken::decode(token, key.decoding_key(), &validation);
        verified.map(|token| token.claims).map_err(|error| {
            let is_signature = matches!(error.kind(), ErrorKind::InvalidSignature);
            Refusal::Invalid(if is_signature {
                "wrong signature"
            } else {
                "unreadable or foreign claims"
            })
        })
    }

    /// Who calls and when the token is valid, if it is for us. Its times are judged after this, so
    /// that only a token that was good once is called expired.
    pub(super) fn judge(self, settings: &AuthSettings) -> Result<(Caller, Validity), Refusal> {
        if self.iss != settings.issuer {
            return Err(Refusal::Invalid("wrong issuer"));
        }
        if !self.aud.holds(&settings.audience) {
            return Err(Refusal::Invalid("wrong audience"));
        }
        let subject_chars = self.sub.chars().count();
        if !(1..=MAX_SUBJECT_CHARS).contains(&subject_chars) || self.sub.contains(char::is_control)
        {
            return Err(Refusal::Invalid("unusable subject"));
        }
        let customer = self
            .customer_number
            .map(|number| CustomerNumber::parse(&number))
            .transpose()
            .map_err(|_| Refusal::Invalid("unusable customer number"))?;
        let validity = Validity {
            begins: self.iat.map_or(self.nbf, |iat| iat.max(self.nbf)),
            ends: self.exp,
        };
        if self.nbf < 0.0 || self.exp < 0.0 || self.iat.is_some_and(|iat| iat < 0.0) {
            return Err(Refusal::Invalid("time before 1970"));
        }
        let scopes = ScopeSet::parse(self.scope.as_deref().unwrap_or_default());
        let caller = Caller::new(Actor(self.sub), customer, scopes, validity);
        Ok((caller, validity))
    }
}

/// From when until when a token is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Validity {
    begins: f64,
    ends: f64,
}

impl Validity {
    /// Whether it is good `now`.
    pub(super) fn judge(self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let now = now
            .signed_duration_since(DateTime::UNIX_EPOCH)
            .as_seconds_f64();
        let leeway = LEEWAY.as_seconds_f64();
        if self.begins > now + leeway {
            return Err(Refusal::Invalid("not valid yet"));
        }
        if self.ends + leeway <= now {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}
