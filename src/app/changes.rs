//! The feed of changes: which event has which place, and reading on from one.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::watch;

use crate::{
    app::{App, pseudonym},
    domain::audit::Change,
    error::{Error, Result},
    storage::{Database, FeedReach},
    versioned_keys::VersionedKeys,
};

/// How many events are read at once.
const PAGE: u64 = 200;
/// How often the database is asked for events of other processes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Between two rounds: what is committed meanwhile gets its places together.
const PAUSE: Duration = Duration::from_millis(20);
/// Caches are told of an erasure within this time; then nothing leads to the customer any more.
const SEALED_FOR: TimeDelta = TimeDelta::days(30);

/// How far the feed reaches, as this process last saw it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct FeedSignal(watch::Sender<FeedReach>);

impl Default for FeedSignal {
    fn default() -> Self {
        Self(watch::Sender::new(FeedReach::default()))
    }
}

/// Reads the feed from one place on. It holds no connection, and no more than a page.
#[derive(Debug)]
pub struct ChangeReader {
    database: Database,
    service_keys: Arc<VersionedKeys>,
    position: i64,
    reach: watch::Receiver<FeedReach>,
}

impl App {
    /// Gives committed events their places in the feed, for ever, and tells readers.
    pub async fn place_events(self) {
        let mut is_failing = false;
        loop {
            let _ = tokio::time::timeout(POLL_INTERVAL, self.database.event_committed()).await;
            match self.place_all_events().await {
                Ok(()) => is_failing = false,
                // Told once: the probe of readiness tells the rest.
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "the feed of changes does not go on");
                    is_failing = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives all events that are committed their places, unless another process is about it.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn place_all_events(&self) -> Result<()> {
        let mut from = Some(String::new());
        while let Some(number) = from {
            from = self.database.place_events(&number).await?.next;
        }
        let reach = self.database.feed_reach().await?;
        self.feed_signal.0.send_if_modified(|known| {
            let is_new = *known != reach;
            *known = reach;
            is_new
        });
        Ok(())
    }

    /// Reads the feed behind a place; `None`: from the oldest event on that is kept.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] where events behind it are not kept any more, and the failures
    /// of the database.
    pub async fn read_changes(&self, after: Option<i64>) -> Result<ChangeReader> {
        let reach = self.database.feed_reach().await?;
        let reader = ChangeReader {
            database: self.database.clone(),
            service_keys: Arc::clone(&self.service_keys),
            position: after.unwrap_or(reach.forgotten),
            reach: self.feed_signal.0.subscribe(),
        };
        // A database that was restored does not reach as far as what it gave before.
        if reader.position > reach.last {
            return Err(Error::CursorExpired);
        }
        reader.check(reach)?;
        Ok(reader)
    }

    /// Forgets the numbers of customers that were erased a while ago.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_sealed_numbers(&self) -> Result<u64> {
        let cutoff = self.now() - SEALED_FOR;
        self.database.clear_sealed_numbers(cutoff).await
    }
}

impl ChangeReader {
    /// The next events, at least one; waits for them.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] where some in between are not kept any more, and the failures
    /// of the database.
    pub async fn next_page(&mut self) -> Result<Vec<Change>> {
        loop {
            let mut changes = self.database.list_changes(self.position, PAGE).await?;
            // After reading: what is deleted while it is read leaves a gap.
            self.check(self.database.feed_reach().await?)?;
            if let Some(last) = changes.last() {
                self.position = last.position;
                self.name_erased(&mut changes);
                return Ok(changes);
            }
            let position = self.position;
            let moved = self.reach.wait_for(|reach| reach.last > position).await;
            moved.map_err(|_| Error::internal("nobody gives events their places"))?;
        }
    }

    /// Caches know an erased customer by its number.
    fn name_erased(&self, changes: &mut [Change]) {
        for change in changes {
            let sealed = change.sealed_number.as_ref();
            let number = sealed.and_then(|sealed| pseudonym::open(&self.service_keys, sealed));
            if number.is_some() {
                change.event.customer_number = number;
            }
        }
    }

    fn check(&self, reach: FeedReach) -> Result<()> {
        if self.position < reach.forgotten {
            Err(Error::CursorExpired)
        } else {
            Ok(())
        }
    }
}
