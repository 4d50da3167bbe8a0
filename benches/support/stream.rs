//! `StreamRecipients` over all customers on one stream, counting its results.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{
    http2::{Connection, Event, Result},
    status::grpc_status,
};

/// Maximum number of pending bytes; more would only wait in the buffer.
const UNSENT_BYTES: usize = 256 * 1024;
/// Part of the stream's window that may be used before it is renewed.
const RENEWAL: u32 = 1 << 29;
/// Timeout for the server's next bytes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a stream.
pub(crate) struct Streamed {
    pub(crate) results: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) code: Option<Code>,
}

/// Sends all bodies as fast as the server takes them; counts results until the stream ends.
pub(crate) fn run(mut connection: Connection, bodies: &[u8]) -> Result<Streamed> {
    connection.set_nonblocking()?;
    let start = Instant::now();
    let stream = connection.open();
    let mut unsent = bodies;
    // Both count bytes that the server may send on the stream beyond its first window.
    let (mut granted, mut sent) = (0, 0);
    let mut results = Results::default();
    let mut used_window = 0;
    let mut last_word = start;
    loop {
        while !unsent.is_empty() && connection.unsent() < UNSENT_BYTES {
            let window = connection.initial_window() + granted - sent;
            let room = usize::try_from(window)
                .unwrap_or(0)
                .min(connection.frame_room());
            let (piece, rest) = unsent.split_at(room.min(unsent.len()));
            if piece.is_empty() {
                break;
            }
            connection.send(stream, piece, rest.is_empty());
            sent += i64::try_from(piece.len()).unwrap();
            unsent = rest;
        }
        connection.flush()?;
        if connection.wait(TIMEOUT)? && connection.read()? {
            last_word = Instant::now();
        } else if last_word.elapsed() > TIMEOUT {
            return Err("timeout: the server sends nothing".to_owned());
        }
        while let Some(event) = connection.next_event()? {
            match event {
                Event::Data { bytes, ends, .. } => {
                    results.take(bytes)?;
                    used_window += u32::try_from(bytes.len()).unwrap();
                    if ends {
                        return Err("the stream ended without a status".to_owned());
                    }
                }
                Event::Headers {
                    block, ends: true, ..
                } => {
                    return Ok(Streamed {
                        results: results.count,
                        messages: results.messages,
                        bytes: results.bytes,
                        elapsed: start.elapsed(),
                        code: grpc_status(block),
                    });
                }
                Event::Headers { .. } => {}
                Event::Window { more } => granted += i64::from(more),
                Event::Reset { code, .. } => {
                    return Err(format!("the server reset the stream with code {code}"));
                }
            }
        }
        if used_window >= RENEWAL {
            connection.push_window_update(stream, std::mem::take(&mut used_window));
        }
    }
}

/// Counts the entries of field 1 in messages that arrive in pieces, without decoding them.
#[derive(Default)]
struct Results {
    count: u64,
    messages: u64,
    bytes: u64,
    /// Remaining bytes of the current message.
    message_left: u64,
    state: State,
    /// The number being read, and how many of its bits were read.
    number: u64,
    bits: u32,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// The five bytes before a message; holds how many were read.
    #[default]
    Prefix,
    Tag,
    Length,
    Varint,
    Skip(u64),
}

/// Bits of the prefix: one byte for the compression flag, four for the length.
const PREFIX_BITS: u32 = 40;

impl Results {
    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.bytes += u64::try_from(bytes.len()).unwrap();
        while let Some((first, rest)) = bytes.split_first() {
            if let State::Skip(left) = self.state {
                let skipped = bytes.len().min(usize::try_from(left).unwrap());
                (_, bytes) = bytes.split_at(skipped);
                self.skip(left, u64::try_from(skipped).unwrap())?;
            } else {
                bytes = rest;
                self.take_byte(*first)?;
            }
        }
        Ok(())
    }

    fn take_byte(&mut self, byte: u8) -> Result<()> {
        if matches!(self.state, State::Prefix) {
            self.number = self.number << 8 | u64::from(byte);
            self.bits += 8;
            if self.bits == PREFIX_BITS {
                let length = self.finish_number();
                if length > u64::from(u32::MAX) {
                    return Err("unexpected compressed message".to_owned());
                }
                self.messages += 1;
                self.message_left = length;
                self.state = State::Tag;
                self.end_of_field();
            }
            return Ok(());
        }
        self.use_up(1)?;
        if self.bits > 63 {
            return Err("malformed message".to_owned());
        }
        self.number |= u64::from(byte & 0x7F) << self.bits;
        self.bits += 7;
        if byte & 0x80 != 0 {
            return Ok(());
        }
        let number = self.finish_number();
        match self.state {
            State::Tag => {
                if number >> 3 == 1 {
                    self.count += 1;
                }
                self.state = match number & 7 {
                    0 => State::Varint,
                    1 => State::Skip(8),
                    2 => State::Length,
                    5 => State::Skip(4),
                    _ => return Err("malformed message".to_owned()),
                };
                Ok(())
            }
            State::Length => self.skip(number, 0),
            State::Varint | State::Prefix | State::Skip(_) => {
                self.end_of_field();
                Ok(())
            }
        }
    }

    /// Skips up to `left` bytes that are not needed.
    fn skip(&mut self, left: u64, skipped: u64) -> Result<()> {
        self.use_up(skipped)?;
        self.state = State::Skip(left - skipped);
        if left == skipped {
            self.end_of_field();
        }
        Ok(())
    }

    fn use_up(&mut self, bytes: u64) -> Result<()> {
        let left = self.message_left.checked_sub(bytes);
        self.message_left = left.ok_or("the message is longer than its prefix says")?;
        Ok(())
    }

    const fn end_of_field(&mut self) {
        self.state = if self.message_left == 0 {
            State::Prefix
        } else {
            State::Tag
        };
    }

    const fn finish_number(&mut self) -> u64 {
        let number = self.number;
        self.number = 0;
        self.bits = 0;
        number
    }
}
