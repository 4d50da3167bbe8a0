//! The requests of an HTTP/2 connection that its client cancelled before their response began.
//!
//! A request that is cancelled at once costs its client nothing, and the server almost as much as any
//! other (CVE-2023-44487).

use std::collections::VecDeque;

/// Requests that a client may cancel beyond those that were answered: as a deadline passes, or because
/// another server answered first.
const MAX_CANCELLED: u32 = 16;
/// More are not counted: after about as many responses the connection is in good standing again.
const MAX_COUNTED: u32 = 128;
/// More streams than a connection may have open.
const MAX_STREAMS: usize = 256;

/// Counts the cancelled requests of a connection against its answered ones.
#[derive(Debug, Default)]
pub(super) struct Cancellations {
    /// In ascending order, as clients number their streams.
    unanswered: VecDeque<u32>,
    cancelled: u32,
}

impl Cancellations {
    /// Returns true if the client cancels more requests than it may.
    pub(super) fn are_excessive(&self) -> bool {
        self.cancelled > MAX_CANCELLED
    }

    /// Returns the number of requests without a response.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// The client sent the headers of a request, or its trailers.
    pub(super) fn begin(&mut self, stream: u32) {
        if let Err(index) = self.unanswered.binary_search(&stream) {
            self.unanswered.insert(index, stream);
        }
        if self.unanswered.len() > MAX_STREAMS {
            self.unanswered.pop_front();
        }
    }

    /// The server sent headers.
    pub(super) fn answer(&mut self, stream: u32) {
        if self.end(stream) {
            self.cancelled = self.cancelled.saturating_sub(1);
        }
    }

    /// The client reset a stream.
    pub(super) fn cancel(&mut self, stream: u32) {
        if self.end(stream) {
            self.cancelled = MAX_COUNTED.min(self.cancelled + 1);
        }
    }

    /// The server reset a stream.
    pub(super) fn reject(&mut self, stream: u32) {
        self.end(stream);
    }

    /// Returns true if the stream had no answer yet.
    fn end(&mut self, stream: u32) -> bool {
        let index = self.unanswered.binary_search(&stream);
        index.is_ok_and(|index| self.unanswered.remove(index).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cancels requests on the streams, of which no other one may be open.
    fn cancel_all(cancellations: &mut Cancellations, streams: impl Iterator<Item = u32>) {
        for stream in streams {
            cancellations.begin(stream);
            cancellations.cancel(stream);
        }
    }

    #[test]
    fn cancelled_requests_are_excessive_beyond_the_limit() {
        let mut cancellations = Cancellations::default();
        cancel_all(&mut cancellations, 0..MAX_CANCELLED);
        assert!(!cancellations.are_excessive());
        cancel_all(&mut cancellations, 1_000..1_001);
        assert!(cancellations.are_excessive());
    }

    #[test]
    fn hedged_requests_are_never_excessive() {
        let mut cancellations = Cancellations::default();
        for stream in 0..10_000 {
            cancellations.begin(2 * stream);
            cancellations.begin(2 * stream + 1);
            cancellations.answer(2 * stream);
            cancellations.cancel(2 * stream + 1);
            assert!(!cancellations.are_excessive());
        }
    }

    #[test]
    fn resets_after_the_response_began_or_by_the_server_do_not_count() {
        let mut cancellations = Cancellations::default();
        for stream in 0..1_000 {
            cancellations.begin(stream);
            if stream % 2 == 0 {
                cancellations.answer(stream);
            } else {
                cancellations.reject(stream);
            }
            cancellations.cancel(stream);
        }
        assert!(!cancellations.are_excessive());
        assert_eq!(cancellations.unanswered.len(), 0);
    }

    #[test]
    fn responses_restore_a_connection() {
        let mut cancellations = Cancellations::default();
        cancel_all(&mut cancellations, 0..1_000_000);
        for stream in 0..MAX_COUNTED - MAX_CANCELLED {
            assert!(cancellations.are_excessive());
            cancellations.begin(stream);
            cancellations.answer(stream);
        }
        assert!(!cancellations.are_excessive());
    }

    #[test]
    fn open_streams_use_limited_memory() {
        let mut cancellations = Cancellations::default();
        (0..100_000).for_each(|stream| cancellations.begin(stream));
        assert_eq!(cancellations.unanswered.len(), MAX_STREAMS);
    }
}
