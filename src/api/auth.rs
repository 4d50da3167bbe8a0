//! Who calls: turns the `authorization` header into a [`Caller`], and says which scope every RPC
//! asks for.
//!
//! Owns the checks of JSON Web Tokens (RFC 7519, 8725) and the issuers' public keys. What a caller
//! may see of a customer is asked of the [`Caller`] by every RPC itself.

mod caller;
mod claims;
mod fetch;
mod issuer_keys;
mod key_ring;
mod key_set;
mod key_source;
mod payload;
mod rejection_log;
mod scope;
#[cfg(test)]
mod tests;
mod token;
mod verified;

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;

pub use self::{
    caller::Caller,
    claims::AuthSettings,
    key_source::{JwksLocation, KeySource},
    scope::{Scope, alternative_scope_of, scope_of},
};
use self::{
    issuer_keys::IssuerKeys,
    key_set::NoKey,
    rejection_log::RejectionLog,
    token::SignedToken,
    verified::{Verified, VerifiedTokens},
};
use crate::{
    clock::Clock,
    error::{Error, Result, TokenFault},
};

/// Checks tokens. Clones share their keys.
#[derive(Clone)]
pub struct Authenticator(Arc<Shared>);

struct Shared {
    settings: AuthSettings,
    keys: IssuerKeys,
    verified: VerifiedTokens,
    rejections: RejectionLog,
    clock: Clock,
}

/// Holds keys and settings, none of which are for logs.
impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator(…)")
    }
}

impl Authenticator {
    /// Reads the keys once, each document within 5 seconds.
    ///
    /// # Errors
    /// One line that says why there are no keys, free of secrets.
    pub async fn new(
        settings: AuthSettings,
        source: KeySource,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let keys = IssuerKeys::read(source, &settings.issuers, &clock).await?;
        Ok(Self(Arc::new(Shared {
            settings,
            keys,
            verified: VerifiedTokens::default(),
            rejections: RejectionLog::default(),
            clock,
        })))
    }

    /// How long ago the oldest keys were read; zero for keys that never change.
    pub fn keys_age(&self) -> Duration {
        self.0.keys.age()
    }

    /// The caller with these headers. Rejections are logged.
    ///
    /// # Errors
    /// [`Error::TokenMissing`], [`Error::TokenInvalid`], or [`Error::TokenExpired`] for a token
    /// that was valid once.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller> {
        let token = token::bearer_token(headers);
        let caller = match &token {
            Ok(token) => self.0.authenticate(token).await,
            Err(error) => Err(error.clone()),
        };
        if let Err(Error::TokenInvalid { cause, claim }) = &caller {
            let (shared, token) = (&self.0, token.ok());
            let now = shared.clock.now();
            shared
                .rejections
                .record(*cause, claim.as_deref(), token, now);
        }
        caller
    }

    /// Checks the token of a caller again, for responses that outlast it.
    ///
    /// # Errors
    /// [`Error::TokenExpired`] when it has expired.
    pub fn recheck(&self, caller: &Caller) -> Result<()> {
        caller.check_time(self.0.clock.now())
    }
}

impl Shared {
    async fn authenticate(&self, token: &str) -> Result<Caller> {
        token::check_size(token)?;
        let now = self.clock.now();
        let digest = VerifiedTokens::digest(token);
        if let Some(known) = self.verified.find(&digest) {
            // Checked every time: a key that was withdrawn takes its tokens with it.
            if known.keys.holds(&known.key) {
                known.validity.check(now)?;
                return Ok(known.caller.clone());
            }
        }
        let token = SignedToken::parse(token)?;
        let keys = self.keys.of(token.unverified_issuer()?)?;
        let key = keys
            .find(token.kid.as_deref(), token.algorithm)
            .await
            .map_err(|no_key| {
                Error::token_invalid(match no_key {
                    NoKey::WrongAlgorithm => TokenFault::Algorithm,
                    NoKey::UnknownKid | NoKey::KidMissing => TokenFault::UnknownKey,
                })
            })?;
        let claims = token.verify(&key)?;
        let (caller, validity) = claims::read(&claims, &self.settings)?;
        validity.check(now)?;
        let verified = Verified {
            keys: Arc::clone(keys),
            key,
            validity,
            caller: caller.clone(),
        };
        self.verified.insert(digest, verified);
        Ok(caller)
    }
}
