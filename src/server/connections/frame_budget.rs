//! The budget of HTTP/2 frames that belong to no request, such as pings, resets and window updates,
//! the number of requests that got no response but a rejection, and that of the cancelled ones.
//!
//! Only the heads of frames are parsed, as they pass; their meaning is left to h2.

use std::time::Duration;

use tokio::time::Instant;

use super::cancellations::Cancellations;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// Tokens that each frame of a request or its response adds: the client may update two windows, send
/// a ping, and cancel the request.
const TOKENS_PER_REQUEST_FRAME: u32 = 4;
/// A shorter DATA frame of a response adds no tokens.
const MIN_CREDITED_BYTES: usize = 32;
/// Tokens for frames without a request, such as keepalives.
const BASE_TOKENS: u32 = 256;
const BASE_TOKENS_PER_SECOND: u32 = 16;
/// Far more than a connection has in flight: a client may update its windows after each frame.
const MAX_TOKENS: u32 = 16_384;

/// The frames without a request that a client may still send.
#[derive(Debug)]
pub(super) struct FrameBudget {
    received: HeadParser,
    sent: HeadParser,
    tokens: u32,
    refilled: Instant,
    unserved: i64,
    cancellations: Cancellations,
}

/// The client has sent more frames without a request than its budget allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameFlood;

impl FrameBudget {
    pub(super) fn new() -> Self {
        Self {
            received: HeadParser::default(),
            sent: HeadParser::default(),
            tokens: BASE_TOKENS,
            refilled: Instant::now(),
            unserved: 0,
            cancellations: Cancellations::default(),
        }
    }

    /// Returns the number of requests that were rejected, reset or not answered yet.
    pub(super) fn unserved_requests(&self) -> i64 {
        self.unserved
    }

    /// Returns the number of requests that have no response yet.
    pub(super) fn unanswered_requests(&self) -> usize {
        self.cancellations.unanswered()
    }

    /// Returns true if the client cancels too many requests before they are answered.
    pub(super) fn is_cancelling(&self) -> bool {
        self.cancellations.are_excessive()
    }

    /// Accounts for bytes that the client sent after its preface.
    pub(super) fn record_received(&mut self, mut bytes: &[u8]) -> Result<(), FrameFlood> {
        while let Some(head) = self.received.next(&mut bytes) {
            if head.kind == HEADERS {
                self.unserved += 1;
                self.cancellations.begin(head.stream);
                self.credit();
            } else if !head.carries_data() {
                if head.kind == RST_STREAM {
                    self.cancellations.cancel(head.stream);
                }
                self.debit()?;
            }
        }
        Ok(())
    }

    /// Accounts for bytes that were sent to the client.
    pub(super) fn record_sent(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.sent.next(&mut bytes) {
            match head.kind {
                HEADERS => self.cancellations.answer(head.stream),
                RST_STREAM => self.cancellations.reject(head.stream),
                _ => {}
            }
            // A rejection, and the trailers of a response, end the stream.
            if head.kind == HEADERS && head.flags & END_STREAM == 0 {
                self.unserved -= 1;
            }
            if head.kind == HEADERS || (head.kind == DATA && head.length >= MIN_CREDITED_BYTES) {
                self.credit();
            }
        }
    }

    fn credit(&mut self) {
        self.tokens = (self.tokens + TOKENS_PER_REQUEST_FRAME).min(MAX_TOKENS);
    }

