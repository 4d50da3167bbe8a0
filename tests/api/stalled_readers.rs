//! Clients with a valid token that read responses slowly or not at all, disconnect, or send
//! nothing hold no database connection, no permit that others need, and little memory.

use std::time::Duration;

use bytes::Bytes;
use contact_service::{
    api::{admission::Limits, proto},
    storage::Database,
};
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use prost::Message;
use prost_reflect::ReflectMessage;
use rstest::rstest;
use tokio::{net::TcpStream, task::JoinHandle};
use tonic::Code;

use crate::{
    deadline::{TIMEOUT, in_time},
    harness::{ALL_SCOPES, Backend, Options, TestServer, rejection},
    raw,
};

const READERS: usize = 20;
const NUMBER: &str = "K-1";
/// Their list exceeds 16 KiB, and is rejected when there is no budget left.
const CONTACTS: usize = 60;

/// A connection with this window size for responses.
struct Reader {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    token: String,
}

impl Reader {
    async fn connect(server: &TestServer, window: u32) -> Self {
        let stream = TcpStream::connect(&server.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let handshake = builder.initial_window_size(window).handshake(stream);
        let (requests, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self {
            requests,
            connection,
            token: server.token(ALL_SCOPES, None),
        }
    }

    /// Sends a request; `None`: without its message.
    async fn send(&self, rpc: &str, message: Option<&[u8]>) -> ResponseFuture {
        let request = Request::post(format!("http://server/contact.v1.ContactService/{rpc}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", self.token))
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        if let Some(message) = message {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let framed = [&[0][..], &length, message].concat();
            let is_last = rpc != "StreamRecipients";
            body.send_data(framed.into(), is_last).unwrap();
        }
        // Or the stream is reset.
        std::mem::forget(body);
        response
    }

    /// Waits until the server closes the connection.
    async fn closed(&mut self) {
        in_time(&mut self.connection).await.unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn serve(backend: Backend, limits: Limits) -> TestServer {
    let server = TestServer::start_with(backend, Options::with_limits(limits)).await;
    server.create_customer(NUMBER).await;
    for index in 0..CONTACTS {
        let name = format!("Contact {index} {}", "x".repeat(180));
        let standard = [proto::ContactType::Standard];
        server.create_contact(NUMBER, &name, &standard, "").await;
    }
    server.app.sequence_all_events().await.unwrap();
    server
}

async fn get(server: &TestServer) -> Result<(), tonic::Status> {
    let customer_number = NUMBER.into();
    let request = proto::GetCustomerRequest { customer_number };
    server.client().get_customer(request).await.map(|_| ())
}

fn list() -> Vec<u8> {
    let request = proto::ListContactsRequest {
        customer_number: NUMBER.into(),
        page_size: 1000,
        ..proto::ListContactsRequest::default()
    };
    request.encode_to_vec()
}

/// A request about the customer, if the RPC has one.
fn request_about(rpc: &str) -> Vec<u8> {
    let stream = proto::StreamRecipientsRequest {
        customer_numbers: vec![NUMBER.into(); 1_000],
        purpose: proto::Purpose::Invoice.into(),
        ..proto::StreamRecipientsRequest::default()
    };
    let resolve = proto::ResolveRecipientsRequest {
        customer_number: NUMBER.into(),
        purpose: proto::Purpose::Invoice.into(),
        ..proto::ResolveRecipientsRequest::default()
    };
    match rpc {
        "StreamRecipients" => stream.encode_to_vec(),
        "ResolveRecipients" => resolve.encode_to_vec(),
        "ListContacts" => list(),
        "WatchChanges" | "EraseCustomer" => Vec::new(),
        _ => {
            let mut request = raw::empty_request(rpc);
            let field = request.descriptor().get_field_by_name("customer_number");
            if let Some(field) = field {
                request.set_field(&field, prost_reflect::Value::String(NUMBER.into()));
            }
            request.encode_to_vec()
        }
    }
}

async fn wait_until_no_connection_is_used(database: &Database) {
    let is_used = || database.pools().iter().any(|(_, pool)| pool.used > 0);
    in_time(async {
        while is_used() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Every RPC in turn, requested by more readers than there are database connections.
#[rstest]
#[tokio::test]
async fn stalled_readers_hold_no_database_connection(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(0, 16)] window: u32,
) {
    let server = serve(backend, Limits::default()).await;
    for method in raw::methods() {
        let rpc = method.name();
        let (stalled, vanished) = (
            Reader::connect(&server, window).await,
            Reader::connect(&server, window).await,
        );
        let message = request_about(rpc);
        let mut responses = Vec::new();
        for reader in [&stalled, &vanished] {
            for _ in 0..READERS {
                responses.push(reader.send(rpc, Some(&message)).await);
            }
        }
        let answered = responses.split_off(READERS);
        drop(vanished);
        drop(answered);
        // After the headers, the rest depends on the reader.
        for response in responses {
            in_time(response).await.unwrap();
        }
        for _ in 0..10 {
            in_time(get(&server))
                .await
                .unwrap_or_else(|why| panic!("{rpc}: {why}"));
        }
        wait_until_no_connection_is_used(&server.database).await;
    }
}

#[rstest]
#[tokio::test]
async fn slow_reader_gets_its_whole_response(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = serve(backend, Limits::default()).await;
    let reader = Reader::connect(&server, 1024).await;
    let response = in_time(reader.send("ListContacts", Some(&list())).await).await;
    let mut body = response.unwrap().into_body();
    let mut bytes = Vec::new();
    while let Some(data) = in_time(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend(data);
    }
    let (_, message) = bytes.split_at(5);
    let response = proto::ListContactsResponse::decode(message).unwrap();
    assert_eq!(response.contacts.len(), CONTACTS);
    let trailers = in_time(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
}

#[rstest]
#[tokio::test]
async fn unread_responses_yield_to_those_that_are_read(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(0, 1)] window: u32,
) {
    let limits = Limits {
        unsent_bytes: 256 * 1024,
        unsent_bytes_per_connection: 128 * 1024,
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let (mut readers, mut unread) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let reader = Reader::connect(&server, window).await;
        for _ in 0..20 {
            let response = in_time(reader.send("ListContacts", Some(&list())).await).await;
            unread.push(response.unwrap().into_body());
        }
        readers.push(reader);
    }
    let mut client = server.client();
    let read = async {
        loop {
            let request = proto::ListContactsRequest {
                customer_number: NUMBER.into(),
                page_size: 1000,
                ..proto::ListContactsRequest::default()
            };
            match client.list_contacts(request).await {
                Ok(_) => return,
                Err(why) => assert_eq!(rejection::<()>(Err(why)).1, "OVERLOADED"),
            }
        }
    };
    in_time(read).await;
    // The reader that held the most.
    let closed = readers.iter_mut().map(|reader| Box::pin(reader.closed()));
    futures::future::select_all(closed).await;
}

#[rstest]
#[tokio::test]
async fn stalled_client_is_disconnected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values("ListContacts", "StreamRecipients", "WatchChanges")] rpc: &str,
) {
    let limits = Limits {
        stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let mut stalled = Reader::connect(&server, 0).await;
    let _response = stalled.send(rpc, Some(&request_about(rpc))).await;
    stalled.closed().await;
}

#[rstest]
#[tokio::test]
async fn requests_without_a_message_take_no_permit(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        requests: 1,
        pending_messages: 8,
        pending_messages_per_client: 8,
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let reader = Reader::connect(&server, 65_535).await;
    let mut responses = Vec::new();
    for rpc in ["GetCustomer", "ListContacts", "WatchChanges"] {
        for _ in 0..8 {
            responses.push(reader.send(rpc, None).await);
        }
    }
    for _ in 0..20 {
        in_time(get(&server)).await.unwrap();
    }
    // Excess requests are rejected immediately, the others at their deadline.
    for response in responses {
        let response = in_time(response).await.unwrap();
        let code = Code::from_bytes(response.headers()["grpc-status"].as_bytes());
        assert!(
            [Code::Unavailable, Code::DeadlineExceeded].contains(&code),
            "{code:?}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn stream_without_requests_ends_with_a_reason(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        stream_idle_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let silent = server
        .client()
        .stream_recipients(tokio_stream::pending())
        .await;
    let mut silent = silent.unwrap().into_inner();
    let end = in_time(silent.message()).await.unwrap_err();
    assert!(
        end.message().contains("no request came"),
        "{}",
        end.message()
    );
    assert_eq!(
        rejection::<()>(Err(end)),
        (Code::DeadlineExceeded, "DEADLINE".into())
    );
}

#[rstest]
#[tokio::test]
async fn idle_streams_yield_to_new_clients(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        streams: 4,
        streams_per_client: 4,
        ..Limits::default()
    };
    let server = serve(backend, limits).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let stream = server
            .client()
            .stream_recipients(tokio_stream::pending())
            .await;
        idle.push(stream.unwrap().into_inner());
    }
    let newcomer = async {
        loop {
            let requests = tokio_stream::pending();
            match server.client().stream_recipients(requests).await {
                Ok(stream) => return stream,
                Err(why) => assert_eq!(rejection::<()>(Err(why)).1, "OVERLOADED"),
            }
        }
    };
    let _newcomer = in_time(newcomer).await;
    let mut longest_idle = idle.remove(0);
    let end = in_time(longest_idle.message()).await.unwrap_err();
    assert_eq!(rejection::<()>(Err(end)).1, "OVERLOADED");
}

#[rstest]
#[tokio::test]
async fn streams_end_with_their_token(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = serve(backend, Limits::default()).await;
    let recipients = server
        .client()
        .stream_recipients(tokio_stream::pending())
        .await;
    let mut recipients = recipients.unwrap().into_inner();
    let request = proto::WatchChangesRequest::default();
    let changes = server.client().watch_changes(request).await;
    let mut changes = changes.unwrap().into_inner();
    in_time(changes.message()).await.unwrap().unwrap();
    server.clock.advance(chrono::TimeDelta::days(366));
    let end = in_time(recipients.message()).await.unwrap_err();
    assert_eq!(rejection::<()>(Err(end)).1, "TOKEN_EXPIRED");
    let ended = in_time(async {
        while changes.message().await?.is_some() {}
        Ok(())
    })
    .await;
    assert_eq!(rejection(ended).1, "TOKEN_EXPIRED");
}

#[rstest]
#[tokio::test]
async fn shutdown_does_not_wait_for_idle_streams(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        drain: 10 * TIMEOUT,
        ..Options::default()
    };
    let mut server = TestServer::start_with(backend, options).await;
    let recipients = server
        .client()
        .stream_recipients(tokio_stream::pending())
        .await;
    let mut recipients = recipients.unwrap().into_inner();
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let _watch = health.watch(request).await.unwrap();
    let _idle = Reader::connect(&server, 65_535).await;
    in_time(server.stop()).await.unwrap();
    let end = in_time(recipients.message()).await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
}

#[rstest]
#[tokio::test]
async fn shutdown_drains_streams_with_all_responses(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const REQUESTS: i64 = 20;
    let limits = Limits {
        // Its progress is checked four times as often.
        stream_idle_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let options = Options {
        drain: 10 * TIMEOUT,
        ..Options::with_limits(limits)
    };
    let mut server = TestServer::start_with(backend, options).await;
    server.create_customer(NUMBER).await;
    let request = request_about("StreamRecipients");
    let request = proto::StreamRecipientsRequest::decode(request.as_slice()).unwrap();
    let requests = (0..REQUESTS).map(move |_| request.clone());
    let stream = server
        .client()
        .stream_recipients(tokio_stream::iter(requests.collect::<Vec<_>>()))
        .await;
    let mut stream = stream.unwrap().into_inner();
    let read = async {
        let mut answered = 0;
        while let Some(response) = stream.message().await.unwrap() {
            answered = response.answered_count;
            // The shutdown begins before the end of the stream.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answered
    };
    let (answered, stopped) = in_time(async { tokio::join!(read, server.stop()) }).await;
    assert_eq!(answered, 1_000 * REQUESTS);
    stopped.unwrap();
}

#[rstest]
#[tokio::test]
async fn health_and_reflection_are_bounded_per_connection(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default;
    let mut watches = Vec::new();
    for _ in 0..4 {
        watches.push(health.watch(request()).await.unwrap());
    }
    let rejected = health.watch(request()).await;
    assert_eq!(
        rejection(rejected),
        (Code::Unavailable, "OVERLOADED".into())
    );
    // A health check holds no lasting resource.
    let checks = (0..64).map(|_| {
        let mut health = health.clone();
        async move { health.check(request()).await }
    });
    in_time(futures::future::try_join_all(checks))
        .await
        .unwrap();
    let other = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address));
    let other = other.unwrap().connect_lazy();
    let mut other = tonic_health::pb::health_client::HealthClient::new(other);
    other.watch(request()).await.unwrap();
    watches.pop();
    in_time(async { while health.watch(request()).await.is_err() {} }).await;
}
