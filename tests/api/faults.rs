//! Errors that clients get when a dependency fails, and recovery afterwards.

use std::time::Duration;

use contact_service::api::{
    admission::Limits,
    proto::{self, Contact, ContactType, contact_service_client::ContactServiceClient},
};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use rstest::rstest;
use tonic::{Code, Request, Status, body::Body};

use crate::{
    errors::has_fixed_text,
    harness::{
        ALL_SCOPES, Backend, Options, TestServer, execute, fresh_database, new_contact, rejection,
    },
    held_lock::HeldLock,
    proxy::Proxy,
    requests::only_id,
};

const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

/// A client that sends its deadline without enforcing it, unlike tonic's own timeout.
fn patient_client(server: &TestServer) -> ContactServiceClient<HttpClient<HttpConnector, Body>> {
    let client = HttpClient::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let origin = format!("http://{}", server.address).parse().unwrap();
    ContactServiceClient::with_origin(client, origin)
}

/// The request with a token and the deadline `timeout`, such as `300m`.
fn with_deadline<T>(server: &TestServer, message: T, timeout: &str) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {}", server.token(ALL_SCOPES, None));
    request
        .metadata_mut()
        .insert("authorization", token.parse().unwrap());
    request
        .metadata_mut()
        .insert("grpc-timeout", timeout.parse().unwrap());
    request
}

fn creation() -> proto::CreateContactRequest {
    proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact("Technik", &[ContactType::Technical])),
        request_id: ID.into(),
        ..proto::CreateContactRequest::default()
    }
}

