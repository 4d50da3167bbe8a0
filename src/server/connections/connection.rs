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
use tokio_util::sync::WaitForCancellationFutureOwned;
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
    evicted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
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
            evicted: peer.evicted().map(Box::pin),
            peer,
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

    /// Returns true once the connection is to be closed; otherwise the task is woken then.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> bool {
        let evicted = self.evicted.as_mut();
        let is_evicted = evicted.is_some_and(|evicted| evicted.as_mut().poll(context).is_ready());
        is_evicted || self.peer.poll_aborted(context)
    }

    /// The same for a write. hyper reads nothing of HTTP/1.1 while it holds the start of the next request.
    fn poll_closed_for_write(&mut self, context: &mut Context<'_>) -> bool {
        self.frames.is_none() && self.poll_closed(context)
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
        if this.poll_closed(context) {
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
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use rstest::rstest;
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;
    use crate::{
        api::admission::{Limits, ResponseBudget},
        connection_limit::ConnectionLimit,
    };

    fn connection<T: Transport>(transport: T) -> Connection<T> {
        let peer = Limits::default().response_budget().connect(None);
        Connection::new(transport, Start::Http2, peer, ReadPacers::default())
    }

    fn http_1<T: Transport>(transport: T, peer: Peer) -> Connection<T> {
        let start = Start::Http1(Bytes::from_static(b"POST"));
        Connection::new(transport, start, peer, ReadPacers::default())
    }

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[tokio::test]
    async fn preface_is_replayed_before_the_bytes_that_follow() {
        let (mut client, server) = duplex(1024);
        client.write_all(&PING).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        let mut connection = connection(server);
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&PREFACE[..], &PING].concat());
    }

    #[tokio::test]
    async fn reads_yield_after_a_quota() {
        let (mut client, server) = duplex(1024 * 1024);
        // The start of a long data frame.
        client
            .write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])
            .await
            .unwrap();
        client.write_all(&[7; 3 * READ_QUOTA]).await.unwrap();
        let mut connection = connection(server);
        let mut buffer = [0; 2 * READ_QUOTA];
        let mut reads = vec![0];
        loop {
            match connection.read(&mut buffer).now_or_never() {
                Some(read) => *reads.last_mut().unwrap() += read.unwrap(),
                None if reads.last() == Some(&0) => break,
                None => reads.push(0),
            }
        }
        assert_eq!(
            reads,
            [PREFACE.len() + READ_QUOTA, READ_QUOTA, READ_QUOTA, 9, 0]
        );
    }

    /// Headers that end the stream, as short as can be.
    const REQUEST: &[u8] = &[0, 0, 0, 1, 5, 0, 0, 0, 1];
    const CANCELLED: &[u8] = &[
        0, 0, 0, 1, 5, 0, 0, 0, 1, 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8,
    ];

    #[rstest]
    #[case::authenticated([true; 2], REQUEST, 0)]
    #[case::unauthenticated([false; 2], REQUEST, 107)]
    #[case::cancelling([true; 2], CANCELLED, 333)]
    #[case::unauthenticated_and_cancelling([false; 2], CANCELLED, 333)]
    #[case::each_at_a_pace_of_its_own([true, false], CANCELLED, 166)]
    #[tokio::test(start_paused = true)]
    async fn abusive_connections_share_a_pace_of_reads(
        #[case] are_authenticated: [bool; 2],
        #[case] request: &[u8],
        #[case] milliseconds: u64,
    ) {
        let limit = ConnectionLimit::new(2, 0, Limit::Connections);
        let (pacers, started) = (ReadPacers::default(), Instant::now());
        let floods = are_authenticated.map(|is_authenticated| {
            let (mut client, server) = duplex(1024 * 1024);
            let permit = limit.try_admit([127, 0, 0, 1].into()).unwrap();
            if is_authenticated {
                permit.mark_authenticated();
            }
            let peer = ResponseBudget::new(1, 1).connect(Some(permit));
            let mut connection = Connection::new(server, Start::Http2, peer, pacers.clone());
            async move {
                client.write_all(&request.repeat(500)).await.unwrap();
                drop(client);
                while connection.read(&mut [0; 64]).await.unwrap() > 0 {}
            }
        });
        futures::future::join_all(floods).await;
        assert_eq!(started.elapsed(), Duration::from_millis(milliseconds));
    }

    #[tokio::test]
    async fn flood_of_pings_ends_the_connection() {
        let (mut client, server) = duplex(1024 * 1024);
        client.write_all(&PING.repeat(10_000)).await.unwrap();
        let mut connection = connection(server);
        let mut read = Vec::new();
        let ended = connection.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert!(read.len() < 1_000 * PING.len());
    }

    #[tokio::test]
    async fn http_1_has_no_frame_budget() {
        let (mut client, server) = duplex(1024 * 1024);
        client.write_all(&PING.repeat(10_000)).await.unwrap();
        drop(client);
        let peer = Limits::default().response_budget().connect(None);
        // So that these bytes belong to its body.
        let _dispatched = peer.dispatch();
        let mut connection = http_1(server, peer.clone());
        let mut read = Vec::new();
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), 4 + 10_000 * PING.len());
    }

    #[rstest]
    #[case::largest(MAX_HEAD_BYTES, true)]
    #[case::too_large(MAX_HEAD_BYTES + 1, false)]
    #[tokio::test]
    async fn head_of_http_1_is_limited(#[case] bytes: usize, #[case] is_read: bool) {
        let (mut client, server) = duplex(1024 * 1024);
        client.write_all(&vec![b'a'; bytes]).await.unwrap();
        let peer = Limits::default().response_budget().connect(None);
        let mut connection = http_1(server, peer);
        let mut read = vec![0; 4 + bytes];
        assert_eq!(connection.read_exact(&mut read).await.is_ok(), is_read);
        drop(connection);
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert_eq!(response.starts_with("HTTP/1.1 431 "), !is_read);
    }

    /// hyper reads nothing while it holds the start of the next request.
    #[tokio::test]
    async fn aborted_connection_of_http_1_ends_at_a_write() {
        let (_client, server) = duplex(64);
        let peer = Limits::default().response_budget().connect(None);
        let mut connection = http_1(server, peer.clone());
        connection.write_all(&[0; 8]).await.unwrap();
        connection.flush().await.unwrap();
        peer.abort();
        assert!(connection.write(&[0; 8]).await.is_err());
        assert!(connection.flush().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn rejections_with_a_body_pace_reads() {
        const UNSERVED: usize = 128;
        let (mut client, server) = duplex(1024);
        let limit = ConnectionLimit::new(1, 0, Limit::Connections);
        let permit = limit.try_admit([127, 0, 0, 1].into()).unwrap();
        let peer = Limits::default().response_budget().connect(Some(permit));
        let mut connection = http_1(server, peer.clone());
        for _ in 0..UNSERVED {
            peer.reject(Bytes::from_static(b"{}"));
        }
        client.write_all(&[b'a'; 256]).await.unwrap();
        let started = Instant::now();
        connection.read_exact(&mut [0; 4 + 256]).await.unwrap();
        // Four reads, the first of them at once.
        assert_eq!(started.elapsed(), Duration::from_millis(3));
        peer.begin_request();
        client.write_all(&[b'a'; 256]).await.unwrap();
        let started = Instant::now();
        connection.read_exact(&mut [0; 256]).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn stalled_reader_is_not_read_until_it_reads() {
        let (mut client, server) = duplex(64);
        let mut connection = connection(server);
        let mut buffer = [0; PREFACE.len() + PING.len()];
        connection
            .read_exact(&mut buffer[..PREFACE.len()])
            .await
            .unwrap();
        client.write_all(&PING).await.unwrap();
        // The second write does not fit into the buffer.
        assert!(connection.write(&[0; 64]).now_or_never().is_some());
        assert!(connection.write(&[0; 64]).now_or_never().is_none());
        assert!(connection.read(&mut buffer).now_or_never().is_none());
        client.read_exact(&mut [0; 64]).await.unwrap();
        assert!(connection.write(&[0; 1]).now_or_never().is_some());
        assert_eq!(connection.read(&mut buffer).await.unwrap(), PING.len());
    }

    #[tokio::test]
    async fn pings_between_responses_are_accepted() {
        let response = [&[0, 0, 40, 0, 0, 0, 0, 0, 1][..], &[7; 40]].concat();
        let (mut client, server) = duplex(1024 * 1024);
        let mut connection = connection(server);
        let mut preface = [0; PREFACE.len()];
        connection.read_exact(&mut preface).await.unwrap();
        for _ in 0..10_000 {
            client.write_all(&PING).await.unwrap();
            let mut ping = [0; PING.len()];
            connection.read_exact(&mut ping).await.unwrap();
            // In two slices of the same call.
            let (start, end) = response.split_at(5);
            let slices = [io::IoSlice::new(start), io::IoSlice::new(end)];
            let written = connection.write_vectored(&slices).await.unwrap();
            assert_eq!(written, response.len());
            client
                .read_exact(&mut vec![0; response.len()])
                .await
                .unwrap();
        }
    }
}
