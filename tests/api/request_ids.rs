//! Request ids over the wire (AIP-155): a repeated request takes effect once.

use chrono::TimeDelta;
use contact_service::api::proto::{self, Contact, ContactType};
use futures::future::join_all;
use prost::Message;
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, Client, TestServer, new_contact, rejected_fields, rejection},
    requests::only_id,
};

const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";
const DAY: TimeDelta = TimeDelta::hours(24);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);

/// The RPCs whose requests have an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rpc {
    Create,
    Update,
    Delete,
    ChangeEmail,
    RemoveEmail,
}

const ALL: [Rpc; 5] = [
    Rpc::Create,
    Rpc::Update,
    Rpc::Delete,
    Rpc::ChangeEmail,
    Rpc::RemoveEmail,
];

impl Rpc {
    /// A request id that only this RPC uses.
    fn own_id(self) -> String {
        format!("0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c{:02}", self as u8)
    }
}

/// Sends a request about `contact`; returns the bytes of the response.
async fn send(
    mut client: Client,
    rpc: Rpc,
    contact: &Contact,
    request_id: &str,
) -> Result<Vec<u8>, Status> {
    let customer_number = contact.customer_number.clone();
    let contact_id = contact.contact_id.clone();
    let request_id = request_id.to_owned();
    Ok(match rpc {
        Rpc::Create => {
            let request = creation(customer_number, request_id);
            client
                .create_contact(request)
                .await?
                .into_inner()
                .encode_to_vec()
        }
        Rpc::Update => {
            let request = proto::UpdateContactRequest {
                contact: Some(Contact {
                    display_name: "Umbenannt".into(),
                    ..only_id(contact)
                }),
                request_id,
                ..proto::UpdateContactRequest::default()
            };
            client
                .update_contact(request)
                .await?
                .into_inner()
                .encode_to_vec()
        }
        Rpc::Delete => {
            let request = proto::DeleteContactRequest {
                customer_number,
                contact_id,
                request_id,
                ..proto::DeleteContactRequest::default()
            };
            client
                .delete_contact(request)
                .await?
                .into_inner()
                .encode_to_vec()
        }
        Rpc::ChangeEmail => {
            let request = proto::ChangeEmailRequest {
                customer_number,
                contact_id,
                email: "neu@muster.example".into(),
                request_id,
                ..proto::ChangeEmailRequest::default()
            };
            client
                .change_email(request)
                .await?
                .into_inner()
                .encode_to_vec()
        }
        Rpc::RemoveEmail => {
            let request = proto::RemoveEmailRequest {
                customer_number,
                contact_id,
                request_id,
                ..proto::RemoveEmailRequest::default()
            };
            client
                .remove_email(request)
                .await?
                .into_inner()
                .encode_to_vec()
        }
    })
}

fn creation(customer_number: String, request_id: String) -> proto::CreateContactRequest {
    proto::CreateContactRequest {
        customer_number,
        contact: Some(new_contact("Neu", &[ContactType::Standard])),
        email: "neu@muster.example".into(),
        request_id,
        ..proto::CreateContactRequest::default()
    }
}

/// A customer with a STANDARD contact and a TECHNICAL one that has an address.
async fn technical_contact(server: &TestServer, number: &str) -> Contact {
    server.create_customer_with_contact(number).await;
    let technical = &[ContactType::Technical];
    let email = format!("technik@{}.example", number.to_lowercase());
    server
        .create_contact(number, "Technik", technical, &email)
        .await
}

fn reused<T: std::fmt::Debug>(result: Result<T, Status>) -> bool {
    rejection(result) == (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned())
}

