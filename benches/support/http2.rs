//! A minimal HTTP/2 client for gRPC over a plain socket: frames, flow control, and a header block
//! that is encoded once. It costs almost nothing, so the measurement is of the server and not of
//! its client.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flag of DATA and HEADERS.
const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const DEFAULT_WINDOW: u32 = 65_535;
const LARGEST_WINDOW: u32 = 0x7FFF_FFFF;
/// Part of our window that may be used before it is renewed.
const RENEWAL: u32 = 1 << 29;
/// Several times the largest frame that we allow.
const INPUT_BYTES: usize = 256 * 1024;
const FIRST_RESPONSE: Duration = Duration::from_secs(10);

/// Failures of a connection are one line of text.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// An event on a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    Headers {
        stream: u32,
        block: &'a [u8],
        ends: bool,
    },
    Data {
        stream: u32,
        bytes: &'a [u8],
        ends: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    Window {
        more: u32,
    },
}

/// A connection to the server.
pub(crate) struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    unread: std::ops::Range<usize>,
    output: Vec<u8>,
    /// The header block of every request.
    head: Vec<u8>,
    next_stream: u32,
    used_window: u32,
    /// The connection's remaining send window.
    send_window: i64,
    /// The initial send window of each stream.
    initial_window: i64,
    max_streams: usize,
    max_frame: usize,
    has_settings: bool,
}

impl Connection {
    /// Connects and waits for the server's settings.
    pub(crate) fn connect(address: &str, head: Vec<u8>) -> Result<Self> {
        let socket = TcpStream::connect(address).map_err(|error| failed("connecting", &error))?;
        socket
            .set_nodelay(true)
            .map_err(|error| failed("connecting", &error))?;
        let mut connection = Self {
            socket,
            input: vec![0; INPUT_BYTES],
            unread: 0..0,
            output: PREFACE.to_vec(),
            head,
            next_stream: 1,
            used_window: 0,
            send_window: i64::from(DEFAULT_WINDOW),
            initial_window: i64::from(DEFAULT_WINDOW),
            max_streams: usize::MAX,
            max_frame: 16_384,
            has_settings: false,
        };
        connection.push_frame_head(18, SETTINGS, 0, 0);
        for (setting, value) in [
            (HEADER_TABLE_SIZE, 0),
            (ENABLE_PUSH, 0),
            (INITIAL_WINDOW_SIZE, LARGEST_WINDOW),
        ] {
            connection.output.extend(setting.to_be_bytes());
            connection.output.extend(value.to_be_bytes());
        }
        connection.push_window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW);
        connection.flush()?;
        connection.set_timeout(Some(FIRST_RESPONSE))?;
        while !connection.has_settings {
            if !connection.read()? {
                return Err("the server does not speak HTTP/2".to_owned());
            }
            while connection.next_event()?.is_some() {}
        }
        connection.flush()?;
        Ok(connection)
    }

    /// Timeout of [`read`](Self::read); `None`: none.
    pub(crate) fn set_timeout(&self, patience: Option<Duration>) -> Result<()> {
        let set = self.socket.set_read_timeout(patience);
        set.map_err(|error| failed("setting up", &error))
    }

    /// Makes reads and writes non-blocking.
    pub(crate) fn set_nonblocking(&self) -> Result<()> {
        let set = self.socket.set_nonblocking(true);
        set.map_err(|error| failed("setting up", &error))
    }

    /// Maximum number of concurrent streams that the server allows.
    pub(crate) const fn max_streams(&self) -> usize {
        self.max_streams
    }

    /// The server's initial window of a stream; negative if the server reduced it.
    pub(crate) const fn initial_window(&self) -> i64 {
        self.initial_window
    }

    /// True if a request with a body of this length fits into the window.
    pub(crate) fn has_room(&self, body: usize) -> bool {
        let body = i64::try_from(body).unwrap();
        body <= self.send_window && body <= self.initial_window
    }

    /// Length of the next frame that the connection's window permits.
    pub(crate) fn frame_room(&self) -> usize {
        usize::try_from(self.send_window)
            .unwrap_or(0)
            .min(self.max_frame)
    }

    /// Number of bytes that are not written yet.
    pub(crate) const fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Begins a request; returns its stream id.
    pub(crate) fn open(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let length = self.head.len();
        self.push_frame_head(length, HEADERS, END_HEADERS, stream);
        self.output.extend_from_slice(&self.head);
        stream
    }

    /// Sends a part of a body. The caller observes the windows.
    pub(crate) fn send(&mut self, stream: u32, bytes: &[u8], ends: bool) -> &mut [u8] {
        let flags = if ends { END_STREAM } else { 0 };
        self.push_frame_head(bytes.len(), DATA, flags, stream);
        self.send_window -= i64::try_from(bytes.len()).unwrap();
        let begin = self.output.len();
        self.output.extend_from_slice(bytes);
        self.output.get_mut(begin..).unwrap()
    }

    fn push_frame_head(&mut self, length: usize, kind: u8, flags: u8, stream: u32) {
        let [_, length @ ..] = u32::try_from(length).unwrap().to_be_bytes();
        self.output.extend(length);
        self.output.extend([kind, flags]);
        self.output.extend(stream.to_be_bytes());
    }

    /// Extends our window of a stream or, with stream 0, of the connection.
    pub(crate) fn push_window_update(&mut self, stream: u32, more: u32) {
        self.push_frame_head(4, WINDOW_UPDATE, 0, stream);
        self.output.extend(more.to_be_bytes());
    }

    /// Writes pending bytes as far as the socket accepts them.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("writing", &error)),
            }
        }
        Ok(())
    }

    /// Waits until the socket is readable, or writable if bytes are pending, at most for
    /// `timeout`. Returns true if it is readable.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool> {
        let mut flags = PollFlags::IN;
        if !self.output.is_empty() {
            flags |= PollFlags::OUT;
        }
        let timeout = Timespec::try_from(timeout).map_err(|_| "the wait is too long")?;
        let mut sockets = [PollFd::from_borrowed_fd(self.socket.as_fd(), flags)];
        match poll(&mut sockets, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("waiting", &error.into())),
        }
        let [socket] = sockets;
        // Errors too: the read reports them.
        Ok(socket.revents().difference(PollFlags::OUT) != PollFlags::empty())
    }

    /// Reads available bytes; `false`: nothing arrived in time.
    pub(crate) fn read(&mut self) -> Result<bool> {
        self.input.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let free = self.input.get_mut(self.unread.end..).unwrap();
        match self.socket.read(free) {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(length) => {
                self.unread.end += length;
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed("reading", &error)),
        }
    }

    /// The next event; `None`: more bytes are needed. Frames of the connection itself are
    /// processed here.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        loop {
            let unread = self.input.get(self.unread.clone()).unwrap();
            let Some((head, rest)) = unread.split_first_chunk::<FRAME_HEAD>() else {
                return Ok(None);
            };
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
            if rest.len() < length {
                return Ok(None);
            }
            let begin = self.unread.start + FRAME_HEAD;
            let payload = begin..begin + length;
            self.unread.start = payload.end;
            let stream = u32::from_be_bytes(stream);
            let ends = flags & END_STREAM != 0;
            match kind {
                DATA => {
                    self.renew_window(length)?;
                    if flags & PADDED != 0 {
                        return Err("padded frames are not supported".to_owned());
                    }
                    let bytes = self.input.get(payload).unwrap();
                    return Ok(Some(Event::Data {
                        stream,
                        bytes,
                        ends,
                    }));
                }
                HEADERS => {
                    let block = self.input.get(payload).unwrap();
                    return Ok(Some(Event::Headers {
                        stream,
                        block,
                        ends,
                    }));
                }
                RST_STREAM => {
                    let code = self.number_at(payload.start);
                    return Ok(Some(Event::Reset { stream, code }));
                }
                WINDOW_UPDATE => {
                    let more = self.number_at(payload.start);
                    if stream != 0 {
                        return Ok(Some(Event::Window { more }));
                    }
                    self.send_window += i64::from(more);
                }
                SETTINGS if flags & ACK == 0 => self.take_settings(payload),
                PING if flags & ACK == 0 => {
                    self.push_frame_head(length, PING, ACK, 0);
                    self.output
                        .extend_from_slice(self.input.get(payload).unwrap());
                }
                GOAWAY => {
                    let code = self.number_at(payload.start + 4);
                    return Err(format!("the server sent GOAWAY with code {code}"));
                }
                // Frames that the standard says to ignore, and CONTINUATION, because headers are
                // not decoded.
                _ => {}
            }
        }
    }

    /// Reads four bytes as a number; only for frames of that length.
    fn number_at(&self, begin: usize) -> u32 {
        let bytes = self
            .input
            .get(begin..)
            .and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn renew_window(&mut self, used: usize) -> Result<()> {
        self.used_window += u32::try_from(used).map_err(|_| "the frame is too long")?;
        if self.used_window >= RENEWAL {
            let used = std::mem::take(&mut self.used_window);
            self.push_window_update(0, used);
        }
        Ok(())
    }

    fn take_settings(&mut self, payload: std::ops::Range<usize>) {
        let (settings, _) = self.input.get(payload).unwrap().as_chunks::<6>();
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            let size = usize::try_from(value).unwrap();
            match u16::from_be_bytes([*a, *b]) {
                MAX_CONCURRENT_STREAMS => self.max_streams = size,
                INITIAL_WINDOW_SIZE => self.initial_window = i64::from(value),
                MAX_FRAME_SIZE => self.max_frame = size,
                _ => {}
            }
        }
        self.has_settings = true;
        self.push_frame_head(0, SETTINGS, ACK, 0);
    }
}

