//! The keys of each issuer. A token is verified only with the keys of its own issuer.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;

use super::{
    ring::KeyRing,
    set::KeySet,
    source::{JwksReader, KeySource},
};
use crate::{
    api::auth::settings::AuthSettings,
    clock::Clock,
    error::{Error, Result, TokenFault},
};

/// Issuers with their keys; several issuers may share one key set.
pub(crate) struct IssuerKeys(Vec<(String, Arc<KeyRing>)>);

impl IssuerKeys {
    /// Loads the keys of the issuers in `settings`.
    ///
    /// # Errors
    /// One line that states why the keys could not be loaded, without secrets.
    pub(crate) async fn load(
        source: KeySource,
        settings: &AuthSettings,
        clock: &Clock,
    ) -> std::result::Result<Self, String> {
        let (issuers, max_stale) = (&settings.issuers, settings.keys_max_stale);
        let load = async |reader: JwksReader| {
            let ring = KeyRing::load(reader, max_stale, clock.clone());
            ring.await.map(Arc::new)
        };
        let rings = match source {
            KeySource::Jwks(location) => vec![load(JwksReader::new(location)?).await?],
            KeySource::Discovery => {
                let readers = issuers.iter().map(|issuer| JwksReader::discovery(issuer));
                let readers: Vec<_> = readers.collect::<std::result::Result<_, _>>()?;
                try_join_all(readers.into_iter().map(load)).await?
            }
            KeySource::Development(document) => {
                let keys = KeySet::parse(document.as_bytes())
                    .map_err(|why| format!("the development key set: {why}"))?;
                vec![Arc::new(KeyRing::fixed(keys, clock.clone()))]
            }
        };
        let rings = rings.iter().cycle().cloned();
        Ok(Self(issuers.iter().cloned().zip(rings).collect()))
    }

    /// Returns the keys of `issuer`.
    ///
    /// # Errors
    /// [`TokenFault::Issuer`] if the issuer is not accepted.
    pub(crate) fn of(&self, issuer: &str) -> Result<&Arc<KeyRing>> {
        let found = self.0.iter().find(|(own, _)| own == issuer);
        found
            .map(|(_, keys)| keys)
            .ok_or_else(|| Error::token_claim(TokenFault::Issuer, "iss"))
    }

    /// Returns the age of the oldest keys; zero for keys that never change.
    pub(crate) fn age(&self) -> Duration {
        let ages = self.0.iter().map(|(_, keys)| keys.age());
        let oldest = ages.max().unwrap_or_default();
        oldest.to_std().unwrap_or_default()
    }
}
