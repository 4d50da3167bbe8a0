//! The server around the RPCs: health, reflection, limits, deadlines and graceful shutdown.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io::{Read, Write},
    time::Duration,
};

use contact_service::{
    api::{
        admission::Limits,
        proto::{self, contact_service_client::ContactServiceClient},
    },
    server::SERVICE_NAME,
};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use prost::{Message, bytes::Bytes};
use rstest::rstest;
use tokio::{net::TcpStream, task::JoinHandle};
use tonic::{Code, Request, Response, Status, Streaming, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt;
use tower::Service;

use crate::{
    deadline::{TIMEOUT, in_time},
    harness::{ALL_SCOPES, Backend, Options, TestServer, rejected_fields, rejection},
    held_lock::HeldLock,
};

const STREAM_RECIPIENTS: &str = "/contact.v1.ContactService/StreamRecipients";
const GET_CUSTOMER: &str = "/contact.v1.ContactService/GetCustomer";

fn message_for(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

pub async fn watch_readiness(server: &TestServer) -> Streaming<HealthCheckResponse> {
    let mut health = HealthClient::new(server.channel.clone());
    health
        .watch(message_for(SERVICE_NAME))
        .await
        .unwrap()
        .into_inner()
}

pub async fn until(readiness: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    in_time(async { while readiness.message().await.unwrap().unwrap().status() != status {} })
        .await;
}

/// Sends bytes that are no valid request.
async fn post(server: &TestServer, path: &str, body: Vec<u8>, note: &str) -> http::Response<Body> {
    let request = http::Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(
            "authorization",
            format!("Bearer {}", server.token(ALL_SCOPES, None)),
        )
        .header("x-note", note)
        .body(Body::new(Full::new(Bytes::from(body))))
        .unwrap();
    let mut channel = server.channel.clone();
    poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    channel.call(request).await.unwrap()
}

async fn rejected(server: &TestServer, path: &str, body: Vec<u8>) -> Result<(), Status> {
    let response = post(server, path, body, "").await;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    // The response of a stream begins before its rejection.
    let body = response.into_body().collect().await.unwrap();
    let status = body.trailers().and_then(Status::from_header_map);
    Err(status.expect("no status"))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn change(number: &str) -> proto::UpdateCustomerRequest {
    proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            contact_data: Some(proto::ContactData {
                email: "new@example.com".into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        ..proto::UpdateCustomerRequest::default()
    }
}

type Call = JoinHandle<Result<Response<proto::UpdateCustomerResponse>, Status>>;

/// A change that waits for the customer's lock. Retries when it is shed or waited too long.
fn start_change(server: &TestServer, number: &str) -> Call {
    let (mut client, request) = (server.client(), change(number));
    tokio::spawn(async move {
        loop {
            let changed = client.update_customer(request.clone()).await;
            match &changed {
                Err(status) if [Code::Unavailable, Code::Aborted].contains(&status.code()) => {}
                _ => return changed,
            }
        }
    })
}

async fn get(server: &TestServer) -> Result<(), Status> {
    let customer_number = "K-1".into();
    let request = proto::GetCustomerRequest { customer_number };
    server.client().get_customer(request).await.map(|_| ())
}

fn with_permits(requests: usize) -> Options {
    Options::with_limits(Limits {
        requests,
        ..Limits::default()
    })
}

/// Repeats until another request holds the server's only permit.
async fn wait_until_shed(server: &TestServer) -> Status {
    in_time(async {
        loop {
            if let Err(status) = get(server).await {
                return status;
            }
        }
    })
    .await
}

#[rstest]
#[tokio::test]
async fn readiness_follows_the_database_while_liveness_stays(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut health = HealthClient::new(server.channel.clone());
    let alive = health.check(message_for("")).await.unwrap();
    assert_eq!(alive.into_inner().status(), ServingStatus::Serving);
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;

    server.database.clone().close().await;
    until(&mut readiness, ServingStatus::NotServing).await;
    let alive = health.check(message_for("")).await.unwrap();
    assert_eq!(alive.into_inner().status(), ServingStatus::Serving);
    let rejected = rejection(get(&server).await);
    assert_eq!(rejected, (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
}

macro_rules! listed_by {
    ($version:ident, $server:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new($server.channel.clone());
        let responses = client
            .server_reflection_info(tokio_stream::once(request))
            .await;
        let response = responses
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
            panic!("no list of services: {response:?}");
        };
        let names = list.service.into_iter().map(|service| service.name);
        names.collect::<Vec<_>>()
    }};
}

#[rstest]
#[tokio::test]
async fn reflection_lists_services_without_a_token(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for names in [listed_by!(v1, server), listed_by!(v1alpha, server)] {
        for name in [SERVICE_NAME, "grpc.health.v1.Health"] {
            assert!(
                names.iter().any(|listed| listed == name),
                "{name} not in {names:?}"
            );
        }
    }
}

#[rstest]
#[case::no_message_at_all(&[])]
#[case::bytes_that_are_no_message(&[0, 0, 0, 0, 3, 0xff, 0xff, 0xff])]
#[case::a_message_that_ends_too_soon(&[0, 0, 0, 0, 9, 10, 1, b'K'])]
#[case::text_that_is_not_utf_8(&[0, 0, 0, 0, 3, 10, 1, 0xff])]
#[case::compression_without_an_encoding(&[1, 0, 0, 0, 3, 10, 1, b'K'])]
#[case::a_flag_that_does_not_exist(&[7, 0, 0, 0, 3, 10, 1, b'K'])]
#[tokio::test]
async fn malformed_messages_are_client_errors(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] body: &[u8],
) {
    let server = TestServer::start(backend).await;
    let rejected = rejected(&server, GET_CUSTOMER, body.to_vec()).await;
    assert_eq!(
        rejection(rejected.clone()),
        (Code::InvalidArgument, "INVALID_FIELD".into())
    );
    assert_eq!(rejected_fields(rejected), ["request"]);
}

#[rstest]
#[case::of_a_single_call(GET_CUSTOMER, 64, (Code::InvalidArgument, "INVALID_FIELD"))]
#[case::of_a_stream(STREAM_RECIPIENTS, 256, (Code::InvalidArgument, "INVALID_FIELD"))]
#[tokio::test]
async fn message_length_is_limited(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] path: &str,
    #[case] kibibytes: usize,
    #[case] up_to_it: (Code, &str),
) {
    /// Bytes of the field's tag and length.
    const HEAD: usize = 4;
    let server = TestServer::start(backend).await;
    let of_length = |length: usize| {
        // The first field of both requests is a text or a list of texts.
        let customer_number = "K".repeat(length - HEAD);
        let message = proto::GetCustomerRequest { customer_number }.encode_to_vec();
        assert_eq!(message.len(), length);
        framed(&message)
    };
    let at_most = rejected(&server, path, of_length(kibibytes * 1024)).await;
    assert_eq!(rejection(at_most), (up_to_it.0, up_to_it.1.into()));
    let longer = rejected(&server, path, of_length(kibibytes * 1024 + 1)).await;
    assert_eq!(rejected_fields(longer), ["request"]);
}

#[rstest]
#[tokio::test]
async fn unknown_method_is_unimplemented(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let rejected = rejected(&server, "/contact.v1.ContactService/Guess", framed(&[])).await;
    assert_eq!(
        rejection(rejected),
        (Code::Unimplemented, "UNIMPLEMENTED".into())
    );
}

#[rstest]
#[tokio::test]
async fn headers_over_48_kib_are_rejected_without_side_effects(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let body = || framed(&[10, 3, b'K', b'-', b'1']);
    let accepted = post(&server, GET_CUSTOMER, body(), &"x".repeat(12 * 1024)).await;
    assert_eq!(accepted.status(), http::StatusCode::OK);
    let rejected = post(&server, GET_CUSTOMER, body(), &"x".repeat(48 * 1024)).await;
    assert_eq!(
        rejected.status(),
        http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    get(&server).await.unwrap();
}

/// The HTTP/2 settings in the server's preface.
fn server_settings(address: &str) -> BTreeMap<u16, u32> {
    const SETTINGS: u8 = 4;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    stream
        .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
        .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], SETTINGS);
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).unwrap();
    let pairs = settings.chunks_exact(6).map(|pair| {
        let number = u16::from_be_bytes([pair[0], pair[1]]);
        (
            number,
            u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]),
        )
    });
    pairs.collect()
}

