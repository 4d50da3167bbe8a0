//! The frames of HTTP/2 that a connection may carry: their heads are read as they pass, and a client
//! that sends more than its requests give it cause to is found out. What the frames mean is h2's.

use std::time::Duration;

use tokio::time::Instant;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// For each frame of a request or its response: the client may widen two windows, send a ping, and
/// cancel the request.
const TOKENS_PER_REQUEST_FRAME: u32 = 4;
/// A dribble of fewer bytes is not worth an answer.
const MIN_BYTES: usize = 32;
/// For frames without a request, such as keepalives.
const BASE_TOKENS: u32 = 256;
const BASE_TOKENS_PER_SECOND: u32 = 16;
/// Far more than is on its way at once: a client may widen its windows frame by frame.
const MAX_TOKENS: u32 = 16_384;

/// The frames that a client may still send that carry nothing of a request.
#[derive(Debug)]
pub(super) struct FrameBudget {
    received: Heads,
    sent: Heads,
    tokens: u32,
    refilled: Instant,
}

/// The client sends more frames than it has cause to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameFlood;

impl FrameBudget {
    pub(super) fn new() -> Self {
        Self {
            received: Heads::default(),
            sent: Heads::default(),
            tokens: BASE_TOKENS,
            refilled: Instant::now(),
        }
    }

    /// Takes note of what came from the client, from behind its preface on.
    pub(super) fn note_received(&mut self, mut bytes: &[u8]) -> Result<(), FrameFlood> {
        while let Some(head) = self.received.next(&mut bytes) {
            if head.kind == HEADERS {
                self.credit();
            } else if !head.carries_data() {
                self.debit()?;
            }
        }
        Ok(())
    }

