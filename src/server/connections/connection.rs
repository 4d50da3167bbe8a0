//! A connection as hyper reads and writes it: read quotas, the frame budget, eviction and the stall of
//! its writes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    time::Sleep,
};
use tonic::transport::server::Connected;

use super::{
    frame_budget::FrameBudget,
    read_pacer::{ReadPacer, ReadPacers},
    transport::{MaybeTlsStream, Transport},
};
use crate::{
    api::admission::Peer,
    observability::metrics::{Limit, limit_hit},
};

/// The connection preface of an HTTP/2 client (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that are read before the task yields. h2 reads for as long as there is data, so a connection
/// would occupy a thread for a megabyte. It reads again for each request that it hands over.
const READ_QUOTA: usize = 4 * 1024;
/// Bytes of a paced read: a few requests.
const PACED_READ_QUOTA: usize = 64;
/// Bytes of the head of a request of HTTP/1.1: as many as in HTTP/2, and the last read, which can contain the
/// start of the body.
const MAX_HEAD_BYTES: usize = 48 * 1024 + READ_QUOTA;
const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";
/// Requests that may be unserved on a connection without an authenticated one, before it is read at a
/// pace that all such connections share. More than a client may have in flight.
const MAX_UNSERVED: i64 = 128;

/// The first bytes of a connection, by which its protocol is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The preface of HTTP/2.
    Http2,
    /// The start of a request of HTTP/1.1: the bytes that were read.
    Http1(Bytes),
}

/// A connection whose client has sent its first bytes.
#[derive(Debug)]
pub(crate) struct Connection<T = MaybeTlsStream> {
    transport: Take<T>,
    /// The part of the first bytes that hyper has not read yet.
    start: Bytes,
    /// Bytes that were read since the task last yielded.
    read_since_yield: usize,
    /// `None` for HTTP/1.1, whose requests are served one after the other.
    frames: Option<FrameBudget>,
    /// Bytes of HTTP/1.1 that were read while no request was dispatched.
    head_bytes: usize,
    pacers: ReadPacers,
    /// The time of the next read, if that is paced.
    next_read: Option<Pin<Box<Sleep>>>,
    peer: Peer,
    /// Set while a write waits for a turn of the other tasks.
    is_write_deferred: bool,
    /// Set while the socket accepts no bytes. Nothing is read then: h2 would queue a response to each
    /// request.
    is_write_blocked: bool,
}

impl<T: Transport> Connection<T> {
    /// Wraps a transport that its first bytes were read from.
    pub(super) fn new(transport: T, start: Start, peer: Peer, pacers: ReadPacers) -> Self {
        let (start, frames) = match start {
            Start::Http2 => (Bytes::from_static(PREFACE), Some(FrameBudget::new())),
            Start::Http1(read) => (read, None),
        };
        Self {
            transport: transport.take(0),
            start,
            read_since_yield: 0,
            frames,
            head_bytes: 0,
            pacers,
            next_read: None,
            peer,
            is_write_deferred: false,
            is_write_blocked: false,
        }
    }

    /// Returns the pacer of the next read, if the connection has reached its limit.
    fn pacer(&self) -> Option<ReadPacer> {
        let frames = self.frames.as_ref();
        let is_cancelling = frames.is_some_and(FrameBudget::is_cancelling);
        if self.peer.is_authenticated() {
            return is_cancelling.then(|| self.pacers.cancelling.clone());
        }
        let in_frames = frames.map_or(0, FrameBudget::unserved_requests);
        let rejections = i64::try_from(self.peer.rejections()).unwrap_or(i64::MAX);
        let is_unserved = in_frames.saturating_add(rejections) >= MAX_UNSERVED;
        (is_unserved || is_cancelling).then(|| self.pacers.unauthenticated.clone())
    }

    /// Returns true once the connection is to be closed, as polled by a write: hyper reads nothing of
    /// HTTP/1.1 while it holds the start of the next request.
    fn poll_closed_for_write(&mut self, context: &mut Context<'_>) -> bool {
        self.frames.is_none() && self.peer.poll_closed(context)
    }

