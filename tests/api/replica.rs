//! Reads that may be slightly stale use the read replica. In these tests it is a second database
//! with different content, which shows where a response comes from.

use contact_service::api::proto::{self, Purpose, recipients_result::Outcome};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, Options, TestServer, rejection},
    proxy::Proxy,
};

const UNREACHABLE: &str = "postgres://unreachable@127.0.0.1:1/none";

fn on_replica(url: &str) -> Options {
    Options {
        replica: Some(url.to_owned()),
        ..Options::default()
    }
}

/// The primary has K-1 and K-2, its read replica K-1 and K-3.
async fn primary_and_replica() -> (TestServer, TestServer) {
    let replica = TestServer::start(Backend::Postgres).await;
    let primary = TestServer::start(Backend::Postgres).await;
    for number in ["K-1", "K-2"] {
        primary.create_customer(number).await;
    }
    for number in ["K-1", "K-3"] {
        replica.create_customer(number).await;
    }
    set_email(&primary, "K-1", "primary@example.com").await;
    set_email(&replica, "K-1", "replica@example.com").await;
    (primary, replica)
}

/// A server without recent writes on existing databases.
async fn server_on(primary: &TestServer, replica_url: &str) -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    TestServer::start_on(&primary.database_url, folder, on_replica(replica_url)).await
}

async fn set_email(server: &TestServer, number: &str, email: &str) {
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            contact_data: Some(proto::ContactData {
                email: email.into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(request).await.unwrap();
}

/// The address that receives a general letter.
async fn resolved(server: &TestServer, number: &str) -> Result<String, Status> {
    let request = proto::ResolveRecipientsRequest {
        customer_number: number.into(),
        purpose: Purpose::General.into(),
        ..proto::ResolveRecipientsRequest::default()
    };
    let response = server.client().resolve_recipients(request).await?;
    let resolution = response.into_inner().resolution.unwrap();
    Ok(resolution.recipients[0].email.clone())
}

async fn streamed(server: &TestServer, number: &str) -> String {
    let request = proto::StreamRecipientsRequest {
        customer_numbers: vec![number.into()],
        purpose: Purpose::General.into(),
        attention_line_chars: 0,
        ..proto::StreamRecipientsRequest::default()
    };
    let requests = tokio_stream::iter([request]);
    let stream = server.client().stream_recipients(requests).await.unwrap();
    let response = stream.into_inner().message().await.unwrap().unwrap();
    match response.results[0].outcome.clone().unwrap() {
        Outcome::Resolution(resolution) => resolution.recipients[0].email.clone(),
        Outcome::Error(status) => panic!("{status:?}"),
    }
}

#[tokio::test]
async fn only_recipients_are_read_from_the_replica() {
    let (primary, replica) = primary_and_replica().await;
    let server = server_on(&primary, &replica.database_url).await;
    assert_eq!(
        resolved(&server, "K-1").await.unwrap(),
        "replica@example.com"
    );
    assert_eq!(streamed(&server, "K-1").await, "replica@example.com");
    assert!(resolved(&server, "K-3").await.is_ok());
    assert_eq!(
        rejection(resolved(&server, "K-2").await),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
    let customer = server.customer("K-1").await;
    assert_eq!(customer.contact_data.unwrap().email, "primary@example.com");
}

#[tokio::test]
async fn writer_reads_its_own_write_from_the_primary() {
    let (primary, replica) = primary_and_replica().await;
    let server = server_on(&primary, &replica.database_url).await;
    set_email(&server, "K-1", "new@example.com").await;
    assert_eq!(resolved(&server, "K-1").await.unwrap(), "new@example.com");
    assert_eq!(streamed(&server, "K-1").await, "new@example.com");
    // Other customers are still read from the read replica.
    assert!(resolved(&server, "K-3").await.is_ok());
    server.create_customer("K-4").await;
    assert!(resolved(&server, "K-4").await.is_ok());
}

#[tokio::test]
async fn reads_use_the_primary_if_no_replica_is_reachable() {
    let (primary, _) = primary_and_replica().await;
    let server = server_on(&primary, UNREACHABLE).await;
    assert_eq!(
        resolved(&server, "K-1").await.unwrap(),
        "primary@example.com"
    );
    assert_eq!(streamed(&server, "K-2").await, "info@k-2.example");
}

#[rstest]
#[case::cut(Proxy::cut)]
#[case::silent(Proxy::silence)]
#[tokio::test]
async fn reads_fall_back_to_the_primary_when_the_replica_fails(#[case] goes_away: fn(&Proxy)) {
    let (primary, replica) = primary_and_replica().await;
    let (proxy, url) = Proxy::in_front_of(&replica.database_url).await;
    let server = server_on(&primary, &url).await;
    assert_eq!(
        resolved(&server, "K-1").await.unwrap(),
        "replica@example.com"
    );
    goes_away(&proxy);
    for _ in 0..3 {
        assert_eq!(
            resolved(&server, "K-1").await.unwrap(),
            "primary@example.com"
        );
    }
    assert_eq!(streamed(&server, "K-1").await, "primary@example.com");
}