    /// Takes note of what went to the client.
    pub(super) fn note_sent(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.sent.next(&mut bytes) {
            if head.kind == HEADERS || (head.kind == DATA && head.length >= MIN_BYTES) {
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

    /// Only where none is left: no clock is read for frames that have a cause.
    fn refill(&mut self, now: Instant) {
        let step = Duration::from_secs(1) / BASE_TOKENS_PER_SECOND;
        let steps = now.duration_since(self.refilled).as_millis() / step.as_millis();
        self.tokens = u32::try_from(steps).unwrap_or(BASE_TOKENS).min(BASE_TOKENS);
        if self.tokens > 0 {
            self.refilled = now;
        }
    }
}

/// Finds the heads of frames, however the bytes are cut.
#[derive(Debug, Default)]
struct Heads {
    head: [u8; HEAD_BYTES],
    known: usize,
    payload_left: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
}

impl Head {
    /// Of an empty frame only its end is worth something. h2 counts those that hold little, but
    /// what is padding alone it does not.
    fn carries_data(&self) -> bool {
        self.kind == DATA
            && (self.flags & END_STREAM != 0 || (self.length > 0 && self.flags & PADDED == 0))
    }
}

impl Heads {
    /// The next head that is complete, if there is one; the bytes up to it are taken.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.payload_left.min(bytes.len());
        self.payload_left -= skipped;
        *bytes = bytes.get(skipped..)?;
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.known));
        for (place, byte) in self.head.iter_mut().skip(self.known).zip(head) {
            *place = *byte;
        }
        *bytes = rest;
        self.known += head.len();
        if self.known < HEAD_BYTES {
            return None;
        }
        self.known = 0;
        let [high, middle, low, kind, flags, ..] = self.head;
        let [high, middle, low] = [high, middle, low].map(usize::from);
        let length = (high << 16) | (middle << 8) | low;
        self.payload_left = length;
        Some(Head {
            length,
            kind,
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const RST_STREAM: u8 = 3;
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

    /// Without what time brings.
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
    fn heads_are_found_however_the_bytes_are_cut(#[case] piece: usize) {
        let long = [&[0, 1, 2, HEADERS, 4, 0, 0, 0, 1][..], &[PING; 258]].concat();
        let bytes = [frame(SETTINGS, 0, 0), long, frame(DATA, 1, 20)].concat();
        let mut heads = Heads::default();
        let mut found = Vec::new();
        for mut piece in bytes.chunks(piece.min(bytes.len())) {
            while let Some(head) = heads.next(&mut piece) {
                found.push((head.kind, head.flags, head.length));
            }
            assert!(piece.is_empty());
        }
        assert_eq!(found, [(SETTINGS, 0, 0), (HEADERS, 4, 258), (DATA, 1, 20)]);
    }

    #[rstest]
    #[case::pings(PING, 0, 8)]
    #[case::settings(SETTINGS, 0, 6)]
    #[case::windows(WINDOW_UPDATE, 0, 4)]
    #[case::resets(RST_STREAM, 0, 4)]
    #[case::continuations(CONTINUATION, 0, 1)]
    #[case::data_without_any(DATA, 0, 0)]
    #[case::padding_alone(DATA, PADDED, 8)]
    #[case::what_nobody_knows(0xfe, 0, 3)]
    fn frames_without_a_cause_end_at_the_spare_ones(
        #[case] kind: u8,
        #[case] flags: u8,
        #[case] length: u8,
    ) {
        let mut budget = budget();
        let spare = frames(kind, flags, length, BASE_TOKENS);
        assert_eq!(budget.note_received(&spare), Ok(()));
        let one_more = frame(kind, flags, length);
        assert_eq!(budget.note_received(&one_more), Err(FrameFlood));
    }

    #[test]
    fn time_brings_some_again_and_never_more_than_the_spare_ones() {
        let mut budget = budget();
        let spare = frames(PING, 0, 8, BASE_TOKENS);
        budget.note_received(&spare).unwrap();
        budget.refilled = Instant::now().checked_sub(Duration::from_mins(10)).unwrap();
        assert_eq!(budget.note_received(&spare), Ok(()));
        assert_eq!(budget.tokens, 0);
        let refilled = budget.refilled;
        budget.refill(refilled + Duration::from_secs(1));
        assert_eq!(budget.tokens, 16);
    }

    #[test]
    fn what_carries_a_call_costs_nothing() {
        let mut budget = budget();
        let message = [frame(DATA, 0, 1), frame(DATA, END_STREAM, 0)].concat();
        assert_eq!(budget.note_received(&message.repeat(10_000)), Ok(()));
        assert_eq!(budget.tokens, BASE_TOKENS);
    }

    #[test]
    fn a_call_may_widen_windows_and_ask_how_far_the_server_is() {
        let mut budget = budget();
        let asked = [frame(HEADERS, 4, 40), frame(DATA, END_STREAM, 20)].concat();
        let answered = [
            frame(HEADERS, 4, 9),
            frame(DATA, 0, 200),
            frame(HEADERS, 5, 9),
        ]
        .concat();
        let beside = [frames(WINDOW_UPDATE, 0, 4, 2), frame(PING, 0, 8)].concat();
        for _ in 0..1_000 {
            budget.note_received(&asked).unwrap();
            budget.note_sent(&answered);
            budget.note_received(&beside.repeat(4)).unwrap();
        }
    }

    #[test]
    fn a_long_answer_may_be_acknowledged_frame_by_frame_at_its_end() {
        let mut budget = budget();
        budget.note_sent(&frames(DATA, 0, 250, 2_000));
        let acknowledged = frames(WINDOW_UPDATE, 0, 4, 2 * 2_000);
        assert_eq!(budget.note_received(&acknowledged), Ok(()));
    }

    #[test]
    fn a_dribble_earns_nothing() {
        let mut budget = budget();
        for _ in 0..BASE_TOKENS {
            budget.note_sent(&frame(DATA, 0, 1));
            budget.note_received(&frame(WINDOW_UPDATE, 0, 4)).unwrap();
        }
        let widened = budget.note_received(&frame(WINDOW_UPDATE, 0, 4));
        assert_eq!(widened, Err(FrameFlood));
    }
}
