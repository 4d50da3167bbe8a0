//! The keys of one key set, and when they are read again.
//!
//! Requests read the keys without a lock. They wait for a refresh, which all of them share, only if
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

use crate::api::auth::keys::{
    set::{KeySet, NoKey, VerifyingKey},
    source::JwksReader,
};
use crate::{
    clock::Clock,
    error::{Error, Result},
};

/// At most one attempt in this time, whoever asks and whether it succeeds.
const MIN_REFRESH_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// How old keys get before a request begins a refresh without waiting for it, so that where there
/// are requests none of them waits.
const REFRESH_AGE: TimeDelta = TimeDelta::minutes(5);
/// How old keys get before requests wait for a refresh, so that removed ones stop being accepted.
pub(in crate::api::auth) const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// How long requests wait for a refresh, counted from its begin.
const PATIENCE: Duration = Duration::from_secs(2);
/// When the next attempt to read keys that are too old may have been made.
const RETRY_AFTER: Duration = Duration::from_mins(1);

struct Loaded {
    keys: KeySet,
    at: DateTime<Utc>,
}

/// Keys that renew themselves from where they came.
pub(in crate::api::auth) struct KeyRing {
    loaded: ArcSwap<Loaded>,
    /// `None` for keys that never change.
    reader: Option<JwksReader>,
    last_refresh: Mutex<Option<Refresh>>,
    /// How old keys get before none of them is accepted.
    max_stale: TimeDelta,
    /// Set while requests are rejected because the keys are that old.
    is_closed: AtomicBool,
    clock: Clock,
}

/// A refresh that runs or ran. Clones are the same one.
#[derive(Clone)]
struct Refresh {
    begin: DateTime<Utc>,
    patience: Instant,
    /// Closed by its end, also by a panic, which leaves the keys as they were.
    running: watch::Receiver<()>,
}

impl Refresh {
    fn is_running(&self) -> bool {
        self.running.has_changed().is_ok()
    }

    async fn wait_to_end(mut self) {
        while self.running.changed().await.is_ok() {}
    }
}

impl KeyRing {
    /// Keys that never change.
    pub(in crate::api::auth) fn fixed(keys: KeySet, clock: Clock) -> Self {
        Self::new(keys, clock.now(), None, TimeDelta::MAX, clock)
    }

    /// Keys from `reader`, read once now. This first reading is not counted as a refresh.
    ///
    /// # Errors
    /// One line that says why they cannot be read, or that there are none.
    pub(in crate::api::auth) async fn read(
        reader: JwksReader,
        max_stale: TimeDelta,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let at = clock.now();
        let keys = reader.read().await?;
        if keys.is_empty() {
            return Err(format!("{}: it holds no usable public key", reader.place()));
        }
        Ok(Self::new(keys, at, Some(reader), max_stale, clock))
    }

    fn new(
        keys: KeySet,
        at: DateTime<Utc>,
        reader: Option<JwksReader>,
        max_stale: TimeDelta,
        clock: Clock,
    ) -> Self {
        Self {
            loaded: ArcSwap::from_pointee(Loaded { keys, at }),
            reader,
            last_refresh: Mutex::default(),
            max_stale,
            is_closed: AtomicBool::new(false),
            clock,
        }
    }

    /// The time since the keys were read; zero for keys that never change. A clock that was set
    /// back ages keys too: otherwise they would stay young for as long.
    pub(in crate::api::auth) fn age(&self) -> TimeDelta {
        if self.reader.is_none() {
            return TimeDelta::zero();
        }
        (self.clock.now() - self.loaded.load().at).abs()
    }

    /// Begins to read old keys again, and waits for the outcome if they are too old, for 2 s at most.
    pub(in crate::api::auth) async fn freshen(self: &Arc<Self>) {
        let age = self.age();
        if let Some(refresh) = self.refresh_when_old(age)
            && age > MAX_AGE
        {
            let patience = refresh.patience;
            let _ = timeout_at(patience, refresh.wait_to_end()).await;
        }
    }

    /// Returns true while `key` is in the key set. Begins to read old keys again, and waits for
    /// nothing.
    ///
    /// # Errors
    /// [`Error::TokenKeysUnavailable`].
    pub(in crate::api::auth) fn holds(self: &Arc<Self>, key: &Arc<VerifyingKey>) -> Result<bool> {
        self.refresh_when_old(self.age());
        self.check_age()?;
        Ok(self.loaded.load().keys.holds(key))
    }

    /// The key that a token names, after a refresh if it is unknown.
    ///
    /// # Errors
    /// [`Error::TokenKeysUnavailable`].
    pub(in crate::api::auth) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<std::result::Result<Arc<VerifyingKey>, NoKey>> {
        self.freshen().await;
        self.check_age()?;
        let found = self.loaded.load().keys.find(kid, algorithm);
        if self.reader.is_none() || !matches!(found, Err(NoKey::UnknownKid)) {
            return Ok(found);
        }
        // A refresh that runs already is waited for here, and its outcome is used.
        self.refresh().wait_to_end().await;
        Ok(self.loaded.load().keys.find(kid, algorithm))
    }

    fn check_age(&self) -> Result<()> {
        let age = self.age();
        if age <= self.max_stale {
            return Ok(());
        }
        if !self.is_closed.swap(true, Ordering::Relaxed) {
            let (place, age_hours) = (self.reader.as_ref().map(JwksReader::place), age.num_hours());
            tracing::error!(
                place,
                age_hours,
                "token keys are older than JWT_JWKS_MAX_STALE: requests are rejected until they can be read"
            );
        }
        Err(Error::TokenKeysUnavailable {
            retry_after: RETRY_AFTER,
        })
    }

    fn refresh_when_old(self: &Arc<Self>, age: TimeDelta) -> Option<Refresh> {
        (age > REFRESH_AGE).then(|| self.refresh())
    }

    /// Begins a refresh, unless one runs or was begun within the minute. It runs as a task of its
    /// own, so that a caller who hangs up does not end it.
    fn refresh(self: &Arc<Self>) -> Refresh {
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
        let (ends, running) = watch::channel(());
        let refresh = Refresh {
            begin,
            patience: Instant::now() + PATIENCE,
            running,
        };
        *last = Some(refresh.clone());
        let ring = Arc::clone(self);
        tokio::spawn(async move {
            ring.read_again(begin).await;
            drop(ends);
        });
        refresh
    }

    async fn read_again(&self, at: DateTime<Utc>) {
        let Some(reader) = &self.reader else {
            return;
        };
        let keys = match reader.read().await {
            Ok(keys) => keys,
            Err(error) => {
                let age_minutes = self.age().num_minutes();
                return tracing::warn!(%error, age_minutes, "token keys could not be read again");
            }
        };
        if keys.is_empty() && !self.loaded.load().keys.is_empty() {
            let place = reader.place();
            tracing::error!(
                place,
                "token keys are none: every token of the issuer is rejected"
            );
        }
        self.loaded.store(Arc::new(Loaded { keys, at }));
        if self.is_closed.swap(false, Ordering::Relaxed) {
            tracing::info!("token keys were read again");
        }
    }
}
