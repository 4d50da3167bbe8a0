//! What goes on beside the calls: the probe of readiness, and what time brings about.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use tokio::time::{Instant, MissedTickBehavior};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::SERVICE_NAME;
use crate::{
    api::auth::Authenticator,
    app::App,
    error::Result,
    observability::metrics::{self, Metrics, NotReady},
    storage::{Database, Probed},
};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Each writes a row.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Probes in a row that may find no connection or a locked row: an overwritten database file, or
/// many writers, take their time.
const MOST_BUSY: u8 = 5;
/// A hash of another pepper version may be written by another instance at any time.
const PEPPER_INTERVAL: Duration = Duration::from_secs(10);
/// The count reads the entries of up to 100,000 hashes of each version.
const HASH_COUNT_INTERVAL: Duration = Duration::from_mins(5);
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);
/// What holds personal data that nobody needs any more.
const CLEAN_INTERVAL: Duration = Duration::from_mins(10);
/// Reminders and expiries are days away from what they follow.
const DEADLINES_INTERVAL: Duration = Duration::from_secs(30);

/// What is measured waits in memory for so long.
const SUM_UP_INTERVAL: Duration = Duration::from_secs(5);
/// Prometheus usually asks as often.
const DEPTH_INTERVAL: Duration = Duration::from_secs(15);

/// Whether the service is ready, as health checks are told.
#[derive(Clone)]
pub(super) struct Readiness {
    pub(super) health: HealthReporter,
    pub(super) flag: Arc<AtomicBool>,
}

impl Readiness {
    /// Tells that the service is ready, or why it is not.
    pub(super) async fn tell(&self, not: Option<NotReady>) {
        let status = if not.is_none() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.flag.store(not.is_none(), Ordering::Relaxed);
        metrics::ready(not);
        self.health.set_service_status(SERVICE_NAME, status).await;
    }
}

/// Ready means that the database answers and takes writes, and that the peppers of all stored phone
/// passwords are configured (rule 15).
pub(super) async fn probe(database: Database, app: App, readiness: Readiness) {
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Some(NotReady::Starting);
    let mut peppers = Peppers::default();
    let mut writes = Writes {
        seed: app.random_byte(),
        busy: 0,
    };
    loop {
        ticks.tick().await;
        let not = match writes.why_not(&database).await {
            None => peppers.why_not(&app).await,
            not => not,
        };
        if known != not {
            match not {
                None => tracing::info!(is_ready = true, "readiness"),
                // Logged with the versions already.
                Some(NotReady::PepperMissing) => tracing::info!(is_ready = false, "readiness"),
                Some(cause) => {
                    tracing::error!(is_ready = false, cause = cause.as_str(), "readiness");
                }
            }
            known = not;
        }
        readiness.tell(not).await;
    }
}

/// Whether the database answers and takes writes.
struct Writes {
    /// Which row is written.
    seed: u8,
    /// Probes in a row that wrote nothing.
    busy: u8,
}

impl Writes {
    async fn why_not(&mut self, database: &Database) -> Option<NotReady> {
        // A connection whose server vanished never answers.
        let read = tokio::time::timeout(PROBE_TIMEOUT, database.probe_read()).await;
        let read = read.unwrap_or(Err(NotReady::DatabaseUnreachable));
        if let Err(cause) = read {
            return Some(cause);
        }
        let write = tokio::time::timeout(PROBE_TIMEOUT, database.probe_write(self.seed)).await;
        match write.unwrap_or(Ok(Probed::Busy)) {
            Ok(Probed::Written) => self.busy = 0,
            Ok(Probed::Busy) => self.busy = self.busy.saturating_add(1),
            Err(cause) => return Some(cause),
        }
        (self.busy >= MOST_BUSY).then_some(NotReady::WriteFailed)
    }
}

/// The pepper versions that stored phone passwords need and that are not configured.
#[derive(Default)]
struct Peppers {
    /// `None` until the database was asked.
    missing: Option<Vec<i64>>,
    last_check: Option<Instant>,
}

