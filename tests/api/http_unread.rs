//! Clients of JSON over HTTP and gRPC-Web that read no responses, or send heads without end.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use contact_service::api::{admission::Limits, proto::GetCustomerRequest};
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::{
    deadline::in_time,
    harness::{ALL_SCOPES, Backend, Options, TestServer},
    raw,
};

const JSON: &str = "application/json";
const TEXT: &str = "application/grpc-web-text+proto";
const WEB: &str = "application/grpc-web+proto";

async fn serve(backend: Backend, limits: Limits) -> TestServer {
    let server = TestServer::start_with(backend, Options::with_limits(limits)).await;
    server.create_customer("K-1").await;
    server
}

fn impatient() -> Limits {
    Limits {
        stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// A connection in HTTP/2 whose client takes at most `window` bytes of each response.
async fn connect(server: &TestServer, window: u32) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_window_size(window).handshake(stream);
    let (requests, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    (requests, connection)
}

/// Returns the response, unread; an empty token sends none.
async fn post(
    requests: &SendRequest<Bytes>,
    content_type: &str,
    token: &str,
    body: Vec<u8>,
) -> http::Response<h2::RecvStream> {
    let mut request = Request::post(format!("http://server{}", raw::path("GetCustomer")))
        .header("content-type", content_type)
        .header("accept", content_type);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut requests = requests.clone().ready().await.unwrap();
    let request = request.body(()).unwrap();
    let (response, mut sent) = requests.send_request(request, false).unwrap();
    sent.send_data(body.into(), true).unwrap();
    in_time(response).await.unwrap()
}

fn message(content_type: &str) -> Vec<u8> {
    let customer_number = "K-1".to_owned();
    let message = GetCustomerRequest { customer_number }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &message].concat();
    if content_type == TEXT {
        STANDARD.encode(framed).into()
    } else {
        framed
    }
}

#[rstest]
#[tokio::test]
async fn unread_response_of_grpc_web_closes_its_connection(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(TEXT, WEB)] content_type: &str,
    // Enough for no byte, a part of the message, and the message without its trailers.
    #[values(0, 1, 60)] window: u32,
) {
    let server = serve(backend, impatient()).await;
    let (requests, connection) = connect(&server, window).await;
    let token = server.token(ALL_SCOPES, None);
    let _unread = post(&requests, content_type, &token, message(content_type)).await;
    in_time(connection).await.unwrap();
}

#[rstest]
#[case::no_token(JSON, "")]
#[case::wrong_token(JSON, "x")]
#[case::no_protocol("text/html", "")]
#[tokio::test]
async fn unread_rejection_closes_its_connection(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] content_type: &str,
    #[case] token: &str,
) {
    let server = serve(backend, impatient()).await;
    let (requests, connection) = connect(&server, 0).await;
    let _unread = post(&requests, content_type, token, Vec::new()).await;
    in_time(connection).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn unread_rejections_yield_to_those_that_are_read(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        unsent_bytes: 64 * 1024,
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let (mut connections, mut unread) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (requests, connection) = connect(&server, 0).await;
        for _ in 0..20 {
            unread.push(post(&requests, JSON, "", Vec::new()).await);
        }
        connections.push((requests, connection));
    }
    let closed = connections.iter_mut().map(|(_, connection)| connection);
    in_time(futures::future::select_all(closed))
        .await
        .0
        .unwrap();
}

/// hyper holds the start of the next request, and reads no further.
#[rstest]
#[tokio::test]
async fn pipelined_requests_keep_no_stalled_connection_open(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = serve(backend, impatient()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket
        .connect(server.address.parse().unwrap())
        .await
        .unwrap();
    let body = r#"{"customer_number":"K-1"}"#;
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n{body}",
        raw::path("GetCustomer"),
        server.token(ALL_SCOPES, None),
        body.len()
    );
    // Blocks once neither side reads, and fails once the server has closed the connection.
    in_time(async { while client.write_all(request.as_bytes()).await.is_ok() {} }).await;
}

#[tokio::test]
async fn head_without_end_is_rejected() {
    let server = TestServer::start(Backend::Sqlite).await;
    let mut client = TcpStream::connect(&server.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nx-long: {}", "a".repeat(64 * 1024));
    client.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    in_time(client.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}
