//! The connections that calls come over, with TLS or without, as tonic reads and writes them: in
//! short turns, and only as long as the client has cause for what it sends. How they come to be is
//! told in `arrivals`.

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
use tonic::transport::server::Connected;

use super::frames::Allowance;
use crate::api::answers::HangUp;

/// What a client of HTTP/2 begins with.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read before others get their turn. h2 reads on for as long as there is something, and
/// so a connection would keep a thread for a megabyte.
const TURN_BYTES: usize = 4 * 1024;

/// What the bytes go over.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// A connection whose client has greeted.
#[derive(Debug)]
pub(super) struct Connection<T = Transport> {
    transport: Take<T>,
    /// Of the preface, which was read already.
    greeting: &'static [u8],
    /// What was read since others had their turn.
    turn: usize,
    allowance: Allowance,
    hang_up: HangUp,
}

impl<T: AsyncRead> Connection<T> {
    /// Of a transport that the preface was read from.
    pub(super) fn greeted(transport: T) -> Self {
        Self {
            transport: transport.take(0),
            greeting: PREFACE,
            turn: 0,
            allowance: Allowance::new(),
            hang_up: HangUp::default(),
        }
    }
}

/// What its calls know of it.
impl Connected for Connection {
    type ConnectInfo = HangUp;

    fn connect_info(&self) -> HangUp {
        self.hang_up.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.greeting.is_empty() {
            let (now, later) = this
                .greeting
                .split_at(this.greeting.len().min(buffer.remaining()));
            buffer.put_slice(now);
            this.greeting = later;
            return Poll::Ready(Ok(()));
        }
        if this.hang_up.poll_asked(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.turn >= TURN_BYTES {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let most = u64::try_from(TURN_BYTES - this.turn).unwrap_or(u64::MAX);
        this.transport.set_limit(most);
        let read = Pin::new(&mut this.transport).poll_read(context, buffer);
        match read {
            Poll::Pending => this.turn = 0,
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(())) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                this.turn += new.len();
                if this.allowance.note_received(new).is_err() {
                    // An error comes with nothing read.
                    buffer.set_filled(before);
                    tracing::debug!("too many frames that belong to no call: connection closed");
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
        if let Poll::Ready(Ok(mut length)) = written {
            for slice in slices {
                let (sent, _) = slice.split_at(slice.len().min(length));
                this.allowance.note_sent(sent);
                length -= sent.len();
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.get_ref().is_write_vectored()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[tokio::test]
    async fn the_preface_is_read_again_before_what_follows_it() {
        let (mut client, server) = duplex(1024);
        client.write_all(&PING).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        let mut connection = Connection::greeted(server);
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&PREFACE[..], &PING].concat());
    }

    #[tokio::test]
    async fn whoever_sends_much_lets_others_have_their_turn() {
        let (mut client, server) = duplex(1024 * 1024);
        // One frame of data, as far as it came.
        client
            .write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])
            .await
            .unwrap();
        client.write_all(&[7; 3 * TURN_BYTES]).await.unwrap();
        let mut connection = Connection::greeted(server);
        let mut buffer = [0; 2 * TURN_BYTES];
        let mut turns = vec![0];
        loop {
            match connection.read(&mut buffer).now_or_never() {
                Some(read) => *turns.last_mut().unwrap() += read.unwrap(),
                None if turns.last() == Some(&0) => break,
                None => turns.push(0),
            }
        }
        let first = PREFACE.len() + TURN_BYTES;
        assert_eq!(turns, [first, TURN_BYTES, TURN_BYTES, 9, 0]);
    }

    #[tokio::test]
    async fn whoever_sends_nothing_but_pings_is_read_no_more() {
        let (mut client, server) = duplex(1024 * 1024);
        client.write_all(&PING.repeat(10_000)).await.unwrap();
        let mut connection = Connection::greeted(server);
        let mut read = Vec::new();
        let ended = connection.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert!(read.len() < 1_000 * PING.len());
    }

    #[tokio::test]
    async fn pings_beside_answers_are_read_on() {
        let answer = [&[0, 0, 40, 0, 0, 0, 0, 0, 1][..], &[7; 40]].concat();
        let (mut client, server) = duplex(1024 * 1024);
        let mut connection = Connection::greeted(server);
        let mut greeting = [0; PREFACE.len()];
        connection.read_exact(&mut greeting).await.unwrap();
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
