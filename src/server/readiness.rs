//! Readiness: the periodic probe of the database and the pepper versions, and its publication to
//! gRPC health, `/readyz` and the metrics.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    app::App,
    observability::metrics::{self, NotReady},
    storage::{Database, ProbeOutcome},
};

/// The health service name that reports readiness; the empty name reports liveness.
pub const SERVICE_NAME: &str = "contact.v1.ContactService";

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between probes, each of which writes a row.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Consecutive probes that may find no connection or a locked row before the instance is not ready: an
/// overwritten database file, or many writers, take their time.
const MAX_BUSY_PROBES: u8 = 5;
/// Interval between checks of the pepper versions: another instance may write a hash of another
/// version at any time.
const PEPPER_INTERVAL: Duration = Duration::from_secs(10);

/// Publishes the readiness of this instance. Clones share it.
#[derive(Clone)]
pub(super) struct Readiness {
    health: HealthReporter,
    flag: Arc<AtomicBool>,
}

impl Readiness {
    /// Creates the readiness of an instance that is not ready yet.
    pub(super) fn new(health: HealthReporter) -> Self {
        Self {
            health,
            flag: Arc::default(),
        }
    }

    /// Returns the flag that is set while the instance is ready.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Publishes the cause for which the instance is not ready; `None` if it is ready.
    pub(super) async fn set(&self, cause: Option<NotReady>) {
        let status = if cause.is_none() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.flag.store(cause.is_none(), Ordering::Relaxed);
        metrics::ready(cause);
        self.health.set_service_status(SERVICE_NAME, status).await;
    }
}

/// Probes readiness forever. An instance is ready if the database answers and accepts writes, and the
/// peppers of all stored phone passwords are configured (rule 15).
pub(super) async fn probe(database: Database, app: App, readiness: Readiness) {
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_cause = Some(NotReady::Starting);
    let mut peppers = PepperProbe::default();
    let mut writes = WriteProbe::new();
    loop {
        ticks.tick().await;
        let cause = match writes.run(&database).await {
            None => peppers.run(&app).await,
            cause => cause,
        };
        if last_cause != cause {
            match cause {
                None => tracing::info!(is_ready = true, "readiness changed"),
                // Logged together with the missing versions.
                Some(NotReady::PepperMissing) => {
                    tracing::info!(is_ready = false, "readiness changed");
                }
                Some(cause) => {
                    let cause = cause.as_str();
                    tracing::error!(is_ready = false, cause, "readiness changed");
                }
            }
            last_cause = cause;
        }
        readiness.set(cause).await;
    }
}

/// Checks that the database answers and accepts writes.
struct WriteProbe {
    /// Selects the row that is written, so that instances do not wait for one another.
    seed: u8,
    /// Consecutive probes that wrote nothing.
    busy: u8,
}

impl WriteProbe {
    fn new() -> Self {
        // The hasher is seeded at random, which is random enough for a choice between rows.
        let [seed, ..] = RandomState::new().hash_one(()).to_le_bytes();
        Self { seed, busy: 0 }
    }

    async fn run(&mut self, database: &Database) -> Option<NotReady> {
        // A connection whose server vanished never answers.
        let read = tokio::time::timeout(PROBE_TIMEOUT, database.probe_read()).await;
        let read = read.unwrap_or(Err(NotReady::DatabaseUnreachable));
        if let Err(cause) = read {
            return Some(cause);
        }
        let write = tokio::time::timeout(PROBE_TIMEOUT, database.probe_write(self.seed)).await;
        match write.unwrap_or(Ok(ProbeOutcome::Busy)) {
            Ok(ProbeOutcome::Written) => self.busy = 0,
            Ok(ProbeOutcome::Busy) => self.busy = self.busy.saturating_add(1),
            Err(cause) => return Some(cause),
        }
        (self.busy >= MAX_BUSY_PROBES).then_some(NotReady::WriteFailed)
    }
}

/// Checks that the pepper versions of all stored phone passwords are configured.
#[derive(Default)]
struct PepperProbe {
    /// The versions that are not configured; `None` until the first successful check.
    missing: Option<Vec<i64>>,
    last_check: Option<Instant>,
}

impl PepperProbe {
    async fn run(&mut self, app: &App) -> Option<NotReady> {
        let is_recent = |last: Instant| last.elapsed() < PEPPER_INTERVAL;
        if !(self.is_complete() && self.last_check.is_some_and(is_recent)) {
            self.check(app).await;
        }
        match &self.missing {
            None => Some(NotReady::DatabaseUnreachable),
            Some(missing) => (!missing.is_empty()).then_some(NotReady::PepperMissing),
        }
    }

    fn is_complete(&self) -> bool {
        self.missing.as_ref().is_some_and(Vec::is_empty)
    }

    /// Updates the missing versions. A failure keeps the last result; the next probe retries.
    async fn check(&mut self, app: &App) {
        let missing = match app.missing_pepper_versions().await {
            Ok(missing) => missing,
            Err(error) => return tracing::warn!(%error, "check of pepper versions failed"),
        };
        self.last_check = Some(Instant::now());
        metrics::missing_pepper_versions(missing.len());
        // Logged when it changes, not with every probe.
        if *self.missing.get_or_insert_default() != missing {
            if missing.is_empty() {
                tracing::info!("pepper versions of all stored phone passwords configured");
            } else {
                tracing::error!(
                    ?missing,
                    "not ready: PHONE_PEPPER lacks pepper versions of stored phone passwords"
                );
            }
        }
        self.missing = Some(missing);
    }
}
