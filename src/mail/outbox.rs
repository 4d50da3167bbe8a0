//! The worker that empties the outbox. Several may run at once, in as many processes.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{
    MailSignal,
    delivery::{Claim, Delivery},
    sender::Sender,
    settings::PublicUrl,
    templates::Templates,
    transport::Transport,
};
use crate::mail::workers::Crowd;
use crate::{clock::Clock, crypto::random::Random, error::Result, storage::Database};

/// How many mails are claimed at once, and how many are usually under way.
const LANES: usize = 20;
/// A mail that takes longer than this gives its lane to another one, so that servers
/// that hang do not hold up the rest.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// How many slow ones may be under way at the same time. When all are, those whose server takes
/// long to answer before the end of the data are abandoned early.
const SLOW_LANES: usize = 80;
/// How often mails of other processes and those that are to be tried again are looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What the worker is made of.
#[derive(Debug)]
pub struct OutboxParts {
    /// Where the outbox is.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// What tokens are made of.
    pub random: Random,
    /// What mails say.
    pub templates: Templates,
    /// How they leave.
    pub transport: Transport,
    /// Whom they come from.
    pub sender: Sender,
    /// Where their links lead.
    pub public_url: PublicUrl,
}

/// The worker. Clones share the lanes.
#[derive(Clone, Debug)]
pub struct Outbox {
    delivery: Arc<Delivery>,
    lanes: Arc<Semaphore>,
    slow_lanes: Crowd,
}

impl Outbox {
    /// Puts the parts together.
    pub fn new(parts: OutboxParts) -> Self {
        let slow_lanes = Crowd::new(SLOW_LANES);
        Self {
            delivery: Arc::new(Delivery::new(parts, slow_lanes.clone())),
            lanes: Arc::new(Semaphore::new(LANES)),
            slow_lanes,
        }
    }

    /// Sends what is due, and what becomes due, until `stop` ends; then waits for the
    /// mails that are under way.
    pub async fn run(self, signal: MailSignal, stop: impl Future<Output = ()>) {
        let mut under_way = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let lanes = tokio::select! {
                () = &mut stop => break,
                lanes = self.free_lanes() => lanes,
            };
            // Not given up half way: what was claimed would wait for the end of its lease.
            let started = self.start_due(lanes, &mut under_way).await;
            while under_way.try_join_next().is_some() {}
            match started {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
            }
            tokio::select! {
                () = &mut stop => break,
                () = signal.raised() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Sends whatever is due at this moment, and gives how many mails were tried.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn deliver_due(&self) -> Result<usize> {
        let mut under_way = JoinSet::new();
        let mut count = 0;
        loop {
            let lanes = self.free_lanes().await;
            match self.start_due(lanes, &mut under_way).await? {
                0 => break,
                started => count += started,
            }
        }
        while under_way.join_next().await.is_some() {}
        Ok(count)
    }

    /// The lanes that are free, at least one.
    async fn free_lanes(&self) -> Vec<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.lanes).acquire_owned().await;
        let mut lanes: Vec<_> = first.into_iter().collect();
        while let Ok(lane) = Arc::clone(&self.lanes).try_acquire_owned() {
            lanes.push(lane);
        }
        lanes
    }

    /// Claims as many mails as there are lanes, and starts sending them: what is claimed
    /// does not wait.
    async fn start_due(
        &self,
        lanes: Vec<OwnedSemaphorePermit>,
        under_way: &mut JoinSet<()>,
    ) -> Result<usize> {
        let claims = self.delivery.claim(lanes.len()).await?;
        let count = claims.len();
        for (claim, lane) in claims.into_iter().zip(lanes) {
            under_way.spawn(self.clone().send(claim, lane));
        }
        Ok(count)
    }

    async fn send(self, claim: Claim, lane: OwnedSemaphorePermit) {
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
            slow_lane = self.slow_lanes.enter() => {
                drop(lane);
                delivering.await;
                drop(slow_lane);
            }
        }
    }
}
