//! Connections from their arrival until the client has greeted in HTTP/2: only then tonic has them,
//! which costs far more. What becomes of them afterwards is told in `connections`.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};

use super::{
    connections::{Connection, PREFACE, Transport},
    tls::Tls,
};

/// Of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Others wait in the system's queue.
const ARRIVING_AT_ONCE: usize = 1024;
/// After which those that have not greeted make room, where there is none.
const LEISURE: Duration = Duration::from_millis(500);
/// How many may wait for tonic.
const WAITING: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections whose clients greeted in time, as long as the second part is run. It ends, and
/// closes the listener, when nobody takes the connections any more. Without `tls` they are plain.
pub(super) fn arrivals(
    listener: TcpListener,
    tls: Option<Tls>,
) -> (
    impl Stream<Item = io::Result<Connection>> + Send + 'static,
    impl Future<Output = ()> + Send + 'static,
) {
    let (ready, taken) = mpsc::channel(WAITING);
    let accept_all = async move {
        let places = Arc::new(Semaphore::new(ARRIVING_AT_ONCE));
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
            let arrival = arrive(stream, tls.as_ref().map(Tls::acceptor));
            let (places, ready) = (Arc::clone(&places), ready.clone());
            tokio::spawn(async move {
                let _place = place;
                if let Some(Some(connection)) = unless_crowded(&places, LEISURE, arrival).await {
                    let _ = ready.send(Ok(connection)).await;
                }
            });
        }
    };
    (ReceiverStream::new(taken), accept_all)
}

/// Why a connection came to nothing concerns its client alone.
async fn arrive(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Connection> {
    let _ = stream.set_nodelay(true);
    let mut transport = match tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
            Transport::Encrypted(Box::new(shaken.ok()?.ok()?))
        }
    };
    let greeted = timeout(GREETING_TIMEOUT, greets(&mut transport)).await;
    greeted.ok()?.then(|| Connection::greeted(transport))
}

/// Whether the client begins as one of HTTP/2 does.
async fn greets(client: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut heard = Vec::with_capacity(PREFACE.len());
    while heard.len() < PREFACE.len() {
        let left = u64::try_from(PREFACE.len() - heard.len()).unwrap_or(0);
        let read = client.take(left).read_buf(&mut heard).await;
        if !matches!(read, Ok(1..)) || !PREFACE.starts_with(&heard) {
            return false;
        }
    }
    true
}

/// What the arrival came to; `None` if it took its leisure while others had no place.
async fn unless_crowded<T>(
    places: &Semaphore,
    leisure: Duration,
    arrival: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(arrival);
    loop {
        match timeout(leisure, &mut arrival).await {
            Ok(arrived) => return Some(arrived),
            Err(_) if places.available_permits() == 0 => return None,
            Err(_) => {}
        }
    }
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
        assert!(greets(&mut server).await);
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
        assert_eq!(greets(&mut server).now_or_never(), Some(false));
    }

    #[tokio::test]
    async fn half_a_preface_is_none() {
        let (mut client, mut server) = duplex(64);
        client.write_all(&PREFACE[..23]).await.unwrap();
        drop(client);
        assert!(!greets(&mut server).await);
    }

    #[tokio::test]
    async fn whoever_says_nothing_makes_room_and_only_where_there_is_none() {
        let leisure = Duration::from_millis(1);
        let places = Semaphore::new(1);
        let slow = tokio::time::sleep(20 * leisure);
        assert_eq!(unless_crowded(&places, leisure, slow).await, Some(()));
        let _taken = places.acquire().await.unwrap();
        let silent = std::future::pending::<()>();
        assert_eq!(unless_crowded(&places, leisure, silent).await, None);
    }
}
