//! The keys of every issuer: a token is checked with those of its own issuer alone.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;

use crate::api::auth::{
    AuthSettings, KeySource,
    keys::{ring::KeyRing, set::KeySet, source::JwksReader},
};
use crate::{
    clock::Clock,
    error::{Error, Result, TokenFault},
};

/// Issuers with their keys; several issuers may share one key set.
pub(in crate::api::auth) struct IssuerKeys(Vec<(String, Arc<KeyRing>)>);

impl IssuerKeys {
    /// Reads the keys of the issuers once.
    ///
    /// # Errors
    /// One line that says why there are none, free of secrets.
    pub(in crate::api::auth) async fn read(
        source: KeySource,
        settings: &AuthSettings,
        clock: &Clock,
    ) -> std::result::Result<Self, String> {
        let (issuers, max_stale) = (&settings.issuers, settings.keys_max_stale);
        let read = async |reader: JwksReader| {
            let ring = KeyRing::read(reader, max_stale, clock.clone());
            ring.await.map(Arc::new)
        };
        let rings = match source {
            KeySource::Jwks(location) => vec![read(JwksReader::new(location)?).await?],
            KeySource::Discovery => {
                let readers = issuers.iter().map(|issuer| JwksReader::discovery(issuer));
                let readers: Vec<_> = readers.collect::<std::result::Result<_, _>>()?;
                try_join_all(readers.into_iter().map(read)).await?
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

    /// The keys of `issuer`.
    ///
    /// # Errors
    /// [`TokenFault::Issuer`] for one that is not accepted.
    pub(in crate::api::auth) fn of(&self, issuer: &str) -> Result<&Arc<KeyRing>> {
        let found = self.0.iter().find(|(own, _)| own == issuer);
        found
            .map(|(_, keys)| keys)
            .ok_or_else(|| Error::token_claim(TokenFault::Issuer, "iss"))
    }

    /// The age of the oldest keys; zero for keys that never change.
    pub(in crate::api::auth) fn age(&self) -> Duration {
        let ages = self.0.iter().map(|(_, keys)| keys.age());
        let oldest = ages.max().unwrap_or_default();
        oldest.to_std().unwrap_or_default()
    }
}