async fn get(server: &TestServer, contact: &Contact) -> Result<Contact, Status> {
    let request = proto::GetContactRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
    };
    let response = server.client().get_contact(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn rename(server: &TestServer, contact: &Contact) -> Result<Contact, Status> {
    let change = Contact {
        display_name: "Umbenannt".into(),
        ..only_id(contact)
    };
    server.update_contact(change, &[]).await
}

#[rstest]
#[tokio::test]
async fn server_reports_an_exceeded_client_deadline(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let deadline = (Code::DeadlineExceeded, "DEADLINE".to_owned());
    let mut client = patient_client(&server);
    let lock = HeldLock::take(&server.database_url, "K-1").await;
    for timeout in ["300m", "200000u", "1n"] {
        let request = with_deadline(&server, creation(), timeout);
        assert_eq!(
            rejection(client.create_contact(request).await),
            deadline,
            "{timeout}"
        );
    }
    lock.release().await;

    // The outcome of such a write is unknown; a repeated request takes effect once.
    let request = with_deadline(&server, creation(), "5S");
    let made = client
        .create_contact(request)
        .await
        .unwrap()
        .into_inner()
        .contact
        .unwrap();
    assert_eq!(server.contacts("K-1").await[1..], [made]);
    assert_eq!(server.events("K-1").await.len(), 3);
}

#[rstest]
#[tokio::test]
async fn server_reports_an_exceeded_server_deadline(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let owner = TestServer::start(backend).await;
    owner.create_customer_with_contact("K-1").await;
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        request_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let options = Options::with_limits(limits);
    let server = TestServer::start_on(&owner.database_url, folder, options).await;
    let lock = HeldLock::take(&server.database_url, "K-1").await;
    let rejected = server.client().create_contact(creation()).await;
    assert_eq!(
        rejection(rejected),
        (Code::DeadlineExceeded, "DEADLINE".into())
    );
    // A client can shorten the deadline, not extend it.
    let request = with_deadline(&server, creation(), "1H");
    let rejected = patient_client(&server).create_contact(request).await;
    assert_eq!(
        rejection(rejected),
        (Code::DeadlineExceeded, "DEADLINE".into())
    );
    // Reads wait for no lock.
    assert_eq!(owner.contacts("K-1").await.len(), 1);
    lock.release().await;
}

#[rstest]
#[tokio::test]
async fn locked_customer_is_a_conflict_within_the_deadline(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let before = server.state("K-1").await;
    let lock = HeldLock::take(&server.database_url, "K-1").await;
    let status = rename(&server, &anna).await.unwrap_err();
    assert!(has_fixed_text(&status), "{status:?}");
    assert_eq!(
        rejection::<()>(Err(status)),
        (Code::Aborted, "CONFLICT".into())
    );
    lock.release().await;
    assert_eq!(server.state("K-1").await, before);
    assert_eq!(
        rename(&server, &anna).await.unwrap().display_name,
        "Umbenannt"
    );
}

#[rstest]
#[tokio::test]
async fn overloaded_server_sheds_requests_and_recovers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let limits = Limits {
        requests: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(backend, Options::with_limits(limits)).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let lock = HeldLock::take(&server.database_url, "K-1").await;
    // One of two requests holds the only permit until the lock is released.
    let one = rename(&server, &anna);
    let other = rename(&server, &anna);
    tokio::pin!(one, other);
    let shed = tokio::select! {
        shed = &mut one => shed,
        shed = &mut other => shed,
    };
    assert_eq!(rejection(shed), (Code::Unavailable, "OVERLOADED".into()));
    lock.release().await;
    let mut answered = false;
    while !answered {
        answered = get(&server, &anna).await.is_ok();
    }
}

#[tokio::test]
async fn server_recovers_with_its_database_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(Backend::Postgres, folder.path().join("unused")).await;
    let (proxy, url) = Proxy::in_front_of(&url).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    let anna = server.create_customer_with_contact("K-1").await;
    for _ in 0..2 {
        proxy.cut();
        for _ in 0..3 {
            for rejected in [get(&server, &anna).await, rename(&server, &anna).await] {
                let status = rejected.unwrap_err();
                assert!(has_fixed_text(&status), "{status:?}");
                let rejected = rejection::<()>(Err(status));
                assert_eq!(rejected, (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
            }
        }
        proxy.restore();
        assert_eq!(
            rename(&server, &anna).await.unwrap().display_name,
            "Umbenannt"
        );
        assert_eq!(get(&server, &anna).await.unwrap().display_name, "Umbenannt");
    }
}

#[tokio::test]
async fn silent_database_is_unavailable_within_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(Backend::Postgres, folder.path().join("unused")).await;
    let (proxy, url) = Proxy::in_front_of(&url).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    let anna = server.create_customer_with_contact("K-1").await;
    proxy.silence();
    for rejected in <[_; 2]>::from(tokio::join!(get(&server, &anna), rename(&server, &anna))) {
        let status = rejected.unwrap_err();
        assert!(has_fixed_text(&status), "{status:?}");
        let rejected = rejection::<()>(Err(status));
        let expected = (Code::Unavailable, "DATABASE_UNAVAILABLE".into());
        assert_eq!(rejected, expected);
    }
    proxy.restore();
    let renamed = rename(&server, &anna).await.unwrap();
    assert_eq!(get(&server, &anna).await.unwrap(), renamed);
}

#[rstest]
#[tokio::test]
async fn internal_failures_reveal_no_details(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    for table in [
        "contact_phone_numbers",
        "audit_events",
        "request_ids",
        "contacts",
    ] {
        execute(
            &server.database_url,
            &format!("ALTER TABLE {table} RENAME TO lost"),
        )
        .await;
        let read = get(&server, &anna).await.map(|_| ());
        let written = server.client().create_contact(creation()).await.map(|_| ());
        let is_read = table.starts_with("contact");
        for response in [read.err().filter(|_| is_read), written.err()]
            .into_iter()
            .flatten()
        {
            assert!(has_fixed_text(&response), "{response:?}");
            assert_eq!(
                rejection::<()>(Err(response)),
                (Code::Internal, "INTERNAL".into())
            );
        }
        execute(
            &server.database_url,
            &format!("ALTER TABLE lost RENAME TO {table}"),
        )
        .await;
    }
    // Nothing of the failed request is stored, and later requests succeed.
    assert_eq!(server.contacts("K-1").await, [anna]);
    server.client().create_contact(creation()).await.unwrap();
    assert_eq!(server.contacts("K-1").await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn unreadable_data_is_data_loss_without_details(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let other = server.create_customer_with_contact("K-2").await;
    let technical = &[ContactType::Technical];
    let contact = server
        .create_contact("K-1", "Technik", technical, "t@muster.example")
        .await;
    let mut corruptions = vec![
        "locale = 'xx'",
        "types = 0",
        "types = 256",
        "allowed_order_types = 'marker'",
        "denied_order_types = '[1]'",
        "pending_email_expire_time = NULL",
    ];
    if backend == Backend::Sqlite {
        // SQLite accepts any value in any column.
        corruptions.extend([
            "version = 'marker'",
            "create_time = 'marker'",
            "types = 'marker'",
        ]);
    }
    for corruption in corruptions {
        execute(
            &server.database_url,
            "CREATE TABLE kept AS SELECT * FROM contacts",
        )
        .await;
        let corrupt = format!("UPDATE contacts SET {corruption} WHERE display_name = 'Technik'");
        execute(&server.database_url, &corrupt).await;
        for response in [
            get(&server, &contact).await,
            rename(&server, &contact).await,
        ] {
            let status = response.unwrap_err();
            assert!(has_fixed_text(&status), "{corruption}: {status:?}");
            let rejected = rejection::<()>(Err(status));
            assert_eq!(
                rejected,
                (Code::DataLoss, "DATA_LOSS".into()),
                "{corruption}"
            );
        }
        // Other customers are unaffected.
        assert_eq!(server.contact(&other).await, other);
        let restore = "DELETE FROM contacts WHERE display_name = 'Technik';
            INSERT INTO contacts SELECT * FROM kept WHERE display_name = 'Technik';
            DROP TABLE kept";
        execute(&server.database_url, restore).await;
        assert_eq!(server.contact(&contact).await, contact);
    }
}
