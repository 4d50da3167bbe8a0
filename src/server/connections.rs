//! What a connection to the gRPC port may cost, and how it is kept to it.
//!
//! | what | bound | then |
//! |---|---|---|
//! | connections | `Limits::connections`, below the limit of file descriptors | one that is idle makes room, unauthenticated ones first (`connection_limit`) |
//! | time to shake hands | 5 s for TLS, 5 s for the preface of HTTP/2 | closed (`accept`) |
//! | frames without a request | 256, 16 more a second, and 4 for each frame of a request or response | closed (`frame_budget`) |
//! | bytes read in one turn | 4 KiB; 512 bytes before its first authenticated request | others have their turn |
//! | streams | 100 at once, 4 of them of health and reflection | rejected by HTTP/2; UNAVAILABLE |
//! | bytes of responses that it does not take | 8 MiB, and 32 MiB in the process | UNAVAILABLE; closed (`api::peer`) |
//! | time in which it takes nothing of a response, or of its socket | 60 s; nothing more is read from it | closed (`api::peer`) |
//! | time without an answer to a ping | 20 s, asked every 60 s | closed (hyper) |
//!
//! `docs/operations/client-limits.md` says how often each was reached, and how to change it.

mod accept;
mod frame_budget;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

pub(super) use self::accept::Acceptor;
use self::frame_budget::FrameBudget;
use crate::{
    api::admission::peer::Peer,
    observability::metrics::{Limit, limit_hit},
};

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read before others have their turn. h2 reads on for as long as there is something, and so
/// a connection would keep a thread for a megabyte.
const READ_QUOTA: usize = 4 * 1024;
/// Before the first authenticated request, so that a flood of requests without a token delays others
/// by a few requests only.
const UNAUTHENTICATED_READ_QUOTA: usize = 512;

type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection whose client has sent the preface, as hyper reads and writes it.
#[derive(Debug)]
pub(super) struct Connection<T = Transport> {
    transport: Take<T>,
    /// What hyper has yet to read of the preface.
    preface: &'static [u8],
    /// What was read since others had their turn.
    turn: usize,
    frames: FrameBudget,
    peer: Peer,
    evicted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Nothing is read from a client that takes nothing: h2 would queue a response to each request.
    is_write_blocked: bool,
}

impl<T: AsyncRead> Connection<T> {
    /// Takes a transport that the preface was read from.
    fn new(transport: T, peer: Peer) -> Self {
        Self {
            transport: transport.take(0),
            preface: PREFACE,
            turn: 0,
            frames: FrameBudget::new(),
            evicted: peer.evicted().map(Box::pin),
            peer,
            is_write_blocked: false,
        }
    }
}

