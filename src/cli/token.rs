//! `token`: mints an access token with the development key of a server on this machine.

use chrono::TimeDelta;
use clap::Args;
use contact_service::{
    api::auth::{KeySource, Scope},
    clock::Clock,
    config::{Config, parse_duration},
    crypto::development_keys::DevelopmentKeys,
    domain::{audit::Actor, ids::CustomerNumber},
    error::Invalid,
};

use crate::cli::startup_error::StartupError;

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct MintToken {
    /// The subject (`sub`)
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) sub: String,
    /// The scopes, separated by blanks
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: String,
    /// Restrict the token to one customer
    #[arg(long, value_name = "NUMBER")]
    pub(crate) customer: Option<String>,
    /// Validity: a number with s, m, h or d
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub(crate) ttl: String,
}

impl MintToken {
    /// A token with all scopes for all customers, for calls by the operator of the server.
    pub(crate) fn with_all_scopes(ttl: &str) -> Self {
        Self {
            sub: "me".to_owned(),
            scope: Scope::ALL.map(Scope::as_str).join(" "),
            customer: None,
            ttl: ttl.to_owned(),
        }
    }

    /// Mints the token. Never creates keys: no server would accept a token that is signed with
    /// new ones.
    pub(crate) fn mint(&self, config: &Config) -> Result<String, StartupError> {
        let ttl = parse_ttl(&self.ttl, config.auth.max_lifetime)?;
        reject_foreign_keys(config)?;
        let customer = self.customer.as_deref().map(CustomerNumber::parse);
        let customer = customer
            .transpose()
            .map_err(|violation| StartupError::setting("--customer", violation.to_string()))?;
        if self.sub.trim().is_empty() {
            return Err(StartupError::setting("--sub", "must not be empty"));
        }
        if Actor::is_reserved(&self.sub) {
            let reason = "is reserved for the service itself; use another one";
            return Err(StartupError::setting("--sub", reason));
        }
        let keys = existing_keys(config)?;
        warn_of_unknown_scopes(&self.scope);
        let first = |list: &[String]| list.first().cloned().unwrap_or_default();
        let scope_claim = config.auth.scope_claim.as_deref().unwrap_or("scope");
        let token = keys
            .with_claims(scope_claim, &config.auth.customer_claim)
            .mint(
                &first(&config.auth.issuers),
                &first(&config.auth.audiences),
                &self.sub,
                &self.scope,
                customer.as_ref(),
                ttl,
                Clock::System.now(),
            );
        Ok(token?)
    }
}

/// Rejects settings with which servers accept the keys of an identity provider only.
fn reject_foreign_keys(config: &Config) -> Result<(), StartupError> {
    match &config.jwks {
        None => Ok(()),
        Some(KeySource::Discovery) => Err(StartupError::setting(
            "JWT_ISSUER",
            "is an identity provider: request tokens there",
        )),
        Some(_) => Err(StartupError::setting(
            "JWT_JWKS",
            "is set: request tokens from the holder of its private keys",
        )),
    }
}

fn existing_keys(config: &Config) -> Result<DevelopmentKeys, StartupError> {
    let keys = DevelopmentKeys::load(&config.data_dir).map_err(StartupError::Library)?;
    keys.ok_or_else(|| {
        let reason = format!(
            "no server has made its development keys in {}: start contact-service serve there \
             first, or set DATA_DIR to the folder of the server that is running",
            config.data_dir.display()
        );
        StartupError::setting("DATA_DIR", reason)
    })
}

/// Warns about scopes that no RPC requires: their names are probably misspelled.
fn warn_of_unknown_scopes(scopes: &str) {
    let known = Scope::ALL.map(Scope::as_str);
    for scope in scopes.split_whitespace() {
        if !known.contains(&scope) {
            let known = known.join(", ");
            eprintln!("contact-service: --scope: no RPC requires {scope:?}; scopes are: {known}");
        }
    }
}

/// Parses a validity of at most `JWT_MAX_LIFETIME`, beyond which servers reject a token.
fn parse_ttl(text: &str, max: TimeDelta) -> Result<TimeDelta, StartupError> {
    let wrong = |reason: String| StartupError::setting("--ttl", reason);
    let ttl = parse_duration(text).map_err(|Invalid(reason)| wrong(reason))?;
    if ttl <= TimeDelta::zero() {
        return Err(wrong("must be longer than 0s".to_owned()));
    }
    if ttl > max {
        return Err(wrong(format!(
            "must be at most {} seconds, the limit of JWT_MAX_LIFETIME; shorten it, or raise \
             JWT_MAX_LIFETIME here and on the server",
            max.num_seconds()
        )));
    }
    Ok(ttl)
}