impl Peppers {
    async fn why_not(&mut self, app: &App) -> Option<NotReady> {
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

    /// A failure leaves what is known: the next probe tries again.
    async fn check(&mut self, app: &App) {
        let missing = match app.missing_pepper_versions().await {
            Ok(missing) => missing,
            Err(error) => return tracing::warn!(%error, "pepper versions were not checked"),
        };
        self.last_check = Some(Instant::now());
        metrics::missing_pepper_versions(missing.len());
        // Logged once, not with every probe.
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

/// Counts the stored phone passwords by pepper version.
pub(super) fn count_hashes(app: App) -> impl Future<Output = ()> {
    let mut known: BTreeSet<_> = app.pepper_versions().map(i64::from).collect();
    for version in &known {
        metrics::phone_password_hashes(*version, None);
    }
    async move {
        let mut ticks = tokio::time::interval(HASH_COUNT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match app.count_hashes_by_pepper().await {
                Ok(counts) => {
                    known.extend(counts.keys().copied());
                    for version in &known {
                        let count = counts.get(version).copied().unwrap_or_default();
                        metrics::phone_password_hashes(*version, Some(count));
                    }
                }
                Err(error) => tracing::warn!(%error, "phone passwords were not counted"),
            }
        }
    }
}

/// Sums up what is measured, and measures what no call does.
pub(super) async fn measure(metrics: Metrics, database: Database, authenticator: Authenticator) {
    every(SUM_UP_INTERVAL, move || {
        metrics.run_upkeep();
        metrics::token_keys_age(authenticator.keys_age(), authenticator.keys_max_stale());
        for (name, pool) in database.pools() {
            metrics::connections(name, pool);
        }
        std::future::ready(())
    })
    .await;
}

/// Counts the mails that wait.
pub(super) async fn count_mails(app: App) {
    every(DEPTH_INTERVAL, move || {
        let app = app.clone();
        async move {
            match app.count_mails().await {
                Ok(depth) => metrics::outbox(depth),
                Err(error) => tracing::warn!(%error, "mails could not be counted"),
            }
        }
    })
    .await;
}

/// Counts the contacts whose phone passwords were guessed at.
pub(super) async fn count_failed_contacts(app: App) {
    every(DEPTH_INTERVAL, move || {
        let app = app.clone();
        async move {
            match app.count_failed_contacts().await {
                Ok(contacts) => metrics::failed_contacts(contacts),
                Err(error) => tracing::warn!(%error, "failed password checks were not counted"),
            }
        }
    })
    .await;
}

/// Forgets what is kept for a time only.
pub(super) async fn sweep_hourly(app: App) {
    every(SWEEP_INTERVAL, move || {
        let app = app.clone();
        async move {
            report("old confirmations", app.forget_old_confirmations().await);
            report("dead letters", app.forget_dead_letters().await);
            report("old tries", app.forget_old_tries().await);
            report("old mail counts", app.forget_old_mail_counts().await);
            let checks = app.forget_old_channel_checks().await;
            report("old channel checks", checks);
            let numbers = app.forget_sealed_numbers().await;
            report("numbers of erased customers", numbers);
        }
    })
    .await;
}

/// Deletes old events. It may take hours where there are many.
pub(super) async fn retain_events(app: App, kept_for: TimeDelta) {
    every(SWEEP_INTERVAL, move || {
        let app = app.clone();
        async move { report("old events", app.forget_old_events(kept_for).await) }
    })
    .await;
}

/// Deletes what holds personal data for no longer than it is needed.
pub(super) async fn clean(app: App) {
    every(CLEAN_INTERVAL, move || {
        let app = app.clone();
        async move {
            report("expired request ids", app.forget_expired_requests().await);
            report("files of erased customers", app.clean_files().await);
        }
    })
    .await;
}

/// Reminds of pending addresses, and clears those that lapsed.
pub(super) async fn see_to_deadlines(app: App) {
    every(DEADLINES_INTERVAL, move || {
        let app = app.clone();
        async move {
            report("reminders", app.remind_of_pending_emails().await);
            report("lapsed addresses", app.clear_lapsed_emails().await);
        }
    })
    .await;
}

async fn every<F, W>(interval: Duration, mut work: F)
where
    F: FnMut() -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}

fn report(what: &str, done: Result<u64>) {
    match done {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{what} seen to"),
        Err(error) => tracing::warn!(%error, "{what} could not be seen to"),
    }
}
