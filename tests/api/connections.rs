//! HTTP/2 connections: handshake deadline and limits of control frames.

use std::time::Duration;

use contact_service::api::{admission::Limits, proto};
use prost::Message;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::deadline::{TIMEOUT, in_time};
use crate::harness::{ALL_SCOPES, Backend, Client, Options, TestServer};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

/// A frame of the connection or of its first stream.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(kind, 0, stream, payload)
}

fn frame_with(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0, high, low, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The header block of a `StreamRecipients`, all fields as literals.
fn head_of_stream(server: &TestServer) -> Vec<u8> {
    let token = format!("Bearer {}", server.token(ALL_SCOPES, None));
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/contact.v1.ContactService/StreamRecipients"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &token),
    ];
    let text = |text: &str| {
        let mut coded = Vec::new();
        let mut left = text.len();
        if left < 127 {
            coded.push(u8::try_from(left).unwrap());
        } else {
            // An HPACK integer.
            coded.push(127);
            left -= 127;
            while left >= 128 {
                coded.push(u8::try_from(left % 128 + 128).unwrap());
                left /= 128;
            }
            coded.push(u8::try_from(left).unwrap());
        }
        [coded, text.into()].concat()
    };
    let coded = headers.map(|(name, value)| [vec![0], text(name), text(value)].concat());
    frame_with(HEADERS, END_HEADERS, 1, &coded.concat())
}

/// A message of a stream that stays open, asking for one customer.
fn message_of_stream() -> Vec<u8> {
    let message = proto::StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into()],
        purpose: proto::Purpose::General.into(),
        ..proto::StreamRecipientsRequest::default()
    };
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(DATA, 1, &[&[0][..], &length, &message].concat())
}

async fn connect(server: &TestServer, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

fn handshake() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, &[])].concat()
}

async fn read_until_closed(mut stream: impl AsyncReadExt + Unpin) {
    let mut buffer = vec![0; 4096];
    while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
}

/// Reads up to a frame of this kind with these flags.
async fn read_until_frame(stream: &mut TcpStream, kind: u8, flags: u8) -> Vec<u8> {
    loop {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        if (head[3], head[4]) == (kind, flags) {
            return payload;
        }
    }
}

/// Sends a ping and reads up to its acknowledgement.
async fn is_alive(stream: &mut TcpStream) {
    let ping = frame(PING, 0, b"whosthat");
    stream.write_all(&ping).await.unwrap();
    assert_eq!(read_until_frame(stream, PING, ACK).await, b"whosthat");
}

async fn get(client: &mut Client) {
    let customer_number = "K-1".into();
    let request = proto::GetCustomerRequest { customer_number };
    client.get_customer(request).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn connection_without_handshake_is_closed_in_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        serves_http_json: false,
        ..Options::default()
    };
    let server = TestServer::start_with(backend, options).await;
    let mut greeted = connect(&server, &handshake()).await;
    let mut slow = connect(&server, &[]).await;
    for byte in handshake() {
        slow.write_all(&[byte]).await.unwrap();
    }
    let silent = connect(&server, &[]).await;
    let halfway = connect(&server, &PREFACE[..PREFACE.len() - 1]).await;
    let of_http_1 = connect(&server, b"GET / HTTP/1.1\r\n").await;
    in_time(Box::pin(async {
        tokio::join!(
            read_until_closed(silent),
            read_until_closed(halfway),
            read_until_closed(of_http_1)
        );
        is_alive(&mut greeted).await;
        is_alive(&mut slow).await;
    }))
    .await;
}

#[rstest]
#[case::of_pings(frame(PING, 0, b"whosthat"))]
#[case::of_settings(frame(SETTINGS, 0, &[0, 4, 0, 0, 0xff, 0xff]))]
#[case::of_windows(frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]))]
#[case::of_priorities(frame(PRIORITY, 1, &[0, 0, 0, 0, 1]))]
#[tokio::test]
async fn frame_flood_closes_only_its_own_connection(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] frame: Vec<u8>,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let mut idle = connect(&server, &handshake()).await;
    let flooded = connect(&server, &handshake()).await;
    let (read, mut write) = flooded.into_split();
    let chunk = frame.repeat(100);
    let flood = async {
        // The client reads its responses, so the server never waits for it.
        let closed = tokio::spawn(read_until_closed(read));
        while write.write_all(&chunk).await.is_ok() {}
        closed.await.unwrap();
    };
    let mut client = server.client();
    let call = async {
        for _ in 0..20 {
            get(&mut client).await;
        }
    };
    in_time(async { tokio::join!(flood, call) }).await;
    in_time(is_alive(&mut idle)).await;
    in_time(get(&mut client)).await;
}

#[rstest]
#[tokio::test]
async fn shutdown_does_not_wait_for_clients_that_answer_no_ping(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        drain: 10 * TIMEOUT,
        ..Options::default()
    };
    let mut server = TestServer::start_with(backend, options).await;
    let _silent = connect(&server, &[]).await;
    let mut greeted = connect(&server, &handshake()).await;
    is_alive(&mut greeted).await;
    let stop = server.stop();
    let (stopped, ()) = in_time(async { tokio::join!(stop, read_until_closed(greeted)) }).await;
    stopped.unwrap();
}

#[rstest]
#[tokio::test]
async fn stalled_stream_is_closed_and_idle_stream_stays_open(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const INITIAL_WINDOW_SIZE: u8 = 4;
    let options = Options::with_limits(Limits {
        stall_timeout: Duration::from_millis(100),
        ..Limits::default()
    });
    let server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let first = [handshake(), head_of_stream(&server), message_of_stream()].concat();
    let mut idle = connect(&server, &first).await;
    in_time(read_until_frame(&mut idle, DATA, 0)).await;

    let no_window = frame(SETTINGS, 0, &[0, INITIAL_WINDOW_SIZE, 0, 0, 0, 0]);
    let head = head_of_stream(&server);
    let first = [PREFACE.to_vec(), no_window, head, message_of_stream()].concat();
    in_time(read_until_closed(connect(&server, &first).await)).await;

    idle.write_all(&message_of_stream()).await.unwrap();
    in_time(read_until_frame(&mut idle, DATA, 0)).await;
}
