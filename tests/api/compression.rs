//! Compressed messages: gzip in both directions, and how clients learn the supported encodings.

use std::{future::poll_fn, io::Write};

use contact_service::api::proto::{
    self, ContactType, contact_service_client::ContactServiceClient,
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Full};
use prost::{Message, bytes::Bytes};
use rstest::rstest;
use tonic::{Code, Request, Status, body::Body, codec::CompressionEncoding};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Service;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejected_fields, rejection},
    raw::path,
};

const MIB: usize = 1024 * 1024;

struct RawResponse {
    headers: http::HeaderMap,
    /// Flag and payload of the first message.
    message: Option<(u8, Vec<u8>)>,
    result: Result<(), Status>,
    /// True for a response with trailers only.
    is_trailers_only: bool,
}

impl RawResponse {
    fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name);
        value.map(|value| value.to_str().unwrap())
    }
}

/// Sends one message with its compression flag under the given headers.
async fn post(
    server: &TestServer,
    rpc: &str,
    headers: &[(&str, &str)],
    (flag, message): (u8, &[u8]),
) -> RawResponse {
    let length = u32::try_from(message.len()).unwrap();
    let body = [&[flag][..], &length.to_be_bytes(), message].concat();
    let mut request = http::Request::post(format!("http://{}{}", server.address, path(rpc)))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(body))));
    let mut channel = server.channel.clone();
    poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let response = channel.call(request.unwrap()).await.unwrap();
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    let is_trailers_only = headers.contains_key("grpc-status");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let of = if is_trailers_only {
        &headers
    } else {
        &trailers
    };
    let status = Status::from_header_map(of).expect("no status");
    let bytes = body.to_bytes();
    assert!(!is_trailers_only || bytes.is_empty());
    let result = if status.code() == Code::Ok {
        Ok(())
    } else {
        Err(status)
    };
    let message = bytes.first().map(|flag| (*flag, bytes[5..].to_vec()));
    RawResponse {
        headers,
        message,
        result,
        is_trailers_only,
    }
}

