//! `VerifyContactChannel` (rule 21).

use contact_service::api::proto::{
    self, ChannelMatch, Contact, ContactType, verify_contact_channel_request::Channel,
};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    calls::only_id,
    harness::{Backend, TestServer, refusal, refused_fields},
};

async fn verify(
    server: &TestServer,
    number: &str,
    channel: Option<Channel>,
) -> Result<proto::VerifyContactChannelResponse, Status> {
    let request = proto::VerifyContactChannelRequest {
        customer_number: number.into(),
        channel,
    };
    let response = server.client().verify_contact_channel(request).await?;
    Ok(response.into_inner())
}

fn phone(text: &str) -> Option<Channel> {
    Some(Channel::PhoneNumber(text.into()))
}

fn email(text: &str) -> Option<Channel> {
    Some(Channel::Email(text.into()))
}

fn of(contact: &Contact) -> ChannelMatch {
    ChannelMatch {
        contact_id: contact.contact_id.clone(),
        display_name: contact.display_name.clone(),
        types: contact.types.clone(),
    }
}

/// Anna and Berta share a number; the contact data has another, and Anna's address.
async fn two_contacts(server: &TestServer) -> (Contact, Contact) {
    let anna = server.create_customer_with_contact("K-1").await;
    let types = &[ContactType::Technical, ContactType::Owner];
    let berta = server.create_contact("K-1", "Berta", types, "").await;
    for contact in [&anna, &berta] {
        let change = Contact {
            phone_numbers: vec!["+49 171 1234567".into(), "0721 555".into()],
            ..only_id(contact)
        };
        server.update_contact(change, &[]).await.unwrap();
    }
    server.set_confirmed_email(&anna, "info@k-1.example").await;
    (server.contact(&anna).await, server.contact(&berta).await)
}

#[rstest]
#[tokio::test]
async fn rule_21_a_channel_on_file_is_told_with_whose_it_is(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, berta) = two_contacts(&server).await;
    for number in ["+491711234567", "0171 1234567", "+49 (0)171-1234567"] {
        let found = verify(&server, "K-1", phone(number)).await.unwrap();
        assert!(found.known);
        assert_eq!(found.matches, [of(&anna), of(&berta)], "{number}");
    }
    let office = verify(&server, "K-1", phone("0721 913740")).await.unwrap();
    assert_eq!(office.matches, [ChannelMatch::default()]);
    for address in ["info@k-1.example", "INFO@K-1.Example"] {
        let found = verify(&server, "K-1", email(address)).await.unwrap();
        assert_eq!(found.matches, [ChannelMatch::default(), of(&anna)]);
    }
}

#[rstest]
#[tokio::test]
async fn rule_21_what_is_not_on_file_is_told_so(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = two_contacts(&server).await;
    server.create_customer("K-2").await;
    // A pending address is not on file.
    server
        .change_email(&anna, "neu@muster.example")
        .await
        .unwrap();
    for (number, channel) in [
        ("K-1", phone("0171 1234568")),
        ("K-1", email("neu@muster.example")),
        ("K-1", email("info@k-2.example")),
        ("K-2", phone("0171 1234567")),
        ("K-2", email("info@k-1.example")),
    ] {
        let found = verify(&server, number, channel).await.unwrap();
        assert!(!found.known && found.matches.is_empty(), "{number}");
    }
    server
        .delete_contact(&of_type_technical(&server).await)
        .await
        .unwrap();
    let found = verify(&server, "K-1", phone("0171 1234567")).await.unwrap();
    assert_eq!(found.matches, [of(&anna)]);
}

async fn of_type_technical(server: &TestServer) -> Contact {
    server.contacts("K-1").await.pop().unwrap()
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_a_channel_is_refused_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (channel, field) in [
        (phone("110"), "phone_number"),
        (phone(""), "phone_number"),
        (email("nobody"), "email"),
        (None, "channel"),
    ] {
        let refused = verify(&server, "K 1", channel).await;
        assert_eq!(refused_fields(refused), ["customer_number", field]);
    }
    let unknown = refusal(verify(&server, "K-9", phone("0171 1234567")).await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
}
