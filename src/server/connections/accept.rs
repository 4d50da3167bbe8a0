//! Connections from accept to the HTTP/2 preface, or the start of an HTTP/1.1 request. hyper, which costs
//! far more per connection, gets only those whose client has sent it.

use std::{io, net::SocketAddr, time::Duration};

use futures::FutureExt;
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
    accept_pacer::AcceptPacer,
    connection::{Connection, PREFACE, Start},
    read_pacer::ReadPacers,
    transport::MaybeTlsStream,
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
    pub(crate) pacers: ReadPacers,
    /// False closes connections that do not begin with the preface of HTTP/2.
    pub(crate) accepts_http_1: bool,
}

impl Acceptor {
    /// Returns the connections whose clients sent their first bytes in time, and the future that accepts
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
            let mut pacer = AcceptPacer::new();
            while !ready.is_closed() {
                if self.limit.is_full() {
                    pacer.pause().await;
                }
                let waiting = listener.accept().now_or_never();
                let had_waited = waiting.is_some();
                let accepted = if let Some(accepted) = waiting {
                    accepted
                } else {
                    tokio::select! {
                        () = ready.closed() => return,
                        accepted = listener.accept() => accepted,
                    }
                };
                pacer.record(had_waited);
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
        let (transport, start) = tokio::select! {
            transport = handshake(stream, tls) => transport?,
            () = permit.close_signal().sent() => return None,
        };
        if !self.accepts_http_1 && start != Start::Http2 {
            return None;
        }
        let peer = self.responses.connect(Some(permit));
        Some(Connection::new(transport, start, peer, self.pacers))
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<(MaybeTlsStream, Start)> {
    let _ = stream.set_nodelay(true);
    let mut transport = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let encrypted = timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
            Either::Right(Box::new(encrypted.ok()?.ok()?))
        }
    };
    let start = timeout(PREFACE_TIMEOUT, read_start(&mut transport)).await;
    Some((transport, start.ok()??))
}

/// Reads the preface of HTTP/2, or the bytes of a request of HTTP/1.1 up to the first that differs from
/// it. Returns `None` for the bytes of another protocol.
async fn read_start(client: &mut (impl AsyncRead + Unpin)) -> Option<Start> {
    let mut read = Vec::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() {
        let left = u64::try_from(PREFACE.len() - read.len()).unwrap_or(0);
        let count = client.take(left).read_buf(&mut read).await;
        if !matches!(count, Ok(1..)) {
            return None;
        }
        if !PREFACE.starts_with(&read) {
            // Requests begin with the name of their method.
            let is_request = read.first().is_some_and(u8::is_ascii_uppercase);
            return is_request.then(|| Start::Http1(read.into()));
        }
    }
    Some(Start::Http2)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use rstest::rstest;
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;
    use crate::{api::admission::Limits, observability::metrics::Limit};

    const PRI_WITH_WRONG_END: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r";

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
        assert_eq!(read_start(&mut server).await, Some(Start::Http2));
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "after it");
        sent.await.unwrap();
    }

    #[rstest]
    #[case::get(b"GET / HTTP/1.1\r\n", true)]
    #[case::post(b"PO", true)]
    #[case::wrong_last_byte(PRI_WITH_WRONG_END, true)]
    #[case::tls(&[22, 3, 1], false)]
    #[case::text(b"get", false)]
    #[tokio::test]
    async fn other_protocol_is_recognized_at_once(#[case] sent: &[u8], #[case] is_http_1: bool) {
        let (mut client, mut server) = duplex(64);
        client.write_all(sent).await.unwrap();
        // Without waiting for further bytes.
        let start = read_start(&mut server).now_or_never().unwrap();
        let http_1 = Start::Http1(Bytes::copy_from_slice(sent));
        assert_eq!(start, is_http_1.then_some(http_1));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_to_a_full_listener_are_accepted_one_by_one() {
        const CLIENTS: u32 = 5;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor {
            tls: None,
            limit: ConnectionLimit::new(0, 0, Limit::Connections),
            responses: Limits::default().response_budget(),
            pacers: ReadPacers::default(),
            accepts_http_1: false,
        };
        let clients = (0..CLIENTS).map(|_| TcpStream::connect(address));
        let clients = futures::future::try_join_all(clients).await.unwrap();
        let started = Instant::now();
        let (_incoming, accept_all) = acceptor.accept_all(listener);
        let closed = clients.into_iter().map(|mut client| async move {
            let _ = client.read(&mut [0]).await;
        });
        tokio::select! {
            () = accept_all => {}
            _ = futures::future::join_all(closed) => {}
        }
        assert!(started.elapsed() >= (CLIENTS - 1) * Duration::from_millis(1));
    }

    #[tokio::test]
    async fn incomplete_preface_is_rejected() {
        let (mut client, mut server) = duplex(64);
        client.write_all(&PREFACE[..23]).await.unwrap();
        drop(client);
        assert_eq!(read_start(&mut server).await, None);
    }
}
