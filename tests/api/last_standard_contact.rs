//! Rule 2 under concurrency: a customer with contacts always keeps a STANDARD one.

use contact_service::api::proto::{self, ContactType};
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{Backend, Client, TestServer, rejection};

const CONTACTS: usize = 8;
const QUICK_ROUNDS: usize = 20;
const PROOF_ROUNDS: usize = 2_000;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_holds_against_concurrent_deletes_and_type_changes(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, QUICK_ROUNDS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_rule_2_holds_for_2000_rounds_of_8(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, PROOF_ROUNDS).await;
}

/// Eight concurrent requests per round attack the STANDARD contacts of a customer: half of them
/// delete a contact, half remove its type.
async fn race(backend: Backend, rounds: usize) {
    let server = TestServer::start(backend).await;
    let mut rejected = [0; 2];
    for round in 0..rounds {
        let number = format!("R-{round}");
        let contacts = customer_with_standard_contacts(&server, &number).await;
        let attacks = contacts.into_iter().enumerate().map(|(index, contact)| {
            let client = server.client();
            tokio::spawn(async move {
                if index % 2 == 0 {
                    delete(client, contact).await
                } else {
                    strip(client, contact).await
                }
            })
        });
        for attack in attacks.collect::<Vec<_>>() {
            let Err(status) = attack.await.unwrap() else {
                continue;
            };
            match rejection::<()>(Err(status)) {
                (Code::FailedPrecondition, reason) if reason == "LAST_STANDARD_CONTACT" => {
                    rejected[0] += 1;
                }
                (Code::Aborted, reason) if reason == "CONFLICT" => rejected[1] += 1,
                other => panic!("rejected with {other:?}"),
            }
        }
        assert_eq!(
            standard_contacts(&server, &number).await,
            1,
            "round {round}"
        );
    }
    // One of each eight must be rejected, otherwise the requests did not conflict.
    assert!(rejected.iter().sum::<usize>() >= rounds);
    println!(
        "{backend:?}: {rounds} rounds of {CONTACTS}: 0 customers without STANDARD; rejected with \
         LAST_STANDARD_CONTACT {}, CONFLICT {}",
        rejected[0], rejected[1]
    );
}

async fn customer_with_standard_contacts(server: &TestServer, number: &str) -> Vec<proto::Contact> {
    server.create_customer(number).await;
    let mut contacts = Vec::new();
    for index in 0..CONTACTS {
        let name = format!("Contact {index}");
        contacts.push(
            server
                .create_contact(number, &name, &[ContactType::Standard], "")
                .await,
        );
    }
    contacts
}

async fn delete(mut client: Client, contact: proto::Contact) -> Result<(), Status> {
    let request = proto::DeleteContactRequest {
        customer_number: contact.customer_number,
        contact_id: contact.contact_id,
        ..proto::DeleteContactRequest::default()
    };
    client.delete_contact(request).await.map(|_| ())
}

async fn strip(mut client: Client, contact: proto::Contact) -> Result<(), Status> {
    let request = proto::UpdateContactRequest {
        contact: Some(proto::Contact {
            customer_number: contact.customer_number,
            contact_id: contact.contact_id,
            types: vec![ContactType::Technical.into()],
            ..proto::Contact::default()
        }),
        ..proto::UpdateContactRequest::default()
    };
    client.update_contact(request).await.map(|_| ())
}

async fn standard_contacts(server: &TestServer, number: &str) -> usize {
    let request = proto::ListContactsRequest {
        customer_number: number.into(),
        types: vec![ContactType::Standard.into()],
        ..proto::ListContactsRequest::default()
    };
    let response = server.client().list_contacts(request).await.unwrap();
    response.into_inner().contacts.len()
}