#[rstest]
#[tokio::test]
async fn repeated_request_within_a_day_is_replayed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in ALL {
        let number = format!("{rpc:?}");
        let contact = technical_contact(&server, &number).await;
        let before = server.events(&number).await.len();
        let first = send(server.client(), rpc, &contact, &rpc.own_id())
            .await
            .unwrap();
        assert_eq!(server.events(&number).await.len(), before + 1);

        // Regardless of changes to any remaining contact.
        server.clock.advance(DAY - INSTANT);
        for contact in server.contacts(&number).await {
            server
                .change_email(&contact, "spaeter@muster.example")
                .await
                .unwrap();
        }
        // The stored response would be deleted with its contact.
        if rpc == Rpc::Create {
            server.delete_contact(&contact).await.unwrap();
        }
        let state = server.state(&number).await;
        for _ in 0..2 {
            let again = send(server.client(), rpc, &contact, &rpc.own_id())
                .await
                .unwrap();
            assert_eq!(again, first, "{rpc:?}");
        }
        assert_eq!(server.state(&number).await, state, "{rpc:?}");
    }
}

#[rstest]
#[tokio::test]
async fn request_id_expires_after_a_day(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in ALL {
        let number = format!("{rpc:?}");
        let contact = technical_contact(&server, &number).await;
        let id = &rpc.own_id();
        let first = send(server.client(), rpc, &contact, id).await.unwrap();
        server.clock.advance(DAY);
        let before = server.events(&number).await.len();
        let second = send(server.client(), rpc, &contact, id).await;
        if rpc == Rpc::Delete {
            assert_eq!(
                rejection(second),
                (Code::NotFound, "CONTACT_NOT_FOUND".into())
            );
            continue;
        }
        let second = second.unwrap();
        // Only another contact is a second change (rule 25).
        let after = before + usize::from(rpc == Rpc::Create);
        assert_eq!(server.events(&number).await.len(), after, "{rpc:?}");
        if rpc == Rpc::Create {
            assert_ne!(second, first);
            assert_eq!(server.contacts(&number).await.len(), 4);
        }
        server.clock.advance(DAY - INSTANT);
        assert_eq!(
            send(server.client(), rpc, &contact, id).await.unwrap(),
            second
        );
        assert_eq!(server.events(&number).await.len(), after, "{rpc:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_concurrent_identical_requests_take_effect_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in ALL {
        let number = format!("{rpc:?}");
        let contact = technical_contact(&server, &number).await;
        let before = server.events(&number).await.len();
        let id = rpc.own_id();
        let calls = (0..8).map(|_| send(server.client(), rpc, &contact, &id));
        let responses: Vec<_> = join_all(calls)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert!(
            responses.iter().all(|response| *response == responses[0]),
            "{rpc:?}"
        );
        assert_eq!(server.events(&number).await.len(), before + 1, "{rpc:?}");
        let expected = match rpc {
            Rpc::Create => 3,
            Rpc::Delete => 1,
            Rpc::Update | Rpc::ChangeEmail | Rpc::RemoveEmail => 2,
        };
        assert_eq!(server.contacts(&number).await.len(), expected, "{rpc:?}");
    }
}

#[rstest]
#[tokio::test]
async fn reused_id_with_another_request_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = technical_contact(&server, "K-1").await;
    let sibling = server
        .create_contact("K-1", "Bernd", &[ContactType::Standard], "")
        .await;
    send(server.client(), Rpc::Update, &contact, ID)
        .await
        .unwrap();
    server.clock.advance(DAY - INSTANT);
    let state = server.state("K-1").await;
    for rpc in ALL {
        assert!(
            reused(send(server.client(), rpc, &sibling, ID).await),
            "{rpc:?}"
        );
        if rpc != Rpc::Update {
            assert!(
                reused(send(server.client(), rpc, &contact, ID).await),
                "{rpc:?}"
            );
        }
    }
    // The same RPC and contact with other values.
    let request = proto::UpdateContactRequest {
        contact: Some(Contact {
            display_name: "Anders".into(),
            ..only_id(&contact)
        }),
        request_id: ID.into(),
        ..proto::UpdateContactRequest::default()
    };
    let rejected = server.client().update_contact(request).await;
    assert_eq!(rejected_fields(rejected), ["request_id"]);
    assert_eq!(server.state("K-1").await, state);
    server.clock.advance(INSTANT);
    send(server.client(), Rpc::Update, &sibling, ID)
        .await
        .unwrap();
}

