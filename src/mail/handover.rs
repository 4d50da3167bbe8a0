//! The conditions of an attempt: the lease on the e-mail must be held, and slow servers must not
//! delay other e-mails.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{send_error::SendError, workers::OverflowPermits};
use crate::{clock::Clock, error::Result, observability::metrics::RejectionClass};

/// Duration of a lease. Short, so that another instance soon claims the e-mails of a killed process;
/// longer attempts renew their lease.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Remaining time at which a lease is renewed.
const RENEWAL_THRESHOLD: TimeDelta = TimeDelta::seconds(40);
/// Remaining time below which no text is sent: another instance could claim the e-mail.
const MIN_REMAINING: TimeDelta = TimeDelta::seconds(5);
/// Interval at which the clock is read.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The lease on an e-mail, as of its last renewal.
#[derive(Debug)]
pub(super) struct Lease {
    clock: Clock,
    end: Mutex<DateTime<Utc>>,
}

/// The lease of an attempt, and the permits for slow ones.
#[derive(Debug)]
pub(super) struct Handover<'a> {
    pub(super) lease: &'a Lease,
    pub(super) overflow: &'a OverflowPermits,
}

impl Handover<'_> {
    /// Checks that the text of the e-mail may be sent.
    ///
    /// # Errors
    /// A [`SendError`] if the lease has ended or is about to, as after a pause of the process.
    pub(super) fn check(&self) -> std::result::Result<(), SendError> {
        if self.lease.remaining() >= MIN_REMAINING {
            return Ok(());
        }
        Err(SendError::new(
            "lease not renewed in time",
            RejectionClass::Connection,
        ))
    }
}

impl Lease {
    /// Creates a lease until `end`.
    pub(super) fn new(clock: Clock, end: DateTime<Utc>) -> Self {
        Self {
            clock,
            end: Mutex::new(end),
        }
    }

    fn remaining(&self) -> TimeDelta {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) - self.clock.now()
    }

    /// Runs `work` and renews the lease until it is done: `renew` takes the new end, and returns true
    /// if the lease is still held. If not, drops `work` and returns `None`.
    pub(super) async fn hold<T, R: Future<Output = Result<bool>>>(
        &self,
        renew: impl Fn(DateTime<Utc>) -> R,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(work);
        loop {
            let renewed = tokio::select! {
                biased;
                done = &mut work => return Some(done),
                renewed = self.renew_when_due(&renew) => renewed,
            };
            match renewed {
                Ok(true) => {}
                Ok(false) => return None,
                // The lease may still be held, so the renewal is retried.
                Err(error) => tracing::debug!(%error, "lease of a mail not renewed"),
            }
        }
    }

    async fn renew_when_due<R: Future<Output = Result<bool>>>(
        &self,
        renew: &impl Fn(DateTime<Utc>) -> R,
    ) -> Result<bool> {
        tokio::time::sleep(CHECK_INTERVAL).await;
        while self.remaining() >= RENEWAL_THRESHOLD {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        let end = self.clock.now() + LEASE;
        let is_held = renew(end).await?;
        if is_held {
            *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
        }
        Ok(is_held)
    }
}

#[cfg(test)]
mod tests;