    /// Makes each write wait for one turn of the other tasks while several requests are unanswered, so that
    /// their responses share a system call: it costs more than all other work of a short request.
    fn poll_write_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let frames = self.frames.as_ref();
        // A blocked write would wake the task again and again.
        let may_share =
            !self.is_write_blocked && frames.is_some_and(|frames| frames.unanswered_requests() > 1);
        self.is_write_deferred = may_share && !self.is_write_deferred;
        if !self.is_write_deferred {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Accounts for bytes of HTTP/1.1. Returns false once they are more than the head of a request may have.
    fn record_head(&mut self, bytes: usize) -> bool {
        self.head_bytes = if self.peer.has_dispatched() {
            0
        } else {
            self.head_bytes + bytes
        };
        self.head_bytes <= MAX_HEAD_BYTES
    }

    /// Waits for the time of the next read.
    fn poll_pace(&mut self, pacer: &ReadPacer, context: &mut Context<'_>) -> Poll<()> {
        let next_read = self
            .next_read
            .get_or_insert_with(|| Box::pin(pacer.next_read()));
        std::task::ready!(next_read.as_mut().poll(context));
        self.next_read = None;
        Poll::Ready(())
    }
}

/// Makes the peer an extension of each request.
impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<T: Transport> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.start.is_empty() {
            let length = this.start.len().min(buffer.remaining());
            buffer.put_slice(&this.start.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if this.peer.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.is_write_blocked {
            // The write that makes progress wakes this task.
            return Poll::Pending;
        }
        let pacer = this.pacer();
        let quota = pacer.as_ref().map_or(READ_QUOTA, |_| PACED_READ_QUOTA);
        if this.read_since_yield >= quota {
            this.read_since_yield = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(pacer) = pacer {
            std::task::ready!(this.poll_pace(&pacer, context));
            if this.transport.get_ref().is_closed_by_client() {
                // Its last requests would take the turns of others.
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        let before = buffer.filled().len();
        let limit = u64::try_from(quota - this.read_since_yield).unwrap_or(u64::MAX);
        this.transport.set_limit(limit);
        let read = Pin::new(&mut this.transport).poll_read(context, buffer);
        match read {
            Poll::Pending => this.read_since_yield = 0,
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(())) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                this.read_since_yield += new.len();
                let Some(frames) = &mut this.frames else {
                    if this.record_head(new.len()) {
                        return read;
                    }
                    buffer.set_filled(before);
                    // Nothing else is written before the head of a request is complete.
                    let transport = Pin::new(this.transport.get_mut());
                    let _ = transport.poll_write(context, HEAD_TOO_LARGE);
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                };
                if frames.record_received(new).is_err() {
                    // A read that fails must add no bytes.
                    buffer.set_filled(before);
                    limit_hit(Limit::ConnectionFrames);
                    tracing::debug!("connection closed: too many frames without a request");
                    return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
                }
            }
        }
        read
    }
}

impl<T: Transport> AsyncWrite for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.poll_closed_for_write(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(this.transport.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().transport.get_mut()).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.poll_closed_for_write(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        std::task::ready!(this.poll_write_turn(context));
        let transport = Pin::new(this.transport.get_mut());
        let written = transport.poll_write_vectored(context, slices);
        if this.is_write_blocked != written.is_pending() {
            this.is_write_blocked = written.is_pending();
            this.peer.set_write_blocked(this.is_write_blocked);
            if !this.is_write_blocked {
                // Bytes that arrived while reads were paused have not woken the reader.
                context.waker().wake_by_ref();
            }
        }
        if let (Poll::Ready(Ok(written)), Some(frames)) = (&written, &mut this.frames) {
            let mut left = *written;
            for slice in slices {
                let (sent, _) = slice.split_at(slice.len().min(left));
                frames.record_sent(sent);
                left -= sent.len();
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
pub(super) mod tests;
