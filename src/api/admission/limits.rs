//! The limits of connections and requests.

use std::time::Duration;

use super::peer::ResponseBudget;

/// The limits of connections and requests. Only tests use values other than the defaults, but for
/// [`slow_request`](Self::slow_request).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections to the gRPC port.
    pub connections: usize,
    /// Requests in flight in this process; more are rejected.
    pub requests: usize,
    /// Requests in flight of one client (the `sub` of its tokens).
    pub requests_per_client: usize,
    /// Open `StreamRecipients` streams in this process.
    pub streams: usize,
    /// Open `StreamRecipients` streams of one client.
    pub streams_per_client: usize,
    /// Open `WatchChanges` streams in this process.
    pub watches: usize,
    /// Open `WatchChanges` streams of one client.
    pub watches_per_client: usize,
    /// Requests in this process whose message is in transit.
    pub pending_messages: usize,
    /// Requests of one client whose message is in transit.
    pub pending_messages_per_client: usize,
    /// Open streams of health and reflection in this process.
    pub open_rpcs: usize,
    /// Open streams of health and reflection on one connection.
    pub open_rpcs_per_connection: usize,
    /// Bytes of responses in this process that clients have not read.
    pub unsent_bytes: usize,
    /// Bytes of responses on one connection that the client has not read. Responses of up to 16 KiB are
    /// exempt.
    pub unsent_bytes_per_connection: usize,
    /// The time without progress of a response after which its connection is closed.
    pub stall_timeout: Duration,
    /// The time without a request after which a stream is ended.
    pub stream_idle_timeout: Duration,
    /// The maximum time until the response to a request, or the response headers of a stream.
    pub request_timeout: Duration,
    /// The time from which on a request is logged as slow; `None` for never.
    pub slow_request: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 1024,
            requests_per_client: 512,
            streams: 128,
            streams_per_client: 32,
            watches: 512,
            watches_per_client: 256,
            pending_messages: 512,
            pending_messages_per_client: 256,
            open_rpcs: 256,
            open_rpcs_per_connection: 4,
            unsent_bytes: 32 * 1024 * 1024,
            unsent_bytes_per_connection: 8 * 1024 * 1024,
            stall_timeout: Duration::from_mins(1),
            stream_idle_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_secs(5),
            slow_request: None,
        }
    }
}

impl Limits {
    /// Returns the budget of unsent bytes of responses.
    pub fn response_budget(&self) -> ResponseBudget {
        ResponseBudget::new(self.unsent_bytes, self.unsent_bytes_per_connection)
    }
}