#[rstest]
#[tokio::test]
async fn connection_limits_are_announced_to_the_client(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let server = TestServer::start(backend).await;
    let address = server.address.clone();
    let settings = tokio::task::spawn_blocking(move || server_settings(&address))
        .await
        .unwrap();
    assert_eq!(settings.get(&MAX_CONCURRENT_STREAMS), Some(&100));
    assert_eq!(settings.get(&MAX_HEADER_LIST_SIZE), Some(&(48 * 1024)));
}

#[rstest]
#[tokio::test]
async fn excess_requests_are_shed_with_a_retry_delay(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, with_permits(1)).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let waiting = start_change(&server, "K-1");

    let shed = wait_until_shed(&server).await;
    assert!(shed.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(
        rejection::<()>(Err(shed)),
        (Code::Unavailable, "OVERLOADED".into())
    );
    let mut health = HealthClient::new(server.channel.clone());
    health.check(message_for(SERVICE_NAME)).await.unwrap();

    held.release().await;
    in_time(waiting).await.unwrap().unwrap();
    get(&server).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn disconnect_releases_the_permit(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, with_permits(1)).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let waiting = start_change(&server, "K-1");
    wait_until_shed(&server).await;
    waiting.abort();
    in_time(async { while get(&server).await.is_err() {} }).await;
    held.release().await;
}

