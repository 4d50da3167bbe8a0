//! The confirmation page's listener while clients hold all of its connections.

use std::time::Duration;

use contact_service::{
    observability::metrics::Limit,
    web::{self, ListenerLimits},
};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    deadline::in_time,
    harness::{Backend, TestServer},
    held_lock::HeldLock,
    mailbox::brand,
};

const CONNECTIONS: usize = 4;
/// A timeout for requests that the listener must not cut off in a test.
const NEVER: Duration = Duration::from_hours(1);
const SLOW_HEAD: &str = "GET /confirm HTTP/1.1\r\nhost: x\r\n";
const SLOW_BODY: &str = "POST /confirm/inspect HTTP/1.1\r\nhost: x\r\n\
    content-type: application/json\r\ncontent-length: 50\r\n\r\n{";
const NEXT_ONE: &str = "GET /confirm/style.css HTTP/1.1\r\nhost: x\r\n\r\n";

/// Limits with few connections and timeouts that never expire.
fn limits() -> ListenerLimits {
    ListenerLimits {
        connections: CONNECTIONS,
        waiting: CONNECTIONS,
        head_timeout: NEVER,
        request_timeout: NEVER,
        connection_lifetime: NEVER,
        metric: Limit::PageConnections,
    }
}

/// Serves the page of `server` with these limits; returns the address.
async fn serve(server: &TestServer, limits: ListenerLimits) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = web::router(server.app.clone(), format!("http://{address}"), &brand()).unwrap();
    tokio::spawn(web::serve(listener, router, limits, std::future::pending()));
    address
}

async fn send(address: &str, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Everything the server sends until it closes the connection.
async fn read_until_closed(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    let _ = in_time(stream.read_to_end(&mut received)).await;
    String::from_utf8(received).unwrap()
}

async fn get_page(address: &str) -> StatusCode {
    let response = reqwest::get(format!("http://{address}/confirm"));
    in_time(response).await.unwrap().status()
}

#[rstest]
#[case::that_are_idle("")]
#[case::with_slow_heads(SLOW_HEAD)]
#[case::with_slow_bodies(SLOW_BODY)]
#[case::that_wait_with_the_next_request(NEXT_ONE)]
#[tokio::test]
async fn new_clients_are_served_while_connections_are_held(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] sent: &str,
) {
    let server = TestServer::start(backend).await;
    let address = serve(&server, limits()).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = send(&address, sent).await;
        if sent == NEXT_ONE {
            // It is idle from its response on.
            let mut status = [0; 12];
            in_time(stream.read_exact(&mut status)).await.unwrap();
        }
        held.push(stream);
    }
    for _ in 0..2 {
        assert_eq!(get_page(&address).await, StatusCode::OK);
    }
    // The oldest connection is closed first.
    read_until_closed(held.remove(0)).await;
}

#[rstest]
#[tokio::test]
async fn slow_body_is_cut_off(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    let request_timeout = Duration::from_millis(50);
    let limits = ListenerLimits {
        request_timeout,
        ..limits()
    };
    let address = serve(&server, limits).await;
    let response = read_until_closed(send(&address, SLOW_BODY).await).await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(
        response.contains("\r\nx-frame-options: DENY\r\n"),
        "{response}"
    );
}

#[rstest]
#[tokio::test]
async fn request_in_progress_is_completed_under_pressure(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = server.create_customer_with_contact("K-1").await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let token = server.mailed_token("neu@muster.example").await;
    let address = serve(&server, limits()).await;
    let body = json!({ "token": token }).to_string();
    let press = format!(
        "POST /confirm/press HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let lock = HeldLock::take(&server.database_url, "K-1").await;
    // The oldest connection, which would be closed first if it were idle.
    let press = send(&address, &press).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(send(&address, NEXT_ONE).await);
        let mut status = [0; 12];
        in_time(held.last_mut().unwrap().read_exact(&mut status))
            .await
            .unwrap();
    }
    lock.release().await;
    // If this took long, the lock was not waited for. Either way there is a response.
    let response = read_until_closed(press).await;
    assert!(response.starts_with("HTTP/1.1 "), "{response:?}");
}
