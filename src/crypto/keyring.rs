//! Secret keys with versions, for rotation: the newest key is used, and all configured keys are
//! accepted.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::{
    crypto::random::Random,
    error::{Error, Invalid, Result},
};

const MIN_KEY_BYTES: usize = 32;

/// A set of keys with their versions, newest first. `{:?}` does not print them.
#[derive(Clone)]
pub struct VersionedKeys(Vec<(u32, SecretSlice<u8>)>);

impl fmt::Debug for VersionedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionedKeys(…)")
    }
}

impl VersionedKeys {
    /// Parses a comma-separated list of `version:base64`, with keys of at least 32 bytes.
    ///
    /// # Errors
    /// [`Invalid`] with the reason. Its text does not repeat the value.
    pub fn parse(text: &str) -> std::result::Result<Self, Invalid> {
        let form = || Invalid::new("must be version:base64, several with commas between");
        let mut keys: Vec<(u32, SecretSlice<u8>)> = Vec::new();
        for part in text.trim().split(',') {
            let (version, key) = part.trim().split_once(':').ok_or_else(form)?;
            let version = version.parse().map_err(|_| form())?;
            let key = STANDARD.decode(key).map_err(|_| form())?;
            if key.len() < MIN_KEY_BYTES {
                return Err(Invalid::new(format!(
                    "must have keys of at least {MIN_KEY_BYTES} bytes"
                )));
            }
            if keys.iter().any(|(known, _)| *known == version) {
                return Err(Invalid::new("must not name a version twice"));
            }
            keys.push((version, key.into()));
        }
        Ok(Self(keys))
    }

    /// Generates one random key for the lifetime of the process.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system provides no randomness.
    pub fn ephemeral(random: &Random) -> Result<Self> {
        let key = random.bytes::<MIN_KEY_BYTES>()?;
        Ok(Self(vec![(1, key.to_vec().into())]))
    }

    /// Returns the version of the newest key, which is used to sign, encrypt and hash.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no key.
    pub fn newest(&self) -> Result<u32> {
        let newest = self.0.first().map(|(version, _)| *version);
        newest.ok_or_else(|| Error::internal("there is no key"))
    }

    /// Iterates over all versions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(version, _)| *version)
    }

    /// Creates an HMAC-SHA256 under the key of `version`. The purpose separates domains: equal
    /// messages have different tags for different purposes. `None` if there is no such key.
    pub fn mac(&self, version: u32, purpose: &str) -> Option<Hmac<Sha256>> {
        let (_, key) = self.0.iter().find(|(known, _)| *known == version)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_versions_and_at_least_32_bytes() {
        let key = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        let keys = VersionedKeys::parse(&format!(" 2:{key}, 1:{key}\n")).unwrap();
        assert_eq!(keys.newest(), Ok(2));
        assert!(keys.mac(1, "x").is_some() && keys.mac(3, "x").is_none());
        for invalid in [
            String::new(),
            key.clone(),
            format!("1:{short}"),
            format!("x:{key}"),
            format!("1:{key},1:{key}"),
            "1:***".into(),
        ] {
            assert!(VersionedKeys::parse(&invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn tags_of_different_purposes_differ() {
        let key = STANDARD.encode([7; 32]);
        let keys = VersionedKeys::parse(&format!("1:{key}")).unwrap();
        let tag = |purpose| keys.mac(1, purpose).unwrap().finalize().into_bytes();
        assert_ne!(tag("a"), tag("b"));
        assert_eq!(tag("a"), tag("a"));
    }
}
