//! `serve --testing`, the server for tests of consumers.

use std::{fs, path::Path};

use contact_service::api::proto::{
    self, ContactType,
    testing::{
        AdvanceClockRequest, ListMailsRequest, testing_service_client::TestingServiceClient,
    },
};
use rstest::rstest;
use serde_json::Value;
use tonic::Code;

use crate::process::{Backend, Client, Running, Sandbox, channel, client, query_texts};

/// A running test server and what it printed.
struct TestServer {
    process: Running,
    started: Value,
}

impl TestServer {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut process = sandbox.start(&[&["serve", "--testing"], arguments].concat());
        process.until(|process| process.stdout().contains('\n'));
        let started = serde_json::from_str(&process.stdout()).unwrap();
        Self { process, started }
    }

    fn text(&self, name: &str) -> &str {
        self.started[name].as_str().unwrap()
    }

    fn client(&self) -> Client {
        client(self.text("grpc"), self.text("token"))
    }

    fn control(&self) -> TestingServiceClient<tonic::transport::Channel> {
        TestingServiceClient::new(channel(self.text("grpc")))
    }
}

async fn advance(server: &TestServer, seconds: i64) -> Result<i64, tonic::Status> {
    let by = Some(prost_types::Duration { seconds, nanos: 0 });
    let request = AdvanceClockRequest { by };
    let advanced = server.control().advance_clock(request).await?;
    Ok(advanced.into_inner().now.unwrap().seconds)
}

async fn create_contact(server: &TestServer, email: &str) -> proto::Contact {
    let customer = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-1".to_owned(),
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(customer).await.unwrap();
    let request = proto::CreateContactRequest {
        customer_number: "K-1".to_owned(),
        email: email.to_owned(),
        contact: Some(proto::Contact {
            display_name: "Anna".to_owned(),
            types: vec![ContactType::Standard.into()],
            ..proto::Contact::default()
        }),
        ..proto::CreateContactRequest::default()
    };
    let created = server.client().create_contact(request).await.unwrap();
    created.into_inner().contact.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_expires_when_the_clock_is_moved() {
    let sandbox = Sandbox::new();
    let server = TestServer::start(&sandbox, &[]);
    let contact = create_contact(&server, "anna@example.com").await;
    let before = advance(&server, 1).await.unwrap();
    let after = advance(&server, 7 * 24 * 3600).await.unwrap();
    assert!(after - before >= 7 * 24 * 3600);
    let request = proto::GetContactRequest {
        customer_number: "K-1".to_owned(),
        contact_id: contact.contact_id,
    };
    // The token is still valid.
    let contact = server.client().get_contact(request).await.unwrap();
    assert_eq!(contact.into_inner().contact.unwrap().pending_email, None);
    let request = ListMailsRequest {
        to: "anna@example.com".to_owned(),
    };
    let mails = server.control().list_mails(request).await.unwrap();
    let mails = mails.into_inner().mails;
    let page = format!("http://{}/", server.text("page"));
    assert!(mails[0].link.starts_with(&page), "{mails:?}");
    assert!(mails[0].text.contains(&mails[0].link));
    let request = ListMailsRequest {
        to: "berta@example.com".to_owned(),
    };
    let mails = server.control().list_mails(request).await.unwrap();
    assert!(mails.into_inner().mails.is_empty());
}

#[rstest]
#[case::nothing(0)]
#[case::back(-1)]
#[case::too_far(3661 * 24 * 3600)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_moves_forward_only(#[case] seconds: i64) {
    let sandbox = Sandbox::new();
    let server = TestServer::start(&sandbox, &[]);
    let status = advance(&server, seconds).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("by "), "{}", status.message());
}

/// Consumers run tests where the settings of their own application are set.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_environment_are_not_touched(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend)
        .await
        .with_keys()
        .with("LISTEN_ADDR", "192.0.2.1:50051")
        .with("JWT_JWKS", "https://keys.example/jwks.json")
        .with("SMTP_URL", "smtp://mail.example");
    let server = TestServer::start(&sandbox, &["--demo"]);
    let folder = server.text("data_dir").to_owned();
    assert!(Path::new(&folder).join("contacts.db").exists());
    assert!(server.text("token").starts_with("eyJ"));
    let request = proto::GetCustomerRequest {
        customer_number: "K-1001".to_owned(),
    };
    server.client().get_customer(request).await.unwrap();
    let sql = "SELECT customer_number FROM customers";
    assert!(query_texts(&sandbox.database_url(), sql).await.is_empty());
    server.process.signal("TERM");
    assert!(server.process.wait().status.success());
    assert!(fs::metadata(folder).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_servers_have_no_clock_to_move() {
    let sandbox = Sandbox::new().with("LISTEN_ADDR", "127.0.0.1:0");
    let (_server, address) = sandbox.serve(&["serve"]);
    let mut control = TestingServiceClient::new(channel(&address));
    let by = Some(prost_types::Duration {
        seconds: 1,
        nanos: 0,
    });
    let status = control.advance_clock(AdvanceClockRequest { by }).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}
