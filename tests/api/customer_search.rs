//! Searches for the customers of a phone number or e-mail address (rule 30).

use contact_service::api::proto::{
    self, ChannelMatchKind, ChannelOutcome, ContactType, EventKind, FindCustomersRequest,
    FindCustomersResponse, find_customers_request::Channel,
};
use futures::future::join_all;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{
    ALL_SCOPES, Backend, Client, Options, TestServer, query_number, rejected_fields, rejection,
};

const PER_MINUTE: usize = 60;

async fn find_with(mut client: Client, channel: Channel) -> Result<FindCustomersResponse, Status> {
    let request = FindCustomersRequest {
        channel: Some(channel),
        ..FindCustomersRequest::default()
    };
    Ok(client.find_customers(request).await?.into_inner())
}

async fn find(server: &TestServer, channel: Channel) -> FindCustomersResponse {
    find_with(server.client(), channel).await.unwrap()
}

fn phone(text: &str) -> Channel {
    Channel::PhoneNumber(text.into())
}

fn email(text: &str) -> Channel {
    Channel::Email(text.into())
}

async fn with_numbers(server: &TestServer, number: &str, name: &str, phones: &[&str]) -> String {
    let standard = &[ContactType::Standard];
    let contact = server.create_contact(number, name, standard, "").await;
    let change = proto::Contact {
        phone_numbers: phones.iter().map(|&phone| phone.to_owned()).collect(),
        ..contact
    };
    server
        .update_contact(change, &["phone_numbers"])
        .await
        .unwrap()
        .contact_id
}

/// Customer, name and kind of each match.
fn found(response: &FindCustomersResponse) -> Vec<(&str, &str, ChannelMatchKind)> {
    let matches = response.matches.iter();
    matches
        .map(|found| {
            let (number, name) = (&found.customer_number, &found.display_name);
            (number.as_str(), name.as_str(), found.r#match())
        })
        .collect()
}

#[rstest]
#[tokio::test]
async fn rule_30_finds_the_customers_of_a_number_and_an_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for number in ["K-2", "K-1", "K-3"] {
        server.create_customer(number).await;
    }
    let line = "+49 211 123456";
    let anna = with_numbers(&server, "K-1", "Anna", &["+49 211 12345612", line]).await;
    with_numbers(&server, "K-2", "Bernd", &[line]).await;
    let carla = with_numbers(&server, "K-2", "Carla", &["+49 211 12345612"]).await;
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-3".into(),
            contact_data: Some(proto::ContactData {
                phone_number: "+49 211 12345612".into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(request).await.unwrap();
    let response = find(&server, phone("sip:0211-12345612@pbx.example")).await;
    assert_eq!(response.outcome(), ChannelOutcome::OnFile);
    let (exact, same_line) = (ChannelMatchKind::Exact, ChannelMatchKind::SameLine);
    assert_eq!(
        found(&response),
        [
            ("K-1", "Anna", exact),
            ("K-2", "Carla", exact),
            ("K-3", "", exact),
            ("K-2", "Bernd", same_line),
        ]
    );
    assert_eq!(response.matches[0].contact_id, anna);
    assert_eq!(response.matches[1].contact_id, carla);
    assert_eq!(
        response.matches[1].types,
        [i32::from(ContactType::Standard)]
    );
    assert_eq!(response.matches[2].contact_id, "");
    assert!(!response.truncated);
    check_disclosures(&server).await;
}

/// Each hit is recorded in the audit log of its customer.
async fn check_disclosures(server: &TestServer) {
    for (number, kinds) in [
        ("K-1", vec![EventKind::ContactFound]),
        (
            "K-2",
            vec![EventKind::ContactFound, EventKind::ContactFound],
        ),
        ("K-3", vec![EventKind::CustomerFound]),
    ] {
        let events = server.events(number).await;
        let latest = events.iter().take(kinds.len());
        assert_eq!(
            latest
                .clone()
                .map(proto::AuditEvent::kind)
                .collect::<Vec<_>>(),
            kinds
        );
        for event in latest {
            assert_eq!(event.changed_fields, ["phone_number"]);
        }
    }
}

#[rstest]
#[tokio::test]
async fn rule_30_search_without_a_match_is_an_event_of_no_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-2").await;
    // The contact data of a customer has an address of its own.
    let response = find(&server, email("INFO@K-2.example")).await;
    assert_eq!(found(&response), [("K-2", "", ChannelMatchKind::Exact)]);
    let withheld = find(&server, phone("anonymous")).await;
    assert_eq!(withheld.outcome(), ChannelOutcome::Withheld);
    let before = events_of_no_customer(&server).await;
    let nothing = find(&server, email("unknown@nowhere.example")).await;
    assert_eq!(nothing.outcome(), ChannelOutcome::NotOnFile);
    assert!(nothing.matches.is_empty() && withheld.matches.is_empty());
    let events = events_of_no_customer(&server).await;
    assert_eq!(events.len(), before.len() + 1);
    assert_eq!(events[0].kind(), EventKind::CustomerNotFound);
    assert_eq!(events[0].actor, "tester");
    assert_eq!(events[0].changed_fields, ["email"]);
}

async fn events_of_no_customer(server: &TestServer) -> Vec<proto::AuditEvent> {
    let request = proto::ListAuditEventsRequest::default();
    let listed = server.client().list_audit_events(request).await;
    listed.unwrap().into_inner().events
}

#[rstest]
#[tokio::test]
async fn pending_addresses_are_not_found(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let standard = &[ContactType::Standard];
    server
        .create_contact("K-1", "Anna", standard, "anna@k-1.example")
        .await;
    let pending = find(&server, email("anna@k-1.example")).await;
    assert_eq!(pending.outcome(), ChannelOutcome::NotOnFile);
}

#[rstest]
#[tokio::test]
async fn rule_30_at_most_20_matches_are_listed_and_recorded(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for nth in 0..21 {
        let number = format!("K-{nth:02}");
        server.create_customer(&number).await;
        with_numbers(&server, &number, "Anna", &["+49 721 1234567"]).await;
        let response = find(&server, phone("0721 1234567")).await;
        assert_eq!(response.matches.len(), (nth + 1).min(20));
        assert_eq!(response.truncated, nth == 20, "{nth}");
    }
    let of_last = server.events("K-20").await;
    assert!(
        of_last
            .iter()
            .all(|event| event.kind() != EventKind::ContactFound)
    );
}

#[rstest]
#[tokio::test]
async fn rule_30_limit_of_an_agent_spans_instances(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut servers = vec![TestServer::start(backend).await];
    if backend == Backend::Postgres {
        let peer = servers[0].start_peer(Options::default()).await;
        servers.push(peer);
    }
    servers[0].create_customer("K-1").await;
    let searches = (0..100).map(|nth| {
        let client = servers[nth % servers.len()].client_of("busy");
        find_with(client, email("info@k-1.example"))
    });
    let mut found = 0;
    for response in join_all(searches).await {
        let Err(status) = response else {
            found += 1;
            continue;
        };
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["limit"], "customer_searches_per_agent");
        assert!(status.get_details_retry_info().is_some());
        let rejected = rejection::<()>(Err(status));
        assert_eq!(rejected, (Code::ResourceExhausted, "FIND_LIMIT".to_owned()));
    }
    assert_eq!(found, PER_MINUTE);
    // Each hit is in the customer's audit log, and no rejected search is.
    let count = "SELECT count(*) FROM audit_events WHERE kind = 'customer.found'";
    assert_eq!(query_number(&servers[0].database_url, count).await, 60);
    // The limit is the agent's own.
    let other = find_with(servers[0].client_of("other"), email("info@k-1.example")).await;
    assert_eq!(other.unwrap().matches.len(), 1);
}

