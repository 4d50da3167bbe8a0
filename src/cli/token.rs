//! `token`: a token that is signed with the development key of a server on this machine.

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

/// The options of the command.
#[derive(Debug, Args)]
pub(crate) struct MintToken {
    /// Its subject, the claim `sub`
    #[arg(long)]
    pub(crate) sub: String,
    /// Its scopes, with blanks between
    #[arg(long)]
    pub(crate) scope: String,
    /// The one customer it is confined to
    #[arg(long)]
    pub(crate) customer: Option<String>,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, default_value = "15m")]
    pub(crate) ttl: String,
}

impl MintToken {
    /// Mints the token. Keys are only read: a token under new ones no server would accept.
    ///
    /// # Errors
    /// A line that names the flag or the setting that is wrong, and says why.
    pub(crate) fn run(&self, config: &Config) -> Result<String, String> {
        let ttl = parse_ttl(&self.ttl, config.auth.max_lifetime)?;
        match &config.jwks {
            None => {}
            Some(KeySource::Discovery) => {
                return Err(
                    "JWT_ISSUER: is an identity provider, so tokens come from there".into(),
                );
            }
            Some(_) => {
                return Err(
                    "JWT_JWKS: is set, so tokens come from the holder of its private keys".into(),
                );
            }
        }
        let customer = self
            .customer
            .as_deref()
            .map(CustomerNumber::parse)
            .transpose()
            .map_err(|Invalid(why)| format!("--customer: {why}"))?;
        if self.sub.trim().is_empty() {
            return Err("--sub: must not be empty".into());
        }
        if Actor::is_reserved(&self.sub) {
            return Err("--sub: is reserved for the service itself; use another one".into());
        }
        let keys = DevelopmentKeys::load(&config.data_dir)?.ok_or_else(|| {
            format!(
                "DATA_DIR: no server has made its development keys in {}: start contact-service \
                 serve there first, or set DATA_DIR to the folder of the server that is running",
                config.data_dir.display()
            )
        })?;
        warn_of_unknown_scopes(&self.scope);
        let auth = &config.auth;
        let first = |list: &[String]| list.first().cloned().unwrap_or_default();
        keys.with_claims(
            auth.scope_claim.as_deref().unwrap_or("scope"),
            &auth.customer_claim,
        )
        .mint(
            &first(&auth.issuers),
            &first(&auth.audiences),
            &self.sub,
            &self.scope,
            customer.as_ref(),
            ttl,
            Clock::System.now(),
        )
        .map_err(|error| error.to_string())
    }
}

/// Warns of scopes that no RPC requires. Their names are most likely misspelled.
fn warn_of_unknown_scopes(scope: &str) {
    let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    for name in scope
        .split_whitespace()
        .filter(|name| !known.contains(name))
    {
        let all = known.join(", ");
        eprintln!("contact-service: --scope: no RPC asks for {name:?}; there are: {all}");
    }
}

/// The servers of these settings accept no token that is valid for longer than `most`.
fn parse_ttl(text: &str, most: TimeDelta) -> Result<TimeDelta, String> {
    let ttl = parse_duration(text).map_err(|Invalid(why)| format!("--ttl: {why}"))?;
    if ttl <= TimeDelta::zero() {
        return Err("--ttl: must be longer than 0s".into());
    }
    if ttl > most {
        return Err(format!(
            "--ttl: must be at most {} seconds, as JWT_MAX_LIFETIME says; mint a shorter one, or raise that setting here and at the server",
            most.num_seconds()
        ));
    }
    Ok(ttl)
}
