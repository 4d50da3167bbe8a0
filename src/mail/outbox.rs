//! The outbox worker. Several instances may run it at once.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{
    claims::Claim,
    delivery::{DeliveryContext, OutboxParts},
    signal::MailSignal,
    workers::OverflowPermits,
};
use crate::error::Result;

/// E-mails that are claimed at once, and usually in flight.
const WORKERS: usize = 20;
/// An attempt that takes longer releases its worker permit, so that hanging servers do not delay
/// other e-mails.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// Slow attempts in flight. At the limit, attempts are abandoned early whose server is slow to reply
/// before the end of the data.
const OVERFLOW_CONCURRENCY: usize = 80;
/// Interval at which e-mails of other instances and retries are polled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The worker. Clones share the permits.
#[derive(Clone, Debug)]
pub struct Outbox {
    delivery: Arc<DeliveryContext>,
    workers: Arc<Semaphore>,
    overflow: OverflowPermits,
}

impl Outbox {
    /// Creates the worker.
    pub fn new(parts: OutboxParts) -> Self {
        let overflow = OverflowPermits::new(OVERFLOW_CONCURRENCY);
        Self {
            delivery: Arc::new(DeliveryContext::new(parts, overflow.clone())),
            workers: Arc::new(Semaphore::new(WORKERS)),
            overflow,
        }
    }

    /// Sends e-mails as they become due until `stop` ends, then waits for those in flight.
    pub async fn run(self, signal: MailSignal, stop: impl Future<Output = ()>) {
        let mut in_flight = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let permits = tokio::select! {
                () = &mut stop => break,
                permits = self.free_workers() => permits,
            };
            // Not cancelled by `stop`: claimed e-mails would wait for the end of their lease.
            let started = self.start_due(permits, &mut in_flight).await;
            while in_flight.try_join_next().is_some() {}
            match started {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "failed to read the outbox"),
            }
            tokio::select! {
                () = &mut stop => break,
                () = signal.raised() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
        while in_flight.join_next().await.is_some() {}
    }

    /// Sends all e-mails that are due, and returns the number of attempts.
    ///
    /// # Errors
    /// Those of [`storage`](crate::storage).
    pub async fn deliver_due(&self) -> Result<usize> {
        let mut in_flight = JoinSet::new();
        let mut count = 0;
        loop {
            let permits = self.free_workers().await;
            match self.start_due(permits, &mut in_flight).await? {
                0 => break,
                started => count += started,
            }
        }
        while in_flight.join_next().await.is_some() {}
        Ok(count)
    }

    /// Acquires the free permits, at least one.
    async fn free_workers(&self) -> Vec<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.workers).acquire_owned().await;
        let mut permits: Vec<_> = first.into_iter().collect();
        while let Ok(permit) = Arc::clone(&self.workers).try_acquire_owned() {
            permits.push(permit);
        }
        permits
    }

    /// Claims as many e-mails as there are permits, and starts all of them at once.
    async fn start_due(
        &self,
        permits: Vec<OwnedSemaphorePermit>,
        in_flight: &mut JoinSet<()>,
    ) -> Result<usize> {
        let claims = self.delivery.claim(permits.len()).await?;
        let count = claims.len();
        for (claim, permit) in claims.into_iter().zip(permits) {
            in_flight.spawn(self.clone().send(claim, permit));
        }
        Ok(count)
    }

    async fn send(self, claim: Claim, permit: OwnedSemaphorePermit) {
        let delivering = self.delivery.deliver(&claim);
        tokio::pin!(delivering);
        if tokio::time::timeout(SLOW_AFTER, &mut delivering)
            .await
            .is_ok()
        {
            return;
        }
        tokio::select! {
            () = &mut delivering => {}
            overflow_permit = self.overflow.acquire() => {
                drop(permit);
                delivering.await;
                drop(overflow_permit);
            }
        }
    }
}