#[rstest]
#[tokio::test]
async fn same_id_for_other_customers_is_another_request(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut contacts = Vec::new();
    for index in 0..8 {
        contacts.push(technical_contact(&server, &format!("K-{index}")).await);
    }
    let calls = contacts
        .iter()
        .map(|contact| send(server.client(), Rpc::Update, contact, ID));
    for response in join_all(calls).await {
        response.unwrap();
    }
    for contact in &contacts {
        let events = server.events(&contact.customer_number).await.len();
        send(server.client(), Rpc::Update, contact, ID)
            .await
            .unwrap();
        assert_eq!(server.events(&contact.customer_number).await.len(), events);
        assert!(reused(
            send(server.client(), Rpc::Delete, contact, ID).await
        ));
    }
}

#[rstest]
#[tokio::test]
async fn request_ids_are_scoped_to_the_caller(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = technical_contact(&server, "K-1").await;
    let mine = send(server.client(), Rpc::Create, &contact, ID)
        .await
        .unwrap();
    let theirs = send(server.client_of("another"), Rpc::Create, &contact, ID)
        .await
        .unwrap();
    assert_ne!(mine, theirs);
    let other_rpc = send(server.client_of("a third"), Rpc::Update, &contact, ID).await;
    other_rpc.unwrap();
    for (client, response) in [
        (server.client(), mine),
        (server.client_of("another"), theirs),
    ] {
        assert_eq!(
            send(client, Rpc::Create, &contact, ID).await.unwrap(),
            response
        );
    }
    assert_eq!(server.contacts("K-1").await.len(), 4);
}

#[rstest]
#[tokio::test]
async fn request_ids_are_case_insensitive(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in ALL {
        let number = format!("{rpc:?}");
        let contact = technical_contact(&server, &number).await;
        let id = rpc.own_id();
        let first = send(server.client(), rpc, &contact, &id).await.unwrap();
        let again = send(server.client(), rpc, &contact, &id.to_uppercase()).await;
        assert_eq!(again.unwrap(), first, "{rpc:?}");
    }
}

#[rstest]
#[tokio::test]
async fn id_that_is_no_uuid_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = technical_contact(&server, "K-1").await;
    let before = server.state("K-1").await;
    for rpc in ALL {
        for bad in [
            "1",
            "0190d6d25a3c7cc18f2e3d1f0a9b7c55",
            "00000000-0000-0000-0000-000000000000",
        ] {
            let rejected = send(server.client(), rpc, &contact, bad).await;
            assert_eq!(rejected_fields(rejected), ["request_id"], "{rpc:?} {bad}");
        }
    }
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn rejected_request_is_not_stored(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let rejected = rejection(send(server.client(), Rpc::Delete, &anna, ID).await);
    assert_eq!(
        rejected,
        (Code::FailedPrecondition, "LAST_STANDARD_CONTACT".into())
    );
    server
        .create_contact("K-1", "Bernd", &[ContactType::Standard], "")
        .await;
    send(server.client(), Rpc::Delete, &anna, ID).await.unwrap();
    assert_eq!(server.contacts("K-1").await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn replay_is_unchanged_after_an_address_in_it_expired(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = technical_contact(&server, "K-1").await;
    server.clock.advance(TimeDelta::days(7) - INSTANT);
    let first = send(server.client(), Rpc::Update, &contact, ID)
        .await
        .unwrap();
    server.clock.advance(INSTANT);
    assert_eq!(server.contact(&contact).await.pending_email, None);
    assert_eq!(
        send(server.client(), Rpc::Update, &contact, ID)
            .await
            .unwrap(),
        first
    );
}
