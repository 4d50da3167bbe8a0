//! What surrounds the RPCs: health, reflection, limits, deadlines, a clean stop.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io::{Read, Write},
    time::Duration,
};

use contact_service::{
    api::{
        admission::dispatch::Limits,
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
    harness::{ALL_SCOPES, Backend, Options, TestServer, refusal, refused_fields},
    held_lock::HeldLock,
};

const STREAM_RECIPIENTS: &str = "/contact.v1.ContactService/StreamRecipients";
const GET_CUSTOMER: &str = "/contact.v1.ContactService/GetCustomer";
/// Far more than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("this should have ended")
}

fn asking_for(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

pub async fn watch_readiness(server: &TestServer) -> Streaming<HealthCheckResponse> {
    let mut health = HealthClient::new(server.channel.clone());
    health
        .watch(asking_for(SERVICE_NAME))
        .await
        .unwrap()
        .into_inner()
}

pub async fn until(readiness: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    in_time(async { while readiness.message().await.unwrap().unwrap().status() != status {} })
        .await;
}

/// Sends bytes that no client of the contract would send.
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

async fn refused(server: &TestServer, path: &str, body: Vec<u8>) -> Result<(), Status> {
    let response = post(server, path, body, "").await;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    // A stream has begun to answer before it is refused.
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

/// A change that waits for whoever holds the customer. It comes again when there
/// is no room for it, and when it waited for too long.
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

fn with_places(calls_in_flight: usize) -> Options {
    Options::with_limits(Limits {
        calls_in_flight,
        ..Limits::default()
    })
}

/// Tries until another call has taken the server's only place.
async fn until_shed(server: &TestServer) -> Status {
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
    let alive = health.check(asking_for("")).await.unwrap();
    assert_eq!(alive.into_inner().status(), ServingStatus::Serving);
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;

    server.database.clone().close().await;
    until(&mut readiness, ServingStatus::NotServing).await;
    let alive = health.check(asking_for("")).await.unwrap();
    assert_eq!(alive.into_inner().status(), ServingStatus::Serving);
    let refused = refusal(get(&server).await);
    assert_eq!(refused, (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
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
        let answers = client
            .server_reflection_info(tokio_stream::once(request))
            .await;
        let answer = answers
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("no list of services: {answer:?}");
        };
        let names = list.service.into_iter().map(|service| service.name);
        names.collect::<Vec<_>>()
    }};
}

#[rstest]
#[tokio::test]
async fn reflection_lists_the_services_in_both_versions_and_without_a_token(
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
async fn bytes_that_are_no_message_are_the_clients_mistake(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] body: &[u8],
) {
    let server = TestServer::start(backend).await;
    let refused = refused(&server, GET_CUSTOMER, body.to_vec()).await;
    assert_eq!(
        refusal(refused.clone()),
        (Code::InvalidArgument, "INVALID_FIELD".into())
    );
    assert_eq!(refused_fields(refused), ["request"]);
}

#[rstest]
#[case::of_a_single_call(GET_CUSTOMER, 64, (Code::InvalidArgument, "INVALID_FIELD"))]
#[case::of_a_stream(STREAM_RECIPIENTS, 256, (Code::InvalidArgument, "INVALID_FIELD"))]
#[tokio::test]
async fn a_message_has_a_greatest_length(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] path: &str,
    #[case] kibibytes: usize,
    #[case] up_to_it: (Code, &str),
) {
    /// Of the field's number and length.
    const HEAD: usize = 4;
    let server = TestServer::start(backend).await;
    let of_length = |length: usize| {
        // The first field of both requests is a text, or a list of texts.
        let customer_number = "K".repeat(length - HEAD);
        let message = proto::GetCustomerRequest { customer_number }.encode_to_vec();
        assert_eq!(message.len(), length);
        framed(&message)
    };
    let at_most = refused(&server, path, of_length(kibibytes * 1024)).await;
    assert_eq!(refusal(at_most), (up_to_it.0, up_to_it.1.into()));
    let longer = refused(&server, path, of_length(kibibytes * 1024 + 1)).await;
    assert_eq!(refused_fields(longer), ["request"]);
}

