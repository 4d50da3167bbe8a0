//! The connections of callers, from their arrival on, with TLS or without.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use super::tls::Tls;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes cost more than calls; others wait in the system's queue.
const HANDSHAKES_AT_ONCE: usize = 1024;
const WAITING: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that calls come over.
#[derive(Debug)]
pub(super) enum Connection {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Self::Plain(stream) => stream.connect_info(),
            Self::Encrypted(stream) => stream.get_ref().0.connect_info(),
        }
    }
}

/// Without TLS: every connection that arrives.
pub(super) fn plain(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    incoming.map(|accepted| accepted.map(Connection::Plain))
}

/// With TLS: those whose handshake succeeds in time, as long as the second part is run. It
/// ends, and closes the listener, when nobody takes the connections any more.
pub(super) fn encrypted(
    listener: TcpListener,
    tls: Tls,
) -> (
    impl Stream<Item = io::Result<Connection>> + Send + 'static,
    impl Future<Output = ()> + Send + 'static,
) {
    let (ready, taken) = mpsc::channel(WAITING);
    let accept_all = async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
        loop {
            let accept = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = ready.closed() => return,
                accepted = accept => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // No more file handles, say: it passes.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (acceptor, ready) = (tls.acceptor(), ready.clone());
            tokio::spawn(async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
                // Why a handshake failed concerns its client alone.
                if let Ok(Ok(stream)) = shaken {
                    let connection = Connection::Encrypted(Box::new(stream));
                    let _ = ready.send(Ok(connection)).await;
                }
            });
        }
    };
    (ReceiverStream::new(taken), accept_all)
}

impl AsyncRead for Connection {
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

impl AsyncWrite for Connection {
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
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}
