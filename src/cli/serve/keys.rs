//! The keys of a server: those of the settings, or development keys in `DATA_DIR`.

use crate::cli::{bootstrap::parse_development_key, startup_error::StartupError};
use contact_service::{
    api::auth::{Authenticator, KeySource},
    clock::Clock,
    config::Config,
    crypto::{
        development_keys::DevelopmentKeys,
        keyring::VersionedKeys,
        password_hasher::{PhoneHasher, memory_limit},
        random::Random,
    },
    error::Invalid,
};

/// Reads the development keys, and creates those that are missing.
fn development_keys(config: &Config, random: &Random) -> Result<DevelopmentKeys, StartupError> {
    DevelopmentKeys::load_or_create(&config.data_dir, random)
        .map_err(|reason| StartupError::setting("DATA_DIR", reason))
}

/// Returns `SERVICE_KEYS`, or the development key if it is not set.
pub(super) fn service_keys(
    config: &Config,
    random: &Random,
) -> Result<VersionedKeys, StartupError> {
    if let Some(keys) = &config.service_keys {
        return Ok(keys.clone());
    }
    let keys = development_keys(config, random)?;
    parse_development_key(keys.service_keys())
}

/// Returns the hasher of phone passwords, with `PHONE_PEPPER` or the development pepper.
pub(super) fn phone_hasher(config: &Config, random: &Random) -> Result<PhoneHasher, StartupError> {
    let cost = config.phone_password_cost;
    cost.check_memory(memory_limit::available())
        .map_err(|Invalid(reason)| StartupError::setting("PHONE_PASSWORD_COST", reason))?;
    if config.phone_pepper.is_some() && cost.is_low() {
        tracing::warn!("PHONE_PASSWORD_COST is below the recommended minimum: m=19456,t=2,p=1");
    }
    Ok(PhoneHasher::new(phone_pepper(config, random)?, cost)?)
}

fn phone_pepper(config: &Config, random: &Random) -> Result<VersionedKeys, StartupError> {
    if let Some(peppers) = &config.phone_pepper {
        return Ok(peppers.clone());
    }
    let keys = development_keys(config, random)?;
    parse_development_key(keys.phone_pepper())
}

/// Returns the verifier of access tokens, with the keys of the identity provider or the
/// development key.
pub(super) async fn authenticator(
    config: &Config,
    clock: &Clock,
    random: &Random,
) -> Result<Authenticator, StartupError> {
    let (setting, source) = match &config.jwks {
        Some(KeySource::Discovery) => ("JWT_ISSUER", KeySource::Discovery),
        Some(source) => ("JWT_JWKS", source.clone()),
        None => {
            let keys = development_keys(config, random)?;
            ("JWT_JWKS", KeySource::Development(keys.jwks()))
        }
    };
    let authenticator = Authenticator::new(config.auth.clone(), source, clock.clone()).await;
    authenticator.map_err(|reason| StartupError::setting(setting, reason))
}