fn bearer(server: &TestServer) -> String {
    format!("Bearer {}", server.token(ALL_SCOPES, None))
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn get_customer() -> Vec<u8> {
    let customer_number = "K-1".into();
    proto::GetCustomerRequest { customer_number }.encode_to_vec()
}

#[rstest]
#[tokio::test]
async fn unknown_encoding_is_rejected_with_supported_ones(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let bearer = bearer(&server);
    for encoding in [
        "deflate",
        "zstd",
        "br",
        "snappy",
        "GZIP",
        "gzip,identity",
        "",
    ] {
        for rpc in ["GetCustomer", "StreamRecipients", "WatchChanges"] {
            for headers in [
                &[("grpc-encoding", encoding), ("authorization", &bearer)][..],
                &[("grpc-encoding", encoding)],
                &[("grpc-encoding", encoding), ("authorization", "Bearer x")],
            ] {
                let response = post(&server, rpc, headers, (1, &get_customer())).await;
                assert!(response.is_trailers_only, "{rpc} {encoding}");
                assert_eq!(
                    response.header("grpc-accept-encoding"),
                    Some("identity,gzip")
                );
                let rejected = rejection(response.result);
                assert_eq!(rejected, (Code::Unimplemented, "UNIMPLEMENTED".into()));
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn requests_are_accepted_plain_and_as_gzip(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let bearer = bearer(&server);
    let (plain, packed) = (get_customer(), gzipped(&get_customer()));
    for (encoding, flag, message, is_accepted) in [
        (Some("gzip"), 1, &packed, true),
        // The flag of each message decides.
        (Some("gzip"), 0, &plain, true),
        (Some("identity"), 0, &plain, true),
        (None, 0, &plain, true),
        (Some("identity"), 1, &packed, false),
        (None, 1, &packed, false),
        (Some("gzip"), 1, &plain, false),
        (Some("gzip"), 1, &packed[..packed.len() - 9].to_vec(), false),
        (Some("gzip"), 1, &Vec::new(), false),
    ] {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(encoding.map(|encoding| ("grpc-encoding", encoding)));
        let response = post(&server, "GetCustomer", &headers, (flag, message)).await;
        assert_eq!(response.result.is_ok(), is_accepted, "{encoding:?} {flag}");
        if !is_accepted {
            assert_eq!(
                rejected_fields(response.result),
                ["request"],
                "{encoding:?} {flag}"
            );
        }
    }
}

/// Responses are not compressed unless the client asks for it and the message is large enough.
#[rstest]
#[tokio::test]
async fn large_responses_are_gzip_if_the_client_accepts_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    for _ in 0..10 {
        let types = &[ContactType::Technical];
        server.create_contact("K-1", "Berta Meier", types, "").await;
    }
    let bearer = bearer(&server);
    for (accepted, rpc, encoding, flag) in [
        (None, "ListContacts", None, 0),
        (Some("identity"), "ListContacts", None, 0),
        (Some("identity,deflate,br"), "ListContacts", None, 0),
        (Some("gzip"), "ListContacts", Some("gzip"), 1),
        (
            Some("identity, deflate, gzip"),
            "ListContacts",
            Some("gzip"),
            1,
        ),
        (Some("gzip"), "GetCustomer", Some("gzip"), 0),
    ] {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(accepted.map(|accepted| ("grpc-accept-encoding", accepted)));
        let response = post(&server, rpc, &headers, (0, &get_customer())).await;
        response.result.clone().unwrap();
        assert_eq!(
            response.header("grpc-encoding"),
            encoding,
            "{accepted:?} {rpc}"
        );
        let (sent, message) = response.message.unwrap();
        assert_eq!(sent, flag, "{accepted:?} {rpc}");
        if flag == 1 {
            assert_eq!(message[..2], [0x1F, 0x8B]);
            assert!(message.len() < 1024, "{}", message.len());
        }
    }
    // An error has no message to compress.
    let headers = [("grpc-accept-encoding", "gzip"), ("authorization", &bearer)];
    let missing = proto::GetCustomerRequest {
        customer_number: "K-9".into(),
    };
    let response = post(
        &server,
        "GetCustomer",
        &headers,
        (0, &missing.encode_to_vec()),
    )
    .await;
    assert!(response.is_trailers_only);
    assert_eq!(rejection(response.result).1, "CUSTOMER_NOT_FOUND");
}

#[rstest]
#[tokio::test]
async fn client_that_compresses_everything_is_served(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let gzip = CompressionEncoding::Gzip;
    let mut client = ContactServiceClient::new(server.channel.clone())
        .send_compressed(gzip)
        .accept_compressed(gzip);
    let bearer = bearer(&server);
    let authorized = |message| {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", bearer.parse().unwrap());
        request
    };
    let numbers: Vec<_> = (0..500).map(|n| format!("K-{n}")).collect();
    let request = proto::StreamRecipientsRequest {
        customer_numbers: numbers.clone(),
        purpose: proto::Purpose::General.into(),
        ..proto::StreamRecipientsRequest::default()
    };
    let mut request = Request::new(tokio_stream::iter([request.clone(), request]));
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    let responses = client.stream_recipients(request).await.unwrap();
    assert_eq!(responses.metadata().get("grpc-encoding").unwrap(), "gzip");
    let (mut responses, mut count) = (responses.into_inner(), 0);
    while let Some(response) = responses.message().await.unwrap() {
        count += response.results.len();
    }
    assert_eq!(count, 2 * numbers.len());

    let list = proto::ListContactsRequest {
        customer_number: "K-1".into(),
        ..proto::ListContactsRequest::default()
    };
    let listed = client.list_contacts(authorized(list)).await.unwrap();
    assert_eq!(listed.into_inner().contacts.len(), 1);

    let mut health = HealthClient::new(server.channel.clone())
        .send_compressed(gzip)
        .accept_compressed(gzip);
    let service = String::new();
    health.check(HealthCheckRequest { service }).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn message_limit_applies_to_the_decompressed_size(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let bearer = bearer(&server);
    let headers = [
        ("grpc-encoding", "gzip"),
        ("authorization", bearer.as_str()),
    ];
    for (rpc, limit) in [("GetCustomer", 64 * 1024), ("StreamRecipients", 256 * 1024)] {
        // A field that no request defines, and every decoder skips.
        let of_length = |length: usize| {
            let mut message = Vec::new();
            prost::encoding::bytes::encode(1_000, &vec![b'x'; length], &mut message);
            message
        };
        let head = of_length(limit).len() - limit;
        let longest = gzipped(&of_length(limit - head));
        let response = post(&server, rpc, &headers, (1, &longest)).await;
        assert_ne!(rejected_fields(response.result), ["request"], "{rpc}");
        for length in [limit - head + 1, 10 * MIB, 40 * MIB] {
            let bomb = gzipped(&of_length(length));
            assert!(bomb.len() < limit, "{}", bomb.len());
            let response = post(&server, rpc, &headers, (1, &bomb)).await;
            let status = response.result.unwrap_err();
            assert!(status.message().contains("longer"), "{rpc} {status:?}");
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(
                rejected_fields::<()>(Err(status)),
                ["request"],
                "{rpc} {length}"
            );
        }
    }
}
