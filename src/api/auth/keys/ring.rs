//! The keys of one key set and their refresh.
//!
//! Requests read the keys without a lock. They wait for a refresh, which all requests share, only if
//! their key is unknown or the keys are older than [`MAX_AGE`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    set::{KeySet, NoKey, VerifyingKey},
    source::JwksReader,
};
use crate::{
    clock::Clock,
    error::{Error, Result},
};

/// The minimum interval between attempts to refresh, successful or not.
const MIN_REFRESH_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// The age of keys at which a request starts a refresh without waiting for it, so that under regular
/// traffic no request waits.
const REFRESH_AGE: TimeDelta = TimeDelta::minutes(5);
/// The age of keys at which requests wait for a refresh, so that removed keys are no longer accepted.
pub(crate) const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// How long requests wait for a refresh, from its begin.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval after which the next attempt to refresh has been made.
const RETRY_AFTER: Duration = Duration::from_mins(1);

struct LoadedKeys {
    keys: KeySet,
    load_time: DateTime<Utc>,
}

/// The keys of one source, refreshed on demand.
pub(crate) struct KeyRing {
    loaded: ArcSwap<LoadedKeys>,
    /// `None` for keys that never change.
    reader: Option<JwksReader>,
    last_refresh: Mutex<Option<Refresh>>,
    /// Maximum age of the keys; older ones are rejected.
    max_stale: TimeDelta,
    /// Set while requests are rejected because of the age of the keys.
    is_expired: AtomicBool,
    clock: Clock,
}

/// A refresh in progress or completed. Clones refer to the same one.
#[derive(Clone)]
struct Refresh {
    begin: DateTime<Utc>,
    /// The time until which requests wait for it.
    deadline: Instant,
    /// Closed when the refresh ends, also by a panic, which leaves the keys unchanged.
    running: watch::Receiver<()>,
}

impl Refresh {
    fn is_running(&self) -> bool {
        self.running.has_changed().is_ok()
    }

    async fn wait(mut self) {
        while self.running.changed().await.is_ok() {}
    }
}

impl KeyRing {
    /// Creates a ring of keys that never change.
    pub(crate) fn fixed(keys: KeySet, clock: Clock) -> Self {
        Self::new(keys, clock.now(), None, TimeDelta::MAX, clock)
    }

    /// Loads the keys from `reader`. This does not count as a refresh.
    ///
    /// # Errors
    /// One line with the cause, also if the source has no usable key.
    pub(crate) async fn load(
        reader: JwksReader,
        max_stale: TimeDelta,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let load_time = clock.now();
        let keys = reader.read().await?;
        if keys.is_empty() {
            return Err(format!(
                "{}: it contains no usable public key",
                reader.location()
            ));
        }
        Ok(Self::new(keys, load_time, Some(reader), max_stale, clock))
    }

    fn new(
        keys: KeySet,
        load_time: DateTime<Utc>,
        reader: Option<JwksReader>,
        max_stale: TimeDelta,
        clock: Clock,
    ) -> Self {
        Self {
            loaded: ArcSwap::from_pointee(LoadedKeys { keys, load_time }),
            reader,
            last_refresh: Mutex::default(),
            max_stale,
            is_expired: AtomicBool::new(false),
            clock,
        }
    }

    /// Returns the time since the keys were loaded; zero for keys that never change. It is also positive
    /// after the clock was set back: otherwise the keys would not be refreshed for as long.
    pub(crate) fn age(&self) -> TimeDelta {
        if self.reader.is_none() {
            return TimeDelta::zero();
        }
        (self.clock.now() - self.loaded.load().load_time).abs()
    }

    /// Starts a refresh of stale keys, and waits for it, for at most 2 s, if they are older than
    /// [`MAX_AGE`].
    pub(crate) async fn refresh_if_stale(self: &Arc<Self>) {
        let age = self.age();
        if let Some(refresh) = self.start_refresh_if_stale(age)
            && age > MAX_AGE
        {
            let deadline = refresh.deadline;
            let _ = timeout_at(deadline, refresh.wait()).await;
        }
    }

    /// Returns true while the key set contains `key`. Starts a refresh of stale keys without waiting for
    /// it.
    ///
    /// # Errors
    /// [`Error::TokenKeysUnavailable`].
    pub(crate) fn contains(self: &Arc<Self>, key: &Arc<VerifyingKey>) -> Result<bool> {
        self.start_refresh_if_stale(self.age());
        self.check_age()?;
        Ok(self.loaded.load().keys.contains(key))
    }

    /// Returns the key of a token, after a refresh if it is unknown.
    ///
    /// # Errors
    /// [`Error::TokenKeysUnavailable`].
    pub(crate) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<std::result::Result<Arc<VerifyingKey>, NoKey>> {
        self.refresh_if_stale().await;
        self.check_age()?;
        let found = self.loaded.load().keys.find(kid, algorithm);
        if self.reader.is_none() || !matches!(found, Err(NoKey::UnknownKid)) {
            return Ok(found);
        }
        // Joins a refresh that is in progress.
        self.start_refresh().wait().await;
        Ok(self.loaded.load().keys.find(kid, algorithm))
    }

    fn check_age(&self) -> Result<()> {
        let age = self.age();
        if age <= self.max_stale {
            return Ok(());
        }
        if !self.is_expired.swap(true, Ordering::Relaxed) {
            let location = self.reader.as_ref().map(JwksReader::location);
            let age_hours = age.num_hours();
            tracing::error!(
                location,
                age_hours,
                "token keys are older than JWT_JWKS_MAX_STALE: requests rejected until the next refresh"
            );
        }
        Err(Error::TokenKeysUnavailable {
            retry_after: RETRY_AFTER,
        })
    }

    fn start_refresh_if_stale(self: &Arc<Self>, age: TimeDelta) -> Option<Refresh> {
        (age > REFRESH_AGE).then(|| self.start_refresh())
    }

    /// Starts a refresh, or returns the last one if it is in progress or began less than a minute ago.
    /// It runs in its own task, so that a client that cancels its request does not abort it.
    fn start_refresh(self: &Arc<Self>) -> Refresh {
        let begin = self.clock.now();
        let mut last = self
            .last_refresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_recent = |last: &&Refresh| {
            last.is_running() || (begin - last.begin).abs() < MIN_REFRESH_INTERVAL
        };
        if let Some(last) = last.as_ref().filter(is_recent) {
            return last.clone();
        }
        let (running_guard, running) = watch::channel(());
        let refresh = Refresh {
            begin,
            deadline: Instant::now() + REFRESH_TIMEOUT,
            running,
        };
        *last = Some(refresh.clone());
        let ring = Arc::clone(self);
        tokio::spawn(async move {
            ring.refresh(begin).await;
            drop(running_guard);
        });
        refresh
    }

    async fn refresh(&self, load_time: DateTime<Utc>) {
        let Some(reader) = &self.reader else {
            return;
        };
        let keys = match reader.read().await {
            Ok(keys) => keys,
            Err(error) => {
                let age_minutes = self.age().num_minutes();
                return tracing::warn!(%error, age_minutes, "refresh of token keys failed");
            }
        };
        if keys.is_empty() && !self.loaded.load().keys.is_empty() {
            let location = reader.location();
            tracing::error!(
                location,
                "no token keys left: all tokens of the issuer rejected"
            );
        }
        self.loaded.store(Arc::new(LoadedKeys { keys, load_time }));
        if self.is_expired.swap(false, Ordering::Relaxed) {
            tracing::info!("token keys refreshed");
        }
    }
}