#[rstest]
#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let refused = refused(&server, "/contact.v1.ContactService/Guess", framed(&[])).await;
    assert_eq!(
        refusal(refused),
        (Code::Unimplemented, "UNIMPLEMENTED".into())
    );
}

#[rstest]
#[tokio::test]
async fn more_than_48_kib_of_headers_are_refused_and_harm_no_other_call(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let body = || framed(&[10, 3, b'K', b'-', b'1']);
    let taken = post(&server, GET_CUSTOMER, body(), &"x".repeat(12 * 1024)).await;
    assert_eq!(taken.status(), http::StatusCode::OK);
    let refused = post(&server, GET_CUSTOMER, body(), &"x".repeat(48 * 1024)).await;
    assert_eq!(
        refused.status(),
        http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    get(&server).await.unwrap();
}

/// The settings of HTTP/2 with which the server greets.
fn greeting(address: &str) -> BTreeMap<u16, u32> {
    const SETTINGS: u8 = 4;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
async fn the_limits_of_a_connection_are_told_to_the_client(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let server = TestServer::start(backend).await;
    let address = server.address.clone();
    let settings = tokio::task::spawn_blocking(move || greeting(&address))
        .await
        .unwrap();
    assert_eq!(settings.get(&MAX_CONCURRENT_STREAMS), Some(&100));
    assert_eq!(settings.get(&MAX_HEADER_LIST_SIZE), Some(&(48 * 1024)));
}

#[rstest]
#[tokio::test]
async fn what_is_too_much_is_shed_with_a_time_to_come_again(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, with_places(1)).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let waiting = start_change(&server, "K-1");

    let shed = until_shed(&server).await;
    assert!(shed.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(
        refusal::<()>(Err(shed)),
        (Code::Unavailable, "OVERLOADED".into())
    );
    let mut health = HealthClient::new(server.channel.clone());
    health.check(asking_for(SERVICE_NAME)).await.unwrap();

    held.release().await;
    in_time(waiting).await.unwrap().unwrap();
    get(&server).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_client_that_hangs_up_gives_its_place_back(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, with_places(1)).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let waiting = start_change(&server, "K-1");
    until_shed(&server).await;
    waiting.abort();
    in_time(async { while get(&server).await.is_err() {} }).await;
    held.release().await;
}

/// tonic keeps a timer of its own, which answers CANCELLED: many tries, because the
/// two end close to one another.
#[rstest]
#[tokio::test]
async fn the_deadline_of_the_client_is_told_by_the_guard_and_never_by_tonic(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options::with_limits(Limits {
        call_timeout: PATIENCE * 2,
        ..Limits::default()
    });
    let server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    // tonic's own client would keep the deadline itself, and hide the answer.
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
            let refused = in_time(call).await.unwrap();
            assert_eq!(
                refusal(refused),
                (Code::DeadlineExceeded, "DEADLINE".into())
            );
        }
    }
    held.release().await;
}

#[rstest]
#[tokio::test]
async fn neither_an_idle_connection_nor_an_open_stream_holds_the_stop_up(
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
async fn a_stop_withdraws_readiness_first_and_lets_calls_in_flight_end(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        drain: PATIENCE * 2,
        ..with_places(1)
    };
    let mut server = TestServer::start_with(backend, options).await;
    server.create_customer("K-1").await;
    let mut readiness = watch_readiness(&server).await;
    until(&mut readiness, ServingStatus::Serving).await;
    let held = HeldLock::take(&server.database_url, "K-1").await;
    let in_flight = start_change(&server, "K-1");
    until_shed(&server).await;

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
    let number = contact_service::domain::customer::CustomerNumber::parse("K-1").unwrap();
    let stored = database.find_customer(&number).await.unwrap().unwrap();
    let email = stored.contact_data.email.unwrap();
    assert_eq!(
        email.as_str(),
        changed.customer.unwrap().contact_data.unwrap().email
    );
}
