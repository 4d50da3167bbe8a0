//! The feed of changes: which event has which place, and reading on from one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use tokio::sync::watch;

use crate::{
    app::{App, feed_cursor::FeedCursor},
    crypto::{keyring::VersionedKeys, pseudonym},
    domain::audit::Change,
    error::{Error, Result},
    storage::{Database, FeedReach},
};

/// How many events are read at once.
const PAGE: u64 = 200;
/// How often the database is asked for events of other processes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Between two rounds: what is committed meanwhile gets its places together.
const PAUSE: Duration = Duration::from_millis(20);
/// A backlog, as after an import, leaves the database to others for so many times as long as it
/// takes itself.
const BACKLOG_PAUSE: u32 = 3;
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

impl FeedSignal {
    /// Wakes readers where `is_news` says so of what was known and is now.
    fn set_if(&self, reach: FeedReach, is_news: fn(FeedReach, FeedReach) -> bool) {
        self.0.send_if_modified(|known| {
            let is_news = is_news(*known, reach);
            if is_news {
                *known = reach;
            }
            is_news
        });
    }
}

/// Reads the feed from one place on. It holds no connection, and no more than a page.
#[derive(Debug)]
pub struct ChangeReader {
    database: Database,
    service_keys: Arc<VersionedKeys>,
    cursor: FeedCursor,
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
            let begun = Instant::now();
            from = self.database.place_events(&number).await?.next;
            if from.is_some() {
                tokio::time::sleep(begun.elapsed() * BACKLOG_PAUSE).await;
            }
        }
        let reach = self.database.feed_reach().await?;
        self.feed_signal.set_if(reach, |known, now| known != now);
        Ok(())
    }

    /// Reads the feed after a cursor; an empty one: from the oldest event on that is kept.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] for a cursor that cannot be honored, and the failures of the
    /// database.
    pub async fn read_changes(&self, cursor: &str) -> Result<ChangeReader> {
        let reach = self.database.feed_reach().await?;
        // A reader waits for another epoch than its own: this process may not know it yet.
        let is_other_epoch = |known: FeedReach, now: FeedReach| known.epoch != now.epoch;
        self.feed_signal.set_if(reach, is_other_epoch);
        let cursor = if cursor.is_empty() {
            FeedCursor::start(reach)
        } else {
            let opened = FeedCursor::open(&self.service_keys, cursor);
            opened.ok_or(Error::CursorExpired)?
        };
        let reader = ChangeReader {
            database: self.database.clone(),
            service_keys: Arc::clone(&self.service_keys),
            cursor,
            reach: self.feed_signal.0.subscribe(),
        };
        // The caller learns now, and not with the first page, that its cursor has expired.
        reader.read(0).await?;
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
    /// [`Error::CursorExpired`] where some in between are not kept any more or the database was
    /// restored, and the failures of the database.
    pub async fn next_page(&mut self) -> Result<Vec<Change>> {
        loop {
            let mut changes = self.read(PAGE).await?;
            if let Some(last) = changes.last() {
                self.cursor.position = last.position;
                self.cursor.event_id = last.event.id;
                self.name_erased(&mut changes);
                return Ok(changes);
            }
            let FeedCursor {
                epoch, position, ..
            } = self.cursor;
            let moved = self
                .reach
                .wait_for(|reach| reach.last > position || reach.epoch != epoch)
                .await;
            moved.map_err(|_| Error::internal("nobody gives events their places"))?;
        }
    }

    /// The position of the last event that was given.
    pub const fn position(&self) -> i64 {
        self.cursor.position
    }

    /// The cursor after the last event that was given.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is no service key.
    pub fn cursor(&self) -> Result<String> {
        self.cursor.seal(&self.service_keys)
    }

    /// Up to `limit` events after the cursor, of which none is missing.
    async fn read(&self, limit: u64) -> Result<Vec<Change>> {
        let position = self.cursor.position;
        // From the cursor's own event on. Position 0 is that of events outside the feed.
        let mut changes = self
            .database
            .list_changes(position.max(1), limit + 1)
            .await?;
        // After reading: what is deleted while it is read leaves a gap.
        let reach = self.database.feed_reach().await?;
        let first = changes.first();
        let stored = first.filter(|change| change.position == position);
        let stored = stored.map(|change| change.event.id);
        if !self.cursor.is_honored(reach, stored) {
            return Err(Error::CursorExpired);
        }
        if stored.is_some() {
            changes.remove(0);
        }
        Ok(changes)
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
}
