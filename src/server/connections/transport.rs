//! The sockets below connections, with or without TLS.

use futures::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, Ready},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

pub(super) type MaybeTlsStream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The byte stream of a connection.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Returns true once the client has closed the connection, even if bytes from before are unread.
    fn is_closed_by_client(&self) -> bool;
}

impl Transport for MaybeTlsStream {
    fn is_closed_by_client(&self) -> bool {
        let socket = match self {
            Self::Left(socket) => socket,
            Self::Right(tls) => tls.get_ref().0,
        };
        let ready = socket.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed))
    }
}

#[cfg(test)]
impl Transport for tokio::io::DuplexStream {
    fn is_closed_by_client(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{
        super::{
            connection::{Connection, Start, tests::CANCELLED},
            read_pacer::ReadPacers,
        },
        *,
    };
    use crate::api::admission::Limits;

    /// Otherwise connections that their client leaves at once would wait for all of their turns.
    #[tokio::test]
    async fn paced_connection_ends_when_its_client_leaves() {
        let requests = CANCELLED.repeat(500);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        let (mut client, server) = (client.unwrap(), Either::Left(server.unwrap().0));
        let peer = Limits::default().response_budget().connect(None);
        let mut connection = Connection::new(server, Start::Http2, peer, ReadPacers::default());
        client.write_all(&requests).await.unwrap();
        let mut read = vec![0; requests.len() / 2];
        connection.read_exact(&mut read).await.unwrap();
        drop(client);
        read.clear();
        let ended = connection.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(read.len() < requests.len() / 4);
    }
}
