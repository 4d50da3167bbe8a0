//! The limits on clients, under their names in the metric `contact_limit_hits_total`.
//! docs/operations/client-limits.md lists each with its value, its alert, and how to change it.

use metrics::{counter, describe_counter};

const LIMIT_HITS: &str = "contact_limit_hits_total";

label! {
    /// A limit on clients.
    Limit {
        /// RPCs in flight in this process.
        Requests => "requests",
        /// RPCs in flight of one client (the `sub` of its tokens).
        ClientRequests => "client_requests",
        /// Open `StreamRecipients` streams.
        Streams => "streams",
        /// Open `StreamRecipients` streams of one client.
        ClientStreams => "client_streams",
        /// Open `WatchChanges` streams.
        Watches => "watches",
        /// Open `WatchChanges` streams of one client.
        ClientWatches => "client_watches",
        /// Connections to the confirmation page.
        PageConnections => "page_connections",
        /// Connections to probes and metrics.
        ProbeConnections => "probe_connections",
        /// Requests whose message is incomplete.
        PendingMessages => "pending_messages",
        /// Requests of one client whose message is incomplete.
        ClientPendingMessages => "client_pending_messages",
        /// Open streams of health and reflection, which need no token.
        OpenRpcs => "open_rpcs",
        /// Open streams of health and reflection on one connection.
        ConnectionOpenRpcs => "connection_open_rpcs",
        /// A stream without a request.
        IdleStream => "idle_stream",
        /// A connection whose client does not read a response.
        StalledReader => "stalled_reader",
        /// Bytes of responses that clients have not read.
        UnsentResponses => "unsent_responses",
        /// Bytes of responses that one connection has not read.
        ConnectionUnsentResponses => "connection_unsent_responses",
        /// Connections to the gRPC port.
        Connections => "connections",
        /// HTTP/2 frames on a connection that belong to no request.
        ConnectionFrames => "connection_frames",
        /// The common pace of reads from connections without an authenticated request.
        UnauthenticatedReads => "unauthenticated_reads",
        /// Requests of a connection that its client cancelled before their response.
        CancelledRequests => "cancelled_requests",
        /// Time for the body of a request to the page, probes or metrics.
        SlowBodies => "slow_bodies",
        /// Concurrent requests of the page that use the database.
        PageLookups => "page_lookups",
        /// Confirmation e-mails to one address.
        MailsPerAddress => "mails_per_address",
        /// Confirmation e-mails of one customer.
        MailsPerCustomer => "mails_per_customer",
        /// Checks of phone passwords in flight of one agent.
        HashesPerAgent => "hashes_per_agent",
        /// Hashes of phone passwords that wait for others of the same customer.
        HashesPerCustomer => "hashes_per_customer",
        /// Channel checks per minute of one agent.
        ChannelChecksPerAgent => "channel_checks_per_agent",
        /// Channel checks per minute of one customer.
        ChannelChecksPerCustomer => "channel_checks_per_customer",
        /// Searches over all customers per minute of one agent.
        CustomerSearchesPerAgent => "customer_searches_per_agent",
    }
}

/// Counts a request that was rejected, a stream that was ended, or a connection that was closed by a
/// limit.
pub fn limit_hit(limit: Limit) {
    counter!(LIMIT_HITS, "limit" => limit.as_str()).increment(1);
}

pub(super) fn register() {
    describe_counter!(LIMIT_HITS, "Times that a limit on clients was reached");
    for limit in Limit::ALL {
        counter!(LIMIT_HITS, "limit" => limit.as_str()).increment(0);
    }
}