#[rstest]
#[tokio::test]
async fn rule_30_agent_without_the_scope_or_of_one_customer_learns_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let before = server.events("K-1").await.len();
    let scopes = ALL_SCOPES.replace("customers.find", "");
    let without_scope = server.token(&scopes, None);
    let of_one_customer = server.token(ALL_SCOPES, Some("K-1"));
    for (token, reason) in [
        (without_scope, "SCOPE_MISSING"),
        (of_one_customer, "CUSTOMER_MISMATCH"),
    ] {
        // Whether or not it is on file, and also beyond the limit of searches.
        for nth in 0..PER_MINUTE + 5 {
            let address = if nth % 2 == 0 { "info" } else { "unknown" };
            let channel = email(&format!("{address}@k-1.example"));
            let rejected = find_with(server.client_with(token.clone()), channel).await;
            let expected = (Code::PermissionDenied, reason.to_owned());
            assert_eq!(rejection(rejected), expected);
        }
    }
    let searched = "SELECT count(*) FROM customer_search_agents";
    assert_eq!(query_number(&server.database_url, searched).await, 0);
    assert_eq!(server.events("K-1").await.len(), before);
}

#[rstest]
#[tokio::test]
async fn fields_of_a_search_are_checked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut client = server.client();
    let request = FindCustomersRequest {
        channel: None,
        call_id: "x".repeat(129),
    };
    let rejected = client.find_customers(request).await;
    assert_eq!(rejected_fields(rejected), ["channel", "call_id"]);
    let rejected = find_with(server.client(), phone("abc")).await;
    assert_eq!(rejected_fields(rejected), ["phone_number"]);
}
