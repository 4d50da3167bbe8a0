//! The keys at hand, and when they are read again.
//!
//! Calls read the keys without a lock. Only a call whose key is unknown waits, for the one
//! refresh that runs.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinHandle,
};

use super::{
    key_set::{KeySet, NoKey, VerifyingKey},
    key_source::JwksReader,
};
use crate::clock::Clock;

/// At most one attempt in this time, whoever asks and whether it succeeds.
const MIN_REFRESH_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// How old keys get before they are read again, so that removed ones stop being accepted.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);

struct Loaded {
    keys: KeySet,
    at: DateTime<Utc>,
}

/// Keys that renew themselves from where they came.
pub(super) struct KeyRing {
    loaded: ArcSwap<Loaded>,
    /// `None` for keys that never change.
    reader: Option<JwksReader>,
    /// When a refresh was last begun; held while one runs.
    last_refresh: Arc<Mutex<Option<DateTime<Utc>>>>,
    clock: Clock,
}

impl KeyRing {
    /// Keys that never change.
    pub(super) fn fixed(keys: KeySet, clock: Clock) -> Self {
        Self::new(keys, clock.now(), None, clock)
    }

    /// Keys from `reader`, read once now. This first reading is not counted as a refresh.
    ///
    /// # Errors
    /// One line that says why they cannot be read.
    pub(super) async fn read(reader: JwksReader, clock: Clock) -> Result<Self, String> {
        let at = clock.now();
        let keys = reader.read().await?;
        Ok(Self::new(keys, at, Some(reader), clock))
    }

    fn new(keys: KeySet, at: DateTime<Utc>, reader: Option<JwksReader>, clock: Clock) -> Self {
        Self {
            loaded: ArcSwap::from_pointee(Loaded { keys, at }),
            reader,
            last_refresh: Arc::default(),
            clock,
        }
    }

    /// How long ago the keys were read; zero for keys that never change.
    pub(super) fn age(&self) -> Duration {
        let age = self.clock.now() - self.loaded.load().at;
        let age = self.reader.is_some().then_some(age);
        age.and_then(|age| age.to_std().ok()).unwrap_or_default()
    }

    /// Returns true while `key` is in the key set, that is until the next refresh.
    pub(super) fn holds(self: &Arc<Self>, key: &Arc<VerifyingKey>) -> bool {
        if self.reader.is_some() {
            self.refresh_when_old();
        }
        self.loaded.load().keys.holds(key)
    }

    /// The key that a token names, after a refresh if it is unknown.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<VerifyingKey>, NoKey> {
        let found = self.find_at_hand(kid, algorithm);
        if self.reader.is_none() {
            return found;
        }
        match found {
            Err(NoKey::UnknownKid) => {
                // A refresh that runs already is waited for here, and its outcome is used.
                let last = Arc::clone(&self.last_refresh).lock_owned().await;
                if let Some(running) = self.begin_refresh(last) {
                    // A refresh that panicked has left the keys at hand as they were.
                    running.await.ok();
                }
                self.find_at_hand(kid, algorithm)
            }
            found => {
                self.refresh_when_old();
                found
            }
        }
    }

    fn find_at_hand(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<VerifyingKey>, NoKey> {
        self.loaded.load().keys.find(kid, algorithm)
    }

    fn refresh_when_old(self: &Arc<Self>) {
        let age = self.clock.now() - self.loaded.load().at;
        // A clock that was set back would leave keys young for good.
        if age.abs() > MAX_AGE
            && let Ok(last) = Arc::clone(&self.last_refresh).try_lock_owned()
        {
            self.begin_refresh(last);
        }
    }

    /// Begins a refresh unless there was one within the minute. It runs as a task of its own, so
    /// that a caller who hangs up does not break it off.
    fn begin_refresh(
        self: &Arc<Self>,
        mut last: OwnedMutexGuard<Option<DateTime<Utc>>>,
    ) -> Option<JoinHandle<()>> {
        let now = self.clock.now();
        if last.is_some_and(|last| (now - last).abs() < MIN_REFRESH_INTERVAL) {
            return None;
        }
        *last = Some(now);
        let ring = Arc::clone(self);
        Some(tokio::spawn(async move {
            ring.refresh(now).await;
            drop(last);
        }))
    }

    async fn refresh(&self, at: DateTime<Utc>) {
        let Some(reader) = &self.reader else {
            return;
        };
        match reader.read().await {
            Ok(keys) => self.loaded.store(Arc::new(Loaded { keys, at })),
            Err(error) => {
                tracing::warn!(%error, "the token keys cannot be read again; those at hand go on serving");
            }
        }
    }
}
