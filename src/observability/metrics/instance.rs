//! The process, its streams, its certificate, and the lag of the change feed.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{Unit, describe_gauge, gauge};
use metrics_process::Collector;

const OPEN_STREAMS: &str = "contact_open_streams";
const FEED_LAG: &str = "contact_feed_lag_seconds";
const CERTIFICATE_EXPIRY: &str = "contact_tls_certificate_expiry_timestamp_seconds";

/// The last time at which all committed events were in the feed; `None` before the first.
static FEED_COMPLETE: Mutex<Option<Instant>> = Mutex::new(None);

label! {
    /// A kind of streams.
    StreamKind {
        /// `StreamRecipients`.
        Recipients => "recipients",
        /// `WatchChanges`.
        Changes => "changes",
        /// Health and reflection, which need no token.
        Unauthenticated => "unauthenticated",
    }
}

/// Counts a stream as open until it is dropped.
#[derive(Debug)]
pub struct OpenStream(StreamKind);

impl OpenStream {
    /// Begins to count.
    pub fn begin(kind: StreamKind) -> Self {
        gauge!(OPEN_STREAMS, "stream" => kind.as_str()).increment(1);
        Self(kind)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        gauge!(OPEN_STREAMS, "stream" => self.0.as_str()).decrement(1);
    }
}

/// Records that all events that were committed at `time` have their positions in the feed.
pub fn feed_complete(time: Instant) {
    *FEED_COMPLETE.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
}

/// Sets the end of the validity of the TLS certificates, the earliest of their chain, since the Unix
/// epoch. `None` becomes NaN: no TLS.
pub fn certificate_expiry(expiry: Option<Duration>) {
    gauge!(CERTIFICATE_EXPIRY).set(expiry.map_or(f64::NAN, |expiry| expiry.as_secs_f64()));
}

pub(super) fn register() {
    Collector::default().describe();
    describe_gauge!(OPEN_STREAMS, "Open streams");
    describe_gauge!(
        FEED_LAG,
        Unit::Seconds,
        "Time since all committed events were in the change feed"
    );
    describe_gauge!(
        CERTIFICATE_EXPIRY,
        Unit::Seconds,
        "End of the validity of the TLS certificates; NaN without TLS"
    );
    for kind in StreamKind::ALL {
        gauge!(OPEN_STREAMS, "stream" => kind.as_str()).set(0);
    }
    certificate_expiry(None);
    update();
}

pub(super) fn update() {
    Collector::default().collect();
    let complete = *FEED_COMPLETE.lock().unwrap_or_else(PoisonError::into_inner);
    gauge!(FEED_LAG).set(complete.map_or(0.0, |time| time.elapsed().as_secs_f64()));
}
