//! Reads and writes of a connection, each rule by itself.

use std::time::Duration;

use futures::FutureExt;
use rstest::rstest;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
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
pub(in super::super) const CANCELLED: &[u8] = &[
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

/// Returns a client, and a connection that has read requests on these streams. The client takes 64 bytes.
async fn with_requests(streams: &[u8]) -> (DuplexStream, Connection<DuplexStream>) {
    let (mut client, server) = duplex(64);
    let mut connection = connection(server);
    let mut requests = REQUEST.repeat(streams.len());
    for (request, stream) in requests.chunks_mut(REQUEST.len()).zip(streams) {
        request[8] = *stream;
    }
    client.write_all(&requests).await.unwrap();
    let mut read = vec![0; PREFACE.len() + requests.len()];
    connection.read_exact(&mut read).await.unwrap();
    (client, connection)
}

#[rstest]
#[case::of_one_request(&[1], false)]
#[case::of_concurrent_requests(&[1, 3], true)]
#[tokio::test]
async fn write_waits_for_the_responses_of_concurrent_requests(
    #[case] streams: &[u8],
    #[case] waits: bool,
) {
    let (mut client, mut connection) = with_requests(streams).await;
    // Incomplete, so that the requests stay unanswered.
    for part in [[0; 2], [0; 2]] {
        let written = connection.write(&part).now_or_never();
        assert_eq!(written.is_none(), waits);
        if waits {
            let written = connection.write(&part).now_or_never().unwrap();
            assert_eq!(written.unwrap(), part.len());
        }
    }
    // The task is woken.
    connection.write_all(&[0; 2]).await.unwrap();
    client.read_exact(&mut [0; 6]).await.unwrap();
}

#[tokio::test]
async fn blocked_write_waits_for_the_client_only() {
    let (_client, mut connection) = with_requests(&[1, 3]).await;
    connection.write_all(&[0; 64]).await.unwrap();
    assert!(connection.write(&[0]).now_or_never().is_none());
    for _ in 0..3 {
        assert!(connection.write(&[0]).now_or_never().is_none());
        assert!(!connection.is_write_deferred);
    }
}
