//! Who calls: turns the `authorization` header into a [`Caller`], and says which scope every RPC
//! asks for.
//!
//! Owns the checks of JSON Web Tokens (RFC 7519, 8725) and the issuer's public keys. What a caller
//! may see of a customer is asked of the [`Caller`] by every RPC itself.

mod caller;
mod claims;
mod key_ring;
mod key_set;
mod key_source;
mod scope;
#[cfg(test)]
mod tests;
mod token;
mod verified;

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;
use jsonwebtoken::Validation;

pub use self::{
    caller::Caller,
    claims::AuthSettings,
    key_source::JwksLocation,
    scope::{Scope, scope_of},
};
use self::{
    claims::Claims,
    key_ring::KeyRing,
    key_set::{KeySet, NoKey},
    key_source::JwksReader,
    token::{JoseHeader, Refusal},
    verified::{Verified, VerifiedTokens},
};
use crate::{clock::Clock, error::Result};

/// Where the issuer's public keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWK Set that is read again as keys come and go.
    Jwks(JwksLocation),
    /// The JWK Set of `DevelopmentKeys::jwks`, which never changes.
    Development(String),
}

/// Checks tokens. Clones share their keys.
#[derive(Clone)]
pub struct Authenticator(Arc<Shared>);

struct Shared {
    settings: AuthSettings,
    validation: Validation,
    keys: Arc<KeyRing>,
    verified: VerifiedTokens,
    clock: Clock,
}

/// Holds keys and settings, none of which are for logs.
impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator(…)")
    }
}

impl Authenticator {
    /// Reads the keys once, within 5 seconds.
    ///
    /// # Errors
    /// One line that says why there are no keys, free of secrets.
    pub async fn new(
        settings: AuthSettings,
        source: KeySource,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let keys = match source {
            KeySource::Jwks(location) => {
                KeyRing::read(JwksReader::new(location)?, clock.clone()).await?
            }
            KeySource::Development(document) => {
                let keys = KeySet::parse(document.as_bytes())
                    .map_err(|why| format!("the development key set: {why}"))?;
                KeyRing::fixed(keys, clock.clone())
            }
        };
        Ok(Self(Arc::new(Shared {
            validation: claims::validation(&settings),
            settings,
            keys: Arc::new(keys),
            verified: VerifiedTokens::default(),
            clock,
        })))
    }

    /// How long ago the keys were read; zero for keys that never change.
    pub fn keys_age(&self) -> Duration {
        self.0.keys.age()
    }

    /// Who calls with these headers.
    ///
    /// # Errors
    /// [`Error::TokenMissing`](crate::error::Error::TokenMissing),
    /// [`Error::TokenInvalid`](crate::error::Error::TokenInvalid), or
    /// [`Error::TokenExpired`](crate::error::Error::TokenExpired) for a token that was good once.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller> {
        self.0.authenticate(headers).await.map_err(|refusal| {
            tracing::debug!(cause = refusal.cause(), "a token was refused");
            refusal.into()
        })
    }
}

impl Shared {
    async fn authenticate(&self, headers: &HeaderMap) -> std::result::Result<Caller, Refusal> {
        let token = token::bearer_token(headers)?;
        let now = self.clock.now();
        let digest = VerifiedTokens::digest(token);
        if let Some(known) = self.verified.find(&digest) {
            // Asked for anew each time: a key that was withdrawn takes its tokens with it.
            let key = self.keys.find(known.kid.as_deref(), known.algorithm).await;
            if key.is_ok_and(|key| Arc::ptr_eq(&key, &known.key)) {
                known.validity.judge(now)?;
                return Ok(known.caller.clone());
            }
        }
        let header = JoseHeader::parse(token)?;
        let key = self
            .keys
            .find(header.kid.as_deref(), header.alg)
            .await
            .map_err(|no_key| {
                Refusal::Invalid(match no_key {
                    NoKey::UnknownKid => "unknown key",
                    NoKey::WrongAlgorithm => "algorithm does not fit the key",
                    NoKey::KidMissing => "no key named",
                })
            })?;
        let claims = Claims::verify(token, &key, header.alg, &self.validation)?;
        let (caller, validity) = claims.judge(&self.settings)?;
        validity.judge(now)?;
        let verified = Verified {
            algorithm: header.alg,
            kid: header.kid,
            key,
            validity,
            caller: caller.clone(),
        };
        self.verified.insert(digest, verified);
        Ok(caller)
    }
}