/// What its requests know of it.
impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.preface.is_empty() {
            let (now, later) = this
                .preface
                .split_at(this.preface.len().min(buffer.remaining()));
            buffer.put_slice(now);
            this.preface = later;
            return Poll::Ready(Ok(()));
        }
        let evicted = this.evicted.as_mut();
        let is_evicted = evicted.is_some_and(|evicted| evicted.as_mut().poll(context).is_ready());
        if is_evicted || this.peer.poll_aborted(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.is_write_blocked {
            // The write that goes on wakes this task.
            return Poll::Pending;
        }
        let quota = if this.peer.is_authenticated() {
            READ_QUOTA
        } else {
            UNAUTHENTICATED_READ_QUOTA
        };
        if this.turn >= quota {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let most = u64::try_from(quota - this.turn).unwrap_or(u64::MAX);
        this.transport.set_limit(most);
        let read = Pin::new(&mut this.transport).poll_read(context, buffer);
        match read {
            Poll::Pending => this.turn = 0,
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(())) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                this.turn += new.len();
                if this.frames.note_received(new).is_err() {
                    // An error comes with nothing read.
                    buffer.set_filled(before);
                    limit_hit(Limit::ConnectionFrames);
                    tracing::debug!("too many frames that belong to no request: connection closed");
                    return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
                }
            }
        }
        read
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().transport.get_mut()).poll_flush(context)
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
        let transport = Pin::new(this.transport.get_mut());
        let written = transport.poll_write_vectored(context, slices);
        if this.is_write_blocked != written.is_pending() {
            this.is_write_blocked = written.is_pending();
            this.peer.set_write_blocked(this.is_write_blocked);
            if !this.is_write_blocked {
                // What arrived and was not read has woken nothing.
                context.waker().wake_by_ref();
            }
        }
        if let Poll::Ready(Ok(mut length)) = written {
            for slice in slices {
                let (sent, _) = slice.split_at(slice.len().min(length));
                this.frames.note_sent(sent);
                length -= sent.len();
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
    use futures::FutureExt;
    use rstest::rstest;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::api::admission::dispatch::Limits;
    use crate::{api::admission::peer::ResponseBudget, connection_limit::ConnectionLimit};

    fn greeted<T: AsyncRead>(transport: T) -> Connection<T> {
        Connection::new(transport, Limits::default().response_budget().connect(None))
    }

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[tokio::test]
    async fn the_preface_is_read_again_before_what_follows_it() {
        let (mut client, server) = duplex(1024);
        client.write_all(&PING).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        let mut connection = greeted(server);
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&PREFACE[..], &PING].concat());
    }

    #[rstest]
    #[case::authenticated(true, READ_QUOTA)]
    #[case::unauthenticated(false, UNAUTHENTICATED_READ_QUOTA)]
    #[tokio::test]
    async fn reads_yield_after_a_quota(#[case] is_authenticated: bool, #[case] quota: usize) {
        let (mut client, server) = duplex(1024 * 1024);
        // One frame of data, as far as it came.
        client
            .write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])
            .await
            .unwrap();
        client.write_all(&vec![7; 3 * quota]).await.unwrap();
        let limit = ConnectionLimit::new(1, 0, Limit::Connections);
        let permit = limit.try_admit([127, 0, 0, 1].into()).unwrap();
        if is_authenticated {
            permit.mark_authenticated();
        }
        let peer = ResponseBudget::new(1, 1).connect(Some(permit));
        let mut connection = Connection::new(server, peer);
        let mut buffer = vec![0; 2 * quota];
        let mut turns = vec![0];
        loop {
            match connection.read(&mut buffer).now_or_never() {
                Some(read) => *turns.last_mut().unwrap() += read.unwrap(),
                None if turns.last() == Some(&0) => break,
                None => turns.push(0),
            }
        }
        assert_eq!(turns, [PREFACE.len() + quota, quota, quota, 9, 0]);
    }

    #[tokio::test]
    async fn whoever_sends_nothing_but_pings_is_read_no_more() {
        let (mut client, server) = duplex(1024 * 1024);
        client.write_all(&PING.repeat(10_000)).await.unwrap();
        let mut connection = greeted(server);
        let mut read = Vec::new();
        let ended = connection.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert!(read.len() < 1_000 * PING.len());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_read_until_it_does() {
        let (mut client, server) = duplex(64);
        let mut connection = greeted(server);
        let mut buffer = [0; PREFACE.len() + PING.len()];
        connection
            .read_exact(&mut buffer[..PREFACE.len()])
            .await
            .unwrap();
        client.write_all(&PING).await.unwrap();
        // The second write finds no room.
        assert!(connection.write(&[0; 64]).now_or_never().is_some());
        assert!(connection.write(&[0; 64]).now_or_never().is_none());
        assert!(connection.read(&mut buffer).now_or_never().is_none());
        client.read_exact(&mut [0; 64]).await.unwrap();
        assert!(connection.write(&[0; 1]).now_or_never().is_some());
        assert_eq!(connection.read(&mut buffer).await.unwrap(), PING.len());
    }

    #[tokio::test]
    async fn pings_beside_answers_are_read_on() {
        let answer = [&[0, 0, 40, 0, 0, 0, 0, 0, 1][..], &[7; 40]].concat();
        let (mut client, server) = duplex(1024 * 1024);
        let mut connection = greeted(server);
        let mut preface = [0; PREFACE.len()];
        connection.read_exact(&mut preface).await.unwrap();
        for _ in 0..10_000 {
            client.write_all(&PING).await.unwrap();
            let mut ping = [0; PING.len()];
            connection.read_exact(&mut ping).await.unwrap();
            // In two parts, one behind the other in the same call.
            let (start, end) = answer.split_at(5);
            let slices = [io::IoSlice::new(start), io::IoSlice::new(end)];
            let written = connection.write_vectored(&slices).await.unwrap();
            assert_eq!(written, answer.len());
            client.read_exact(&mut vec![0; answer.len()]).await.unwrap();
        }
    }
}