    fn debit(&mut self) -> Result<(), FrameFlood> {
        if self.tokens == 0 {
            self.refill(Instant::now());
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(FrameFlood)?;
        Ok(())
    }

    /// Called only when no token is left, so that the clock is not read for each frame.
    fn refill(&mut self, now: Instant) {
        let step = Duration::from_secs(1) / BASE_TOKENS_PER_SECOND;
        let steps = now.duration_since(self.refilled).as_millis() / step.as_millis();
        self.tokens = u32::try_from(steps).unwrap_or(BASE_TOKENS).min(BASE_TOKENS);
        if self.tokens > 0 {
            self.refilled = now;
        }
    }
}

/// Finds the heads of frames in a byte stream that is cut anywhere.
#[derive(Debug, Default)]
struct HeadParser {
    head: [u8; HEAD_BYTES],
    head_len: usize,
    payload_left: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    /// Returns true for a DATA frame that has data or ends the stream. h2 limits frames with little
    /// data, but none that consist of padding.
    fn carries_data(&self) -> bool {
        self.kind == DATA
            && (self.flags & END_STREAM != 0 || (self.length > 0 && self.flags & PADDED == 0))
    }
}

impl HeadParser {
    /// Returns the next complete head, and advances `bytes` past it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.payload_left.min(bytes.len());
        self.payload_left -= skipped;
        *bytes = bytes.get(skipped..)?;
        // Most heads are in one piece.
        if let Some((head, rest)) = bytes.split_first_chunk().filter(|_| self.head_len == 0) {
            *bytes = rest;
            return Some(self.begin_frame(*head));
        }
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head_len));
        for (target, byte) in self.head.iter_mut().skip(self.head_len).zip(head) {
            *target = *byte;
        }
        *bytes = rest;
        self.head_len += head.len();
        if self.head_len < HEAD_BYTES {
            return None;
        }
        self.head_len = 0;
        Some(self.begin_frame(self.head))
    }

    fn begin_frame(&mut self, head: [u8; HEAD_BYTES]) -> FrameHead {
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let [high, middle, low] = [high, middle, low].map(usize::from);
        let length = (high << 16) | (middle << 8) | low;
        self.payload_left = length;
        FrameHead {
            length,
            kind,
            flags,
            // The first bit is reserved, and to be ignored.
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;
    const CONTINUATION: u8 = 9;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + usize::from(length), 0xff);
        frame
    }

    fn frames(kind: u8, flags: u8, length: u8, count: u32) -> Vec<u8> {
        frame(kind, flags, length).repeat(usize::try_from(count).unwrap())
    }

    /// A budget that is not refilled.
    fn budget() -> FrameBudget {
        FrameBudget {
            refilled: Instant::now() + Duration::from_hours(1),
            ..FrameBudget::new()
        }
    }

    #[rstest]
    #[case::whole(usize::MAX)]
    #[case::byte_by_byte(1)]
    #[case::across_heads_and_payloads(7)]
    fn heads_are_found_wherever_the_bytes_are_cut(#[case] piece: usize) {
        let long = [&[0, 1, 2, HEADERS, 4, 0, 0, 0, 1][..], &[PING; 258]].concat();
        let bytes = [frame(SETTINGS, 0, 0), long, frame(DATA, 1, 20)].concat();
        let mut heads = HeadParser::default();
        let mut found = Vec::new();
        for mut piece in bytes.chunks(piece.min(bytes.len())) {
            while let Some(head) = heads.next(&mut piece) {
                found.push((head.kind, head.flags, head.length));
            }
            assert!(piece.is_empty());
        }
        assert_eq!(found, [(SETTINGS, 0, 0), (HEADERS, 4, 258), (DATA, 1, 20)]);
    }

    /// A response counts even if it is a rejection, and the reserved bit of a stream is ignored.
    #[rstest]
    #[case::unanswered(&[], true)]
    #[case::answered(&[HEADERS, 4], false)]
    #[case::rejected(&[HEADERS, 5], false)]
    #[case::reset_by_the_server(&[RST_STREAM, 0], false)]
    fn requests_that_are_reset_before_the_response_are_cancelled(
        #[case] sent: &[u8],
        #[case] is_cancelling: bool,
    ) {
        let mut budget = budget();
        for _ in 0..17 {
            budget.record_received(&frame(HEADERS, 5, 9)).unwrap();
            if let [kind, flags] = *sent {
                budget.record_sent(&frame(kind, flags, 4));
            }
            let mut reset = frame(RST_STREAM, 0, 4);
            reset[5] = 0x80;
            budget.record_received(&reset).unwrap();
        }
        assert_eq!(budget.is_cancelling(), is_cancelling);
    }

    #[rstest]
    #[case::pings(PING, 0, 8)]
    #[case::settings(SETTINGS, 0, 6)]
    #[case::window_updates(WINDOW_UPDATE, 0, 4)]
    #[case::resets(RST_STREAM, 0, 4)]
    #[case::continuations(CONTINUATION, 0, 1)]
    #[case::empty_data(DATA, 0, 0)]
    #[case::padding_only(DATA, PADDED, 8)]
    #[case::unknown(0xfe, 0, 3)]
    fn frames_without_a_request_are_limited_to_the_base_tokens(
        #[case] kind: u8,
        #[case] flags: u8,
        #[case] length: u8,
    ) {
        let mut budget = budget();
        let base = frames(kind, flags, length, BASE_TOKENS);
        assert_eq!(budget.record_received(&base), Ok(()));
        let one_more = frame(kind, flags, length);
        assert_eq!(budget.record_received(&one_more), Err(FrameFlood));
    }

    #[test]
    fn refill_adds_at_most_the_base_tokens() {
        let mut budget = budget();
        let base = frames(PING, 0, 8, BASE_TOKENS);
        budget.record_received(&base).unwrap();
        budget.refilled = Instant::now().checked_sub(Duration::from_mins(10)).unwrap();
        assert_eq!(budget.record_received(&base), Ok(()));
        assert_eq!(budget.tokens, 0);
        let refilled = budget.refilled;
        budget.refill(refilled + Duration::from_secs(1));
        assert_eq!(budget.tokens, 16);
    }

    #[test]
    fn data_of_a_request_costs_nothing() {
        let mut budget = budget();
        let message = [frame(DATA, 0, 1), frame(DATA, END_STREAM, 0)].concat();
        assert_eq!(budget.record_received(&message.repeat(10_000)), Ok(()));
        assert_eq!(budget.tokens, BASE_TOKENS);
    }

    #[test]
    fn request_pays_for_window_updates_and_pings() {
        let mut budget = budget();
        let request = [frame(HEADERS, 4, 40), frame(DATA, END_STREAM, 20)].concat();
        let response = [
            frame(HEADERS, 4, 9),
            frame(DATA, 0, 200),
            frame(HEADERS, 5, 9),
        ]
        .concat();
        let control = [frames(WINDOW_UPDATE, 0, 4, 2), frame(PING, 0, 8)].concat();
        for _ in 0..1_000 {
            budget.record_received(&request).unwrap();
            budget.record_sent(&response);
            budget.record_received(&control.repeat(4)).unwrap();
        }
    }

    #[test]
    fn long_response_pays_for_an_update_of_each_frame() {
        let mut budget = budget();
        budget.record_sent(&frames(DATA, 0, 250, 2_000));
        let acknowledged = frames(WINDOW_UPDATE, 0, 4, 2 * 2_000);
        assert_eq!(budget.record_received(&acknowledged), Ok(()));
    }

    #[test]
    fn short_data_frames_add_no_tokens() {
        let mut budget = budget();
        for _ in 0..BASE_TOKENS {
            budget.record_sent(&frame(DATA, 0, 1));
            budget.record_received(&frame(WINDOW_UPDATE, 0, 4)).unwrap();
        }
        let update = budget.record_received(&frame(WINDOW_UPDATE, 0, 4));
        assert_eq!(update, Err(FrameFlood));
    }
}
