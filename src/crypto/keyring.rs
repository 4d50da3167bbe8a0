//! Secret keys that can be rotated: each has a version, the newest is used, and all
//! that are still there are accepted.

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

/// Keys with their versions, newest first.
#[derive(Clone)]
pub struct VersionedKeys(Vec<(u32, SecretSlice<u8>)>);

impl fmt::Debug for VersionedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionedKeys(…)")
    }
}

impl VersionedKeys {
    /// Reads `version:base64`, several with commas between; keys of 32 bytes or more.
    ///
    /// # Errors
    /// [`Invalid`] with what is wrong; the text does not repeat the value.
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

    /// One random key that nothing outlives.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no randomness.
    pub fn ephemeral(random: &Random) -> Result<Self> {
        let key = random.bytes::<MIN_KEY_BYTES>()?;
        Ok(Self(vec![(1, key.to_vec().into())]))
    }

    /// The version that is used for whatever is new.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no key.
    pub fn newest(&self) -> Result<u32> {
        let newest = self.0.first().map(|(version, _)| *version);
        newest.ok_or_else(|| Error::internal("there is no key"))
    }

    /// All versions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(version, _)| *version)
    }

    /// An HMAC-SHA256 under the key of `version`, for one purpose only: no two purposes
    /// share a tag. `None`: there is no such key.
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
    fn keys_are_versioned_and_long_enough() {
        let key = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        let keys = VersionedKeys::parse(&format!(" 2:{key}, 1:{key}\n")).unwrap();
        assert_eq!(keys.newest(), Ok(2));
        assert!(keys.mac(1, "x").is_some() && keys.mac(3, "x").is_none());
        for bad in [
            String::new(),
            key.clone(),
            format!("1:{short}"),
            format!("x:{key}"),
            format!("1:{key},1:{key}"),
            "1:***".into(),
        ] {
            assert!(VersionedKeys::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn purposes_share_no_tag() {
        let key = STANDARD.encode([7; 32]);
        let keys = VersionedKeys::parse(&format!("1:{key}")).unwrap();
        let tag = |purpose| keys.mac(1, purpose).unwrap().finalize().into_bytes();
        assert_ne!(tag("a"), tag("b"));
        assert_eq!(tag("a"), tag("a"));
    }
}
