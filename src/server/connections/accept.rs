//! Connections from accept to the HTTP/2 preface. hyper, which costs far more per connection, gets
//! only those whose client has sent it.

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

use super::{
    connection::{Connection, MaybeTlsStream, PREFACE},
    read_pacer::ReadPacer,
};
use crate::{api::admission::ResponseBudget, connection_limit::ConnectionLimit, server::tls::Tls};

const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may wait for hyper.
const MAX_QUEUED: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of the gRPC port.
#[derive(Clone)]
pub(crate) struct Acceptor {
    /// `None` serves plaintext.
    pub(crate) tls: Option<Tls>,
    pub(crate) limit: ConnectionLimit,
    pub(crate) responses: ResponseBudget,
    pub(crate) pacer: ReadPacer,
}

impl Acceptor {
    /// Returns the connections whose clients sent the preface in time, and the future that accepts
    /// them. The future ends, and closes the listener, when the stream is dropped.
    pub(crate) fn accept_all(
        self,
        listener: TcpListener,
    ) -> (
        impl Stream<Item = io::Result<Connection>> + Send + 'static,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ready, connections) = mpsc::channel(MAX_QUEUED);
        let accept_all = async move {
            loop {
                let accepted = tokio::select! {
                    () = ready.closed() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, address)) = accepted else {
                    // Usually temporary, for example if no file descriptors are left.
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

    /// Returns `None` if the handshake fails, for whichever reason: a client that is in error is no
    /// event for the operator.
    async fn accept(self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        let permit = self.limit.admit(address.ip()).await?;
        let tls = self.tls.as_ref().map(Tls::acceptor);
        let transport = tokio::select! {
            transport = handshake(stream, tls) => transport?,
            () = permit.evicted() => return None,
        };
        let peer = self.responses.connect(Some(permit));
        Some(Connection::new(transport, peer, self.pacer))
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<MaybeTlsStream> {
    let _ = stream.set_nodelay(true);
    let mut transport = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let encrypted = timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
            Either::Right(Box::new(encrypted.ok()?.ok()?))
        }
    };
    let is_http_2 = timeout(PREFACE_TIMEOUT, read_preface(&mut transport)).await;
    is_http_2.ok()?.then_some(transport)
}

/// Reads the preface of HTTP/2; returns false as soon as the bytes differ from it.
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
    async fn preface_is_read_and_nothing_after_it(#[case] piece: usize) {
        let (mut client, mut server) = duplex(piece);
        let sent = tokio::spawn(async move {
            client.write_all(PREFACE).await.unwrap();
            client.write_all(b"after it").await.unwrap();
        });
        assert!(read_preface(&mut server).await);
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "after it");
        sent.await.unwrap();
    }

    #[rstest]
    #[case::http_1(b"GET / HTTP/1.1\r\n")]
    #[case::tls(&[22, 3, 1])]
    #[case::wrong_last_byte(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")]
    #[tokio::test]
    async fn other_protocol_is_rejected_at_once(#[case] start: &[u8]) {
        let (mut client, mut server) = duplex(64);
        client.write_all(start).await.unwrap();
        // Without waiting for further bytes.
        assert_eq!(read_preface(&mut server).now_or_never(), Some(false));
    }

    #[tokio::test]
    async fn incomplete_preface_is_rejected() {
        let (mut client, mut server) = duplex(64);
        client.write_all(&PREFACE[..23]).await.unwrap();
        drop(client);
        assert!(!read_preface(&mut server).await);
    }
}
