//! Who calls: turns the `authorization` header into a [`Caller`], and says which scope every RPC
//! asks for.
//!
//! Owns the checks of JSON Web Tokens (RFC 7519, 8725) and the issuers' public keys. What a caller
//! may see of a customer is asked of the [`Caller`] by every RPC itself.

mod caller;
mod claims;
mod keys;
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
    scope::{Scope, alternative_scope_of, scope_of},
};
use self::{
    caller::Signer, rejection_log::RejectionLog, token::SignedToken, verified::VerifiedTokens,
};
pub use crate::api::auth::keys::source::{JwksLocation, KeySource};
use crate::api::auth::keys::{issuer::IssuerKeys, set::NoKey};
use crate::{
    api::admission::security_log::SecurityLog,
    app::App,
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
    security_log: Arc<SecurityLog>,
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
        let keys = IssuerKeys::read(source, &settings, &clock).await?;
        Ok(Self(Arc::new(Shared {
            settings,
            keys,
            verified: VerifiedTokens::default(),
            rejections: RejectionLog::default(),
            security_log: SecurityLog::new(clock.clone()),
            clock,
        })))
    }

    /// How long ago the oldest keys were read; zero for keys that never change.
    pub fn keys_age(&self) -> Duration {
        self.0.keys.age()
    }

    /// How old keys may get before none of them is accepted.
    pub fn keys_max_stale(&self) -> Duration {
        let max_stale = self.0.settings.keys_max_stale;
        max_stale.to_std().unwrap_or_default()
    }

    /// The caller with these headers, if the token has the scope of the RPC at `path`. Denials of
    /// the request are recorded from now on.
    ///
    /// # Errors
    /// As [`Self::authenticate`], [`Error::ScopeMissing`], and [`Error::Unimplemented`] for a path
    /// without an entry in the scope table.
    pub async fn authorize(&self, path: &str, headers: &HeaderMap) -> Result<Caller> {
        let scope = scope_of(path).ok_or(Error::Unimplemented)?;
        let log = self.0.security_log.of_request(path);
        let caller = self.authenticate(headers).await?.in_request(log);
        if !alternative_scope_of(path).is_some_and(|alternative| caller.has(alternative)) {
            caller.require(scope)?;
        }
        Ok(caller)
    }

    /// Writes denials of requests to the audit log, as long as it is awaited.
    pub async fn record_denials(self, app: App) {
        self.0.security_log.record_events(&app).await;
    }

    /// The caller with these headers. Rejections are logged.
    ///
    /// # Errors
    /// [`Error::TokenMissing`], [`Error::TokenInvalid`], [`Error::TokenExpired`] for a token that was
    /// valid once, or [`Error::TokenKeysUnavailable`].
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

    /// Checks the token of a caller and its key again, for responses that outlast them. It waits for
    /// nothing: old keys are read again in the background, and the next check has the outcome.
    ///
    /// # Errors
    /// [`Error::TokenExpired`], [`Error::TokenInvalid`] once its key is no longer in the issuer's key
    /// set, and [`Error::TokenKeysUnavailable`] once that could not be read for too long.
    pub fn recheck(&self, caller: &Caller) -> Result<()> {
        caller.recheck(self.0.clock.now())
    }
}

impl Shared {
    async fn authenticate(&self, token: &str) -> Result<Caller> {
        token::check_size(token)?;
        let digest = VerifiedTokens::digest(token);
        if let Some(caller) = self.verified.find(&digest) {
            caller.keys().freshen().await;
            // Checked every time: a key that was withdrawn takes its tokens with it.
            if caller.has_key()? {
                caller.check_time(self.clock.now())?;
                return Ok(caller);
            }
        }
        let token = SignedToken::parse(token)?;
        let keys = self.keys.of(token.unverified_issuer()?)?;
        let found = keys.find(token.kid.as_deref(), token.algorithm).await?;
        let key = found.map_err(|no_key| {
            Error::token_invalid(match no_key {
                NoKey::WrongAlgorithm => TokenFault::Algorithm,
                NoKey::UnknownKid | NoKey::KidMissing => TokenFault::UnknownKey,
            })
        })?;
        let claims = token.verify(&key)?;
        let signer = Signer {
            keys: Arc::clone(keys),
            key,
        };
        let now = self.clock.now();
        let caller = claims::read(&claims, &self.settings, signer, now)?;
        caller.check_time(now)?;
        self.verified.insert(digest, caller.clone());
        Ok(caller)
    }
}
