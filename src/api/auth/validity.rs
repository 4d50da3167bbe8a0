//! The validity period of a token: its claims `exp`, `nbf` and `iat`.

use chrono::{DateTime, Utc};

use super::{
    payload::{Object, malformed, missing},
    settings::AuthSettings,
};
use crate::error::{Error, Result, TokenFault};

/// The period in which a token is valid, in Unix seconds, extended by the leeway at both ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Validity {
    begin: f64,
    /// The claim that determines the begin, `nbf` or `iat`.
    begin_claim: &'static str,
    end: f64,
}

impl Validity {
    /// Reads the period from the claims.
    pub(super) fn read(
        claims: &Object,
        settings: &AuthSettings,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let leeway = settings.leeway.as_seconds_f64();
        let end = seconds(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        let issued = seconds(claims, "iat")?.unwrap_or_else(|| seconds_of(now));
        if end > issued + settings.max_lifetime.as_seconds_f64() + leeway {
            return Err(Error::token_claim(TokenFault::Lifetime, "exp"));
        }
        let mut validity = Self {
            end: end + leeway,
            ..Self::default()
        };
        for claim in ["nbf", "iat"] {
            let begin = seconds(claims, claim)?.map(|begin| begin - leeway);
            if let Some(begin) = begin.filter(|begin| *begin > validity.begin) {
                (validity.begin, validity.begin_claim) = (begin, claim);
            }
        }
        Ok(validity)
    }

    /// Checks that the token is valid at `now`.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let now = seconds_of(now);
        if self.begin > now {
            return Err(Error::token_claim(
                TokenFault::NotYetValid,
                self.begin_claim,
            ));
        }
        if self.end <= now {
            return Err(Error::TokenExpired);
        }
        Ok(())
    }
}

fn seconds_of(time: DateTime<Utc>) -> f64 {
    time.signed_duration_since(DateTime::UNIX_EPOCH)
        .as_seconds_f64()
}

/// Reads a `NumericDate` (RFC 7519, 2), which must not be negative.
fn seconds(claims: &Object, claim: &'static str) -> Result<Option<f64>> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    seconds.map(Some).ok_or_else(|| malformed(claim))
}
