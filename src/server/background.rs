//! What goes on beside the calls: the probe of readiness, and what time brings about.

use std::{future::Future, time::Duration};

use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::SERVICE_NAME;
use crate::{app::App, error::Result, storage::Database};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);
/// Reminders and expiries are days away from what they follow.
const DEADLINES_INTERVAL: Duration = Duration::from_secs(30);

/// Ready means that the database answers.
pub(super) fn start_probe(database: Database, health: HealthReporter) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_ready = None;
        loop {
            ticks.tick().await;
            // A connection whose server vanished never answers.
            let answer = tokio::time::timeout(PROBE_TIMEOUT, database.ping()).await;
            let is_ready = matches!(answer, Ok(Ok(())));
            if was_ready != Some(is_ready) {
                tracing::info!(is_ready, "readiness");
                was_ready = Some(is_ready);
            }
            let status = if is_ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            health.set_service_status(SERVICE_NAME, status).await;
        }
    })
}

/// Forgets what is kept for a time only.
pub(super) fn start_hourly_sweep(app: App) -> JoinHandle<()> {
    every(SWEEP_INTERVAL, move || {
        let app = app.clone();
        async move {
            report("expired request ids", app.forget_expired_requests().await);
            report("old confirmations", app.forget_old_confirmations().await);
            report("dead letters", app.forget_dead_letters().await);
            report("old tries", app.forget_old_tries().await);
        }
    })
}

/// Reminds of pending addresses, and clears those that lapsed.
pub(super) fn start_deadlines(app: App) -> JoinHandle<()> {
    every(DEADLINES_INTERVAL, move || {
        let app = app.clone();
        async move {
            report("reminders", app.remind_of_pending_emails().await);
            report("lapsed addresses", app.clear_lapsed_emails().await);
        }
    })
}

fn every<F, W>(interval: Duration, mut work: F) -> JoinHandle<()>
where
    F: FnMut() -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            work().await;
        }
    })
}

fn report(what: &str, done: Result<u64>) {
    match done {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{what} seen to"),
        Err(error) => tracing::warn!(%error, "{what} could not be seen to"),
    }
}
