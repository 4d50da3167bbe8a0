//! How much is let in, as far as tests and the command line may choose it.

use std::time::Duration;

use crate::api::admission::peer::ResponseBudget;

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections to the gRPC port.
    pub connections: usize,
    /// Calls in flight in this process; more are shed.
    pub calls_in_flight: usize,
    /// Of these, those of one client (the `sub` of its tokens).
    pub calls_of_a_client: usize,
    /// `StreamRecipients` streams open in this process.
    pub streams: usize,
    /// Of these, those of one client.
    pub streams_of_a_client: usize,
    /// Watches of changes open in this process.
    pub watches: usize,
    /// Of these, those of one client.
    pub watches_of_a_client: usize,
    /// Requests whose message is on its way.
    pub pending_messages: usize,
    /// Of these, those of one client.
    pub pending_messages_of_a_client: usize,
    /// Streams of health and reflection that are open in this process.
    pub open_rpcs: usize,
    /// Of these, those of one connection.
    pub open_rpcs_of_a_connection: usize,
    /// Bytes of responses that clients have not taken.
    pub unsent_bytes: usize,
    /// Of these, those of one connection; responses of up to 16 KiB are sent nevertheless.
    pub unsent_bytes_of_a_connection: usize,
    /// How long a client may take nothing of a response before its connection is closed.
    pub response_patience: Duration,
    /// How long a client may send no request on a stream before it is ended.
    pub stream_idle: Duration,
    /// The longest a call may take until it answers; streams: until they begin.
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            calls_in_flight: 1024,
            calls_of_a_client: 512,
            streams: 128,
            streams_of_a_client: 32,
            watches: 512,
            watches_of_a_client: 256,
            pending_messages: 512,
            pending_messages_of_a_client: 256,
            open_rpcs: 256,
            open_rpcs_of_a_connection: 4,
            unsent_bytes: 32 * 1024 * 1024,
            unsent_bytes_of_a_connection: 8 * 1024 * 1024,
            response_patience: Duration::from_mins(1),
            stream_idle: Duration::from_mins(1),
            call_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Returns the budget of bytes that wait for clients.
    pub fn response_budget(&self) -> ResponseBudget {
        ResponseBudget::new(self.unsent_bytes, self.unsent_bytes_of_a_connection)
    }
}
