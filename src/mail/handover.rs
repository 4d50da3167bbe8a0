//! The conditions of an attempt to hand a mail over, apart from the mail: its claim must still be
//! held, and slow servers must not hold up other mails.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::refusal::Refusal;
use crate::mail::workers::Crowd;
use crate::{clock::Clock, error::Result, observability::metrics::RejectionClass};

/// How long a claim is good for. Short, so that the mails of a killed process are claimed by
/// another one soon; an attempt that takes longer renews its claim.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(60);
/// A claim with less left than this is renewed.
const RENEWED_BELOW: TimeDelta = TimeDelta::seconds(40);
/// With less left than this no text is sent: another process could claim the mail.
const NEEDED_FOR_TEXT: TimeDelta = TimeDelta::seconds(5);
/// The interval in which the clock is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The claim on one mail, as of its last renewal.
#[derive(Debug)]
pub(super) struct Lease {
    clock: Clock,
    end: Mutex<DateTime<Utc>>,
}

/// The claim and the room for slow mails that an attempt depends on.
#[derive(Debug)]
pub(super) struct Handover<'a> {
    pub(super) lease: &'a Lease,
    pub(super) crowd: &'a Crowd,
}

impl Handover<'_> {
    /// Checks that the text of the mail may be sent.
    ///
    /// # Errors
    /// A [`Refusal`] when the claim has ended or is about to, as after a pause of the process.
    pub(super) fn check(&self) -> std::result::Result<(), Refusal> {
        if self.lease.left() >= NEEDED_FOR_TEXT {
            return Ok(());
        }
        Err(Refusal::new(
            "claim not renewed in time",
            RejectionClass::Connection,
        ))
    }
}

impl Lease {
    /// A claim that is good until `end`.
    pub(super) fn new(clock: Clock, end: DateTime<Utc>) -> Self {
        Self {
            clock,
            end: Mutex::new(end),
        }
    }

    fn left(&self) -> TimeDelta {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) - self.clock.now()
    }

    /// Does `work`, and renews the claim while it takes time: `renew` gets the new end, and
    /// returns true if the claim is still held. Returns `None`, and drops `work`, when it is not.
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
                // The claim may still be held, so the renewal is retried.
                Err(error) => tracing::debug!(%error, "the claim of a mail was not renewed"),
            }
        }
    }

    async fn renew_when_due<R: Future<Output = Result<bool>>>(
        &self,
        renew: &impl Fn(DateTime<Utc>) -> R,
    ) -> Result<bool> {
        tokio::time::sleep(LOOK_INTERVAL).await;
        while self.left() >= RENEWED_BELOW {
            tokio::time::sleep(LOOK_INTERVAL).await;
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
