//! The change feed: assigns positions to committed events, and reads events from a cursor on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use tokio::sync::watch;

use super::{context::App, feed_cursor::FeedCursor};
use crate::{
    crypto::{keyring::VersionedKeys, pseudonym},
    domain::audit::FeedEvent,
    error::{Error, Result},
    failpoint::failpoint,
    observability::metrics,
    storage::{Database, FeedBounds, FeedLock, InboxRange},
};

/// The number of events that are read at once.
const PAGE_SIZE: u64 = 200;
/// How often the database is polled for events that other instances committed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The pause between two rounds. Events committed in between get their positions in one batch.
const PAUSE: Duration = Duration::from_millis(20);
/// During a backlog, such as after an import, the pause after a batch as a multiple of the time
/// that the batch took, so that sequencing uses a quarter of the database at most.
const BACKLOG_PAUSE_FACTOR: u32 = 3;
/// How long the number of an erased customer can be decrypted for readers of the feed. Afterwards
/// no stored data leads to the customer.
const SEALED_NUMBER_RETENTION: TimeDelta = TimeDelta::days(30);

/// Reads the feed from a position on. Holds one page at most, and no database connection between
/// pages.
#[derive(Debug)]
pub struct ChangeReader {
    database: Database,
    service_keys: Arc<VersionedKeys>,
    cursor: FeedCursor,
    bounds: watch::Receiver<FeedBounds>,
}

impl App {
    /// Assigns feed positions to committed events and wakes readers, until the task is aborted.
    pub async fn sequence_events(self) {
        let mut is_failing = false;
        loop {
            let _ = tokio::time::timeout(POLL_INTERVAL, self.database.event_committed()).await;
            match self.sequence_all_events().await {
                Ok(()) => is_failing = false,
                // Logged once: the readiness probe shows how long it lasts.
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "change feed sequencing failed");
                    is_failing = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Assigns feed positions to all committed events, unless another instance is doing so.
    ///
    /// # Errors
    /// Database errors.
    pub async fn sequence_all_events(&self) -> Result<()> {
        let started = Instant::now();
        if self.sequence(InboxRange::all(), FeedLock::Try).await? {
            metrics::feed_complete(started);
        }
        let bounds = self.database.feed_bounds().await?;
        self.feed_signal
            .set_if(bounds, |current, new| current != new);
        Ok(())
    }

    /// Assigns feed positions to the committed events of a range. Returns false if another instance is
    /// doing so.
    ///
    /// # Errors
    /// Database errors; [`Error::Conflict`] if the feed stays locked.
    pub(super) async fn sequence(&self, range: InboxRange, lock: FeedLock) -> Result<bool> {
        let mut next = Some(range);
        let mut is_locked = true;
        while let Some(range) = next {
            let started = Instant::now();
            let batch = self.database.sequence_events(&range, lock).await?;
            if batch.count > 0 {
                failpoint("events-sequenced").await;
            }
            self.database.delete_sequenced_events(&batch).await?;
            is_locked &= batch.is_locked;
            next = batch.next;
            if matches!(next, Some(InboxRange::From(_))) {
                tokio::time::sleep(started.elapsed() * BACKLOG_PAUSE_FACTOR).await;
            }
        }
        Ok(is_locked)
    }

    /// Opens the feed after a cursor. An empty cursor starts at the oldest retained event.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] for a cursor that is invalid or whose next events were deleted.
    pub async fn read_changes(&self, cursor: &str) -> Result<ChangeReader> {
        let bounds = self.database.feed_bounds().await?;
        // Readers wait for an epoch other than their cursor's, which this instance may not have
        // loaded yet.
        let is_other_epoch = |current: FeedBounds, new: FeedBounds| current.epoch != new.epoch;
        self.feed_signal.set_if(bounds, is_other_epoch);
        let cursor = if cursor.is_empty() {
            FeedCursor::start(bounds)
        } else {
            let opened = FeedCursor::open(&self.service_keys, cursor);
            opened.ok_or(Error::CursorExpired)?
        };
        let reader = ChangeReader {
            database: self.database.clone(),
            service_keys: Arc::clone(&self.service_keys),
            cursor,
            bounds: self.feed_signal.subscribe(),
        };
        // Rejects an expired cursor before the stream starts, not with its first page.
        reader.read(0).await?;
        Ok(reader)
    }

    /// Deletes the encrypted numbers of customers whose erasure is older than the retention, and
    /// returns their number.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_sealed_numbers(&self) -> Result<u64> {
        let cutoff = self.now() - SEALED_NUMBER_RETENTION;
        self.database.clear_sealed_numbers(cutoff).await
    }
}

impl ChangeReader {
    /// Returns the next events, at least one. Waits until there are any.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] if events after the cursor were deleted, or the database was
    /// restored.
    pub async fn next_page(&mut self) -> Result<Vec<FeedEvent>> {
        loop {
            let mut changes = self.read(PAGE_SIZE).await?;
            if let Some(last) = changes.last() {
                self.cursor.position = last.position;
                self.cursor.event_id = last.id;
                self.restore_erased_numbers(&mut changes);
                return Ok(changes);
            }
            let FeedCursor {
                epoch, position, ..
            } = self.cursor;
            let moved = self
                .bounds
                .wait_for(|bounds| bounds.last > position || bounds.epoch != epoch)
                .await;
            moved.map_err(|_| Error::internal("the feed sequencer has stopped"))?;
        }
    }

    /// Returns the position of the last event that was read.
    pub const fn position(&self) -> i64 {
        self.cursor.position
    }

    /// Returns the encrypted cursor after the last event that was read.
    ///
    /// # Errors
    /// [`Error::Internal`] if no service key is configured.
    pub fn cursor(&self) -> Result<String> {
        self.cursor.seal(&self.service_keys)
    }

    /// Reads up to `limit` events after the cursor, without gaps.
    async fn read(&self, limit: u64) -> Result<Vec<FeedEvent>> {
        let position = self.cursor.position;
        // Includes the cursor's own event.
        let (mut changes, bounds) = self.database.read_changes(position, limit + 1).await?;
        let first = changes.first();
        let stored = first.filter(|change| change.position == position);
        let stored = stored.map(|change| change.id);
        if !self.cursor.is_honored(bounds, stored) {
            return Err(Error::CursorExpired);
        }
        if stored.is_some() {
            changes.remove(0);
        }
        Ok(changes)
    }

    /// Replaces the pseudonyms of erased customers by their numbers, which caches use as keys.
    fn restore_erased_numbers(&self, changes: &mut [FeedEvent]) {
        for change in changes {
            let sealed = change.sealed_number.as_ref();
            let number = sealed.and_then(|sealed| pseudonym::open(&self.service_keys, sealed));
            if number.is_some() {
                change.customer_number = number;
            }
        }
    }
}
