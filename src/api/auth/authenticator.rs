//! Authentication of requests: from the `authorization` header to a [`Caller`].

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;

use super::{
    caller::{Caller, Signer},
    claims,
    keys::{issuer::IssuerKeys, set::NoKey, source::KeySource},
    rejection_log::RejectionLog,
    scope::Rpc,
    settings::AuthSettings,
    token::{self, SignedToken},
    verified_tokens::VerifiedTokens,
};
use crate::{
    api::admission::security_log::SecurityLog,
    app::App,
    clock::Clock,
    error::{Error, Result, TokenFault},
};

/// Verifies tokens. Clones share keys and caches.
#[derive(Clone)]
pub struct Authenticator(Arc<Shared>);

struct Shared {
    settings: AuthSettings,
    keys: IssuerKeys,
    verified_tokens: VerifiedTokens,
    rejections: RejectionLog,
    security_log: Arc<SecurityLog>,
    clock: Clock,
}

/// Prints neither keys nor settings.
impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator(…)")
    }
}

impl Authenticator {
    /// Creates an authenticator and loads the keys, each document within 5 seconds.
    ///
    /// # Errors
    /// One line that states why the keys could not be loaded, without secrets.
    pub async fn new(
        settings: AuthSettings,
        source: KeySource,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let keys = IssuerKeys::load(source, &settings, &clock).await?;
        Ok(Self(Arc::new(Shared {
            settings,
            keys,
            verified_tokens: VerifiedTokens::default(),
            rejections: RejectionLog::default(),
            security_log: SecurityLog::new(clock.clone()),
            clock,
        })))
    }

    /// Returns the age of the oldest keys; zero for keys that never change.
    pub fn keys_age(&self) -> Duration {
        self.0.keys.age()
    }

    /// Returns the maximum age of keys; older ones are rejected.
    pub fn keys_max_stale(&self) -> Duration {
        let max_stale = self.0.settings.keys_max_stale;
        max_stale.to_std().unwrap_or_default()
    }

    /// Returns the caller with these headers if the token has the scope that the RPC requires. Denials by
    /// the returned caller are recorded.
    ///
    /// # Errors
    /// Those of [`Self::authenticate`], and [`Error::ScopeMissing`].
    pub async fn authorize(&self, rpc: &'static Rpc, headers: &HeaderMap) -> Result<Caller> {
        let log = self.0.security_log.for_request(rpc.name());
        let caller = self.authenticate(headers).await?.in_request(log);
        let alternative = rpc.alternative_scope;
        if !alternative.is_some_and(|alternative| caller.has(alternative)) {
            caller.require(rpc.scope)?;
        }
        Ok(caller)
    }

    /// Writes denied requests to the audit log. Runs until it is dropped.
    pub async fn record_denials(self, app: App) {
        self.0.security_log.record_events(&app).await;
    }

    /// Returns the caller with these headers. Rejections are logged.
    ///
    /// # Errors
    /// [`Error::TokenMissing`], [`Error::TokenInvalid`], [`Error::TokenExpired`] for a token that was
    /// valid once, and [`Error::TokenKeysUnavailable`].
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

    /// Checks the token of a caller and its key again, for streams that may outlast them. Never waits:
    /// stale keys are refreshed in the background, and the next check uses them.
    ///
    /// # Errors
    /// [`Error::TokenExpired`], [`Error::TokenInvalid`] once the issuer has removed the key, and
    /// [`Error::TokenKeysUnavailable`] once the keys could not be refreshed for too long.
    pub fn recheck(&self, caller: &Caller) -> Result<()> {
        caller.recheck(self.0.clock.now())
    }
}

impl Shared {
    async fn authenticate(&self, token: &str) -> Result<Caller> {
        token::check_size(token)?;
        let digest = VerifiedTokens::digest(token);
        if let Some(caller) = self.verified_tokens.find(&digest) {
            caller.keys().refresh_if_stale().await;
            // Checked every time: a token is invalid once its key was removed.
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
        self.verified_tokens.insert(digest, caller.clone());
        Ok(caller)
    }
}
