//! Connections from their accept until the client has sent the preface of HTTP/2: only then hyper gets
//! them, which costs far more.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::either::Either;

use super::{Connection, PREFACE, Transport};
use crate::{
    api::admission::peer::ResponseBudget, connection_limit::ConnectionLimit, server::tls::Tls,
};

/// Of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many may wait for hyper.
const WAITING: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are taken in.
#[derive(Clone)]
pub(in crate::server) struct Acceptor {
    /// `None`: without TLS.
    pub(in crate::server) tls: Option<Tls>,
    pub(in crate::server) limit: ConnectionLimit,
    pub(in crate::server) responses: ResponseBudget,
}

impl Acceptor {
    /// Returns the connections whose clients sent the preface in time, as long as the second part is
    /// run. It ends, and closes the listener, when the connections are taken no more.
    pub(in crate::server) fn accept_all(
        self,
        listener: TcpListener,
    ) -> (
        impl Stream<Item = io::Result<Connection>> + Send + 'static,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ready, connections) = mpsc::channel(WAITING);
        let accept_all = async move {
            loop {
                let accepted = tokio::select! {
                    () = ready.closed() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, address)) = accepted else {
                    // No more file descriptors, for example, which passes.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (acceptor, ready) = (self.clone(), ready.clone());
                tokio::spawn(async move {
                    if let Some(connection) = acceptor.accept(stream, address).await {
                        let _ = ready.send(Ok(connection)).await;
                    }
                });
            }
        };
        (ReceiverStream::new(connections), accept_all)
    }

    /// Why a connection came to nothing concerns its client alone.
    async fn accept(self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        let permit = self.limit.admit(address.ip()).await?;
        let tls = self.tls.as_ref().map(Tls::acceptor);
        let transport = tokio::select! {
            transport = handshake(stream, tls) => transport?,
            () = permit.evicted() => return None,
        };
        Some(Connection::new(
            transport,
            self.responses.connect(Some(permit)),
        ))
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Transport> {
    let _ = stream.set_nodelay(true);
    let mut transport = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let encrypted = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
            Either::Right(Box::new(encrypted.ok()?.ok()?))
        }
    };
    let is_http_2 = timeout(PREFACE_TIMEOUT, read_preface(&mut transport)).await;
    is_http_2.ok()?.then_some(transport)
}

/// Returns whether the client begins as one of HTTP/2 does.
async fn read_preface(client: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut read = Vec::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() {
        let left = u64::try_from(PREFACE.len() - read.len()).unwrap_or(0);
        let count = client.take(left).read_buf(&mut read).await;
        if !matches!(count, Ok(1..)) || !PREFACE.starts_with(&read) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use rstest::rstest;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[rstest]
    #[case::whole(PREFACE.len())]
    #[case::byte_by_byte(1)]
    #[tokio::test]
    async fn a_preface_is_taken_and_nothing_behind_it(#[case] piece: usize) {
        let (mut client, mut server) = duplex(piece);
        let sent = tokio::spawn(async move {
            client.write_all(PREFACE).await.unwrap();
            client.write_all(b"behind it").await.unwrap();
        });
        assert!(read_preface(&mut server).await);
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "behind it");
        sent.await.unwrap();
    }

    #[rstest]
    #[case::of_http_1(b"GET / HTTP/1.1\r\n")]
    #[case::of_tls(&[22, 3, 1])]
    #[case::that_goes_wrong_late(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")]
    #[tokio::test]
    async fn another_greeting_is_known_at_once(#[case] greeting: &[u8]) {
        let (mut client, mut server) = duplex(64);
        client.write_all(greeting).await.unwrap();
        // The client would say more.
        assert_eq!(read_preface(&mut server).now_or_never(), Some(false));
    }

    #[tokio::test]
    async fn half_a_preface_is_none() {
        let (mut client, mut server) = duplex(64);
        client.write_all(&PREFACE[..23]).await.unwrap();
        drop(client);
        assert!(!read_preface(&mut server).await);
    }
}