fn failed(what: &str, error: &std::io::Error) -> String {
    format!("{what} failed: {error}")
}

/// The header block of a gRPC request: HPACK with literal fields and without Huffman coding, so
/// it is identical for every request.
pub(crate) fn request_head(authority: &str, path: &str, token: &str) -> Vec<u8> {
    // Static table: 3 is `:method: POST`, 6 is `:scheme: http`.
    let mut head = vec![0x80 | 3, 0x80 | 6];
    let authorization = format!("Bearer {token}");
    for (static_name, value) in [
        (4, path),
        (1, authority),
        (31, "application/grpc"),
        (23, authorization.as_str()),
    ] {
        push_integer(&mut head, static_name, 4);
        push_string(&mut head, value);
    }
    head.push(0);
    push_string(&mut head, "te");
    push_string(&mut head, "trailers");
    head
}

fn push_string(head: &mut Vec<u8>, text: &str) {
    push_integer(head, text.len(), 7);
    head.extend_from_slice(text.as_bytes());
}

/// An HPACK integer with a prefix of zero bits (RFC 7541, section 5.1).
fn push_integer(head: &mut Vec<u8>, integer: usize, prefix_bits: u32) {
    let full = (1 << prefix_bits) - 1;
    if integer < full {
        head.push(u8::try_from(integer).unwrap());
        return;
    }
    head.push(u8::try_from(full).unwrap());
    let mut rest = integer - full;
    while rest >= 128 {
        head.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    head.push(u8::try_from(rest).unwrap());
}
