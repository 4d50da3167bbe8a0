//! Wakes the readers of the change feed.

use tokio::sync::watch;

use crate::storage::FeedBounds;

/// The bounds of the feed as this instance last read them. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct FeedSignal(watch::Sender<FeedBounds>);

impl Default for FeedSignal {
    fn default() -> Self {
        Self(watch::Sender::new(FeedBounds::default()))
    }
}

impl FeedSignal {
    /// Stores `bounds` and wakes all readers if `is_news` returns true for the previous and the
    /// new bounds.
    pub(super) fn set_if(&self, bounds: FeedBounds, is_news: fn(FeedBounds, FeedBounds) -> bool) {
        self.0.send_if_modified(|current| {
            let is_news = is_news(*current, bounds);
            if is_news {
                *current = bounds;
            }
            is_news
        });
    }

    /// Subscribes to changes of the bounds.
    pub(super) fn subscribe(&self) -> watch::Receiver<FeedBounds> {
        self.0.subscribe()
    }
}
