//! The background jobs of an instance: gauges that no request updates, deletion of expired data, and
//! the expiry of pending e-mail addresses.

use std::{collections::BTreeSet, future::Future, time::Duration};

use chrono::TimeDelta;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::{
    api::auth::Authenticator,
    app::App,
    error::Result,
    observability::metrics::{self, Metrics},
    storage::Database,
};

/// A count reads the index entries of up to 100,000 hashes of each version.
const HASH_COUNT_INTERVAL: Duration = Duration::from_mins(5);
const DELETION_INTERVAL: Duration = Duration::from_hours(1);
/// A new instance serves its first requests before it deletes and reminds, also in a rolling restart.
const FIRST_RUN_DELAY: Duration = Duration::from_secs(30);
/// Interval between deletions of personal data that is no longer needed.
const PERSONAL_DATA_INTERVAL: Duration = Duration::from_mins(10);
/// Reminders and expiries are due days after the change they follow, so half a minute is early enough.
const EMAIL_EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// With the reminders of one pass, 6,000 an hour for each instance.
const REVIEW_REMINDER_INTERVAL: Duration = Duration::from_mins(1);

/// Interval between upkeeps of the metrics, which keep samples in memory until then.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// The usual scrape interval of Prometheus.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Counts the stored phone passwords by pepper version.
pub(super) fn count_hashes(app: App) -> impl Future<Output = ()> {
    let mut versions: BTreeSet<_> = app.pepper_versions().map(i64::from).collect();
    for version in &versions {
        metrics::phone_password_hashes(*version, None);
    }
    async move {
        let mut ticks = interval(HASH_COUNT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match app.count_hashes_by_pepper().await {
                Ok(counts) => {
                    versions.extend(counts.keys().copied());
                    for version in &versions {
                        let count = counts.get(version).copied().unwrap_or_default();
                        metrics::phone_password_hashes(*version, Some(count));
                    }
                }
                Err(error) => tracing::warn!(%error, "count of phone passwords failed"),
            }
        }
    }
}

/// Runs the upkeep of the metrics and updates the gauges of token keys and database connections.
pub(super) async fn run_upkeep(metrics: Metrics, database: Database, authenticator: Authenticator) {
    every(interval(UPKEEP_INTERVAL), move || {
        metrics.run_upkeep();
        metrics::token_keys_age(authenticator.keys_age(), authenticator.keys_max_stale());
        for (name, pool) in database.pools() {
            metrics::connections(name, pool);
        }
        std::future::ready(())
    })
    .await;
}

/// Counts the database nodes that are not reachable. If the count itself fails, at least one is not.
pub(super) async fn count_unreachable_nodes(database: Database) {
    every(interval(COUNT_INTERVAL), move || {
        let database = database.clone();
        async move {
            let count = database.count_unreachable_nodes().await;
            let count = count.unwrap_or_else(|error| {
                tracing::warn!(%error, "check of the database nodes failed");
                1
            });
            metrics::unreachable_nodes(count);
        }
    })
    .await;
}

/// Updates the state of the guard against bursts of failures, which no report may follow.
pub(super) async fn watch_delivery_failures(app: App) {
    every(interval(COUNT_INTERVAL), move || {
        metrics::delivery_failure_burst(app.has_burst_of_failures());
        std::future::ready(())
    })
    .await;
}

/// Counts the queued e-mails.
pub(super) async fn count_mails(app: App) {
    every(interval(COUNT_INTERVAL), move || {
        let app = app.clone();
        async move {
            match app.count_mails().await {
                Ok(depth) => metrics::outbox(depth),
                Err(error) => tracing::warn!(%error, "count of queued e-mails failed"),
            }
        }
    })
    .await;
}

/// Counts the contacts with failed phone password checks.
pub(super) async fn count_failed_contacts(app: App) {
    every(interval(COUNT_INTERVAL), move || {
        let app = app.clone();
        async move {
            match app.count_failed_contacts().await {
                Ok(contacts) => metrics::failed_contacts(contacts),
                Err(error) => {
                    tracing::warn!(%error, "count of failed phone password checks failed");
                }
            }
        }
    })
    .await;
}

/// Deletes rows whose retention ended.
pub(super) async fn delete_expired_hourly(app: App) {
    every(after_start(DELETION_INTERVAL), move || {
        let app = app.clone();
        async move {
            let job = "delete old confirmations";
            log_result(job, app.purge_confirmations().await);
            log_result("delete dead letters", app.purge_dead_letters().await);
            log_result("delete old attempts", app.purge_attempts().await);
            let job = "delete old one-time codes";
            log_result(job, app.purge_one_time_codes().await);
            log_result("delete old mail counts", app.purge_mail_counts().await);
            let job = "delete old channel checks";
            log_result(job, app.purge_channel_checks().await);
            let job = "delete numbers of erased customers";
            log_result(job, app.purge_sealed_numbers().await);
        }
    })
    .await;
}

/// Deletes events older than `retention`, which may take hours.
pub(super) async fn delete_old_events(app: App, retention: TimeDelta) {
    every(after_start(DELETION_INTERVAL), move || {
        let app = app.clone();
        async move { log_result("delete old events", app.purge_events(retention).await) }
    })
    .await;
}

/// Deletes personal data that is no longer needed.
pub(super) async fn delete_personal_data(app: App) {
    every(after_start(PERSONAL_DATA_INTERVAL), move || {
        let app = app.clone();
        async move {
            let job = "delete expired request ids";
            log_result(job, app.purge_expired_requests().await);
            let job = "delete files of erased customers";
            log_result(job, app.clean_files().await);
        }
    })
    .await;
}

/// Queues reminders of pending e-mail addresses, and clears expired ones.
pub(super) async fn run_email_expiry(app: App) {
    every(after_start(EMAIL_EXPIRY_INTERVAL), move || {
        let app = app.clone();
        async move {
            let job = "queue e-mail reminders";
            log_result(job, app.remind_of_pending_emails().await);
            let job = "clear expired e-mail addresses";
            log_result(job, app.clear_expired_emails().await);
        }
    })
    .await;
}

/// Queues reminders of reviews.
pub(super) async fn remind_of_reviews(app: App) {
    every(after_start(REVIEW_REMINDER_INTERVAL), move || {
        let app = app.clone();
        async move { log_result("queue review reminders", app.remind_of_reviews().await) }
    })
    .await;
}

/// As [`interval`], but with the first tick after [`FIRST_RUN_DELAY`].
fn after_start(period: Duration) -> Interval {
    tokio::time::interval_at(Instant::now() + FIRST_RUN_DELAY, period)
}

async fn every<F, W>(mut ticks: Interval, mut work: F)
where
    F: FnMut() -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}

/// Logs the number of rows that a job processed, or its failure.
fn log_result(job: &'static str, result: Result<u64>) {
    match result {
        Ok(0) => {}
        Ok(count) => tracing::info!(job, count, "background job completed"),
        Err(error) => tracing::warn!(job, %error, "background job failed"),
    }
}