/// tonic's own timer would return CANCELLED. Many attempts, because the two timers fire close to
/// each other.
#[rstest]
#[tokio::test]
async fn client_deadline_is_reported_by_the_service_not_tonic(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options::with_limits(Limits {
        request_timeout: TIMEOUT * 2,
        ..Limits::default()
    });
    let server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    // tonic's own client would enforce the deadline itself and hide the response.
    let client = HttpClient::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let origin: http::Uri = format!("http://{}", server.address).parse().unwrap();
    for round in 0..10 {
        let calls = (0..9_u32).map(|index| {
            let mut request = Request::new(change("K-1"));
            let token = format!("Bearer {}", server.token(ALL_SCOPES, None));
            let timeout = format!("{}u", 100_000 + 111 * (10 * index + round));
            for (name, value) in [("authorization", token), ("grpc-timeout", timeout)] {
                request.metadata_mut().insert(name, value.parse().unwrap());
            }
            let mut client = ContactServiceClient::with_origin(client.clone(), origin.clone());
            tokio::spawn(async move { client.update_customer(request).await })
        });
        for call in calls.collect::<Vec<_>>() {
            let rejected = in_time(call).await.unwrap();
            assert_eq!(
                rejection(rejected),
                (Code::DeadlineExceeded, "DEADLINE".into())
            );
        }
    }
    held.release().await;
}

#[rstest]
#[tokio::test]
async fn idle_connections_and_streams_do_not_delay_shutdown(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        drain: Duration::from_millis(200),
        ..Options::default()
    };
    let mut server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let _idle = TcpStream::connect(&server.address).await.unwrap();
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    in_time(server.stop()).await.unwrap();
    assert!(TcpStream::connect(&server.address).await.is_err());
}

#[rstest]
#[tokio::test]
async fn shutdown_withdraws_readiness_and_drains_requests(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        drain: TIMEOUT * 2,
        ..with_permits(1)
    };
    let mut server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let in_flight = start_change(&server, "K-1");
    wait_until_shed(&server).await;

    let database_url = server.database_url.clone();
    let stopping = tokio::spawn(async move {
        let stopped = server.stop().await;
        (stopped, server)
    });
    until(&mut readiness, ServingStatus::NotServing).await;
    drop(readiness);
    assert!(!in_flight.is_finished());
    held.release().await;
    let changed = in_time(in_flight).await.unwrap().unwrap().into_inner();
    let (stopped, _folder) = in_time(stopping).await.unwrap();
    stopped.unwrap();

    let database = crate::harness::connect(&database_url).await;
    let number = contact_service::domain::ids::CustomerNumber::parse("K-1").unwrap();
    let stored = database.find_customer(&number).await.unwrap().unwrap();
    let email = stored.contact_data.email.unwrap();
    assert_eq!(
        email.as_str(),
        changed.customer.unwrap().contact_data.unwrap().email
    );
}
