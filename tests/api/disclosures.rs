//! Disclosures about a customer are recorded (rule 25): caller verification and rejected checks.

use contact_service::api::proto::{
    AuditEvent, ContactType, VerifyContactChannelRequest, verify_contact_channel_request::Channel,
};
use prost::Message;
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejection},
    raw::call,
    rpcs::{Effect, prepare, rpcs_with, valid_request},
};

async fn verify(server: &TestServer, channel: Channel) -> Vec<String> {
    let request = VerifyContactChannelRequest {
        customer_number: "K-1".into(),
        channel: Some(channel),
        ..VerifyContactChannelRequest::default()
    };
    let response = server.client().verify_contact_channel(request).await;
    let matches = response.unwrap().into_inner().matches;
    matches.into_iter().map(|found| found.contact_id).collect()
}

/// The events since then, oldest first: kind, contact and fields.
async fn since(server: &TestServer, count: usize) -> Vec<(String, String, Vec<String>)> {
    let events = server.events("K-1").await;
    let new = events.len() - count;
    let mut events: Vec<_> = events
        .into_iter()
        .take(new)
        .map(|event| {
            let kind = event.kind().as_str_name().to_owned();
            (kind, event.contact_id, event.changed_fields)
        })
        .collect();
    events.reverse();
    events
}

/// All events except denials, which are written asynchronously.
async fn others(server: &TestServer, number: &str) -> Vec<AuditEvent> {
    let mut events = server.events(number).await;
    events.retain(|event| event.kind().as_str_name() != "EVENT_KIND_CUSTOMER_ACCESS_DENIED");
    events
}

#[rstest]
#[tokio::test]
async fn rule_25_every_disclosure_records_one_event(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = server.token(ALL_SCOPES, None);
    for rpc in rpcs_with(Effect::Discloses) {
        let on = prepare(&server, &format!("D-{}", rpc.name)).await;
        let before = others(&server, &on.number).await;
        let request = valid_request(rpc.name, &on).encode_to_vec();
        let rejected = server.token(ALL_SCOPES, Some("K-9"));
        let rejected = call(&server, Some(&rejected), rpc.name, request.clone()).await;
        assert_eq!(rejection(rejected).0, Code::PermissionDenied);
        assert_eq!(others(&server, &on.number).await, before, "{}", rpc.name);
        call(&server, Some(&token), rpc.name, request)
            .await
            .unwrap();
        let after = others(&server, &on.number).await;
        assert_eq!(after.len(), before.len() + 1, "{}", rpc.name);
        assert_eq!(after[1..], before, "{}", rpc.name);
        assert_eq!(after[0].actor, "tester", "{}", rpc.name);
    }
}

#[rstest]
#[tokio::test]
async fn rule_25_verified_channel_is_recorded_with_its_contacts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let on = prepare(&server, "K-1").await;
    let berta = server
        .create_contact("K-1", "Berta", &[ContactType::Other], "")
        .await;
    server.set_confirmed_email(&berta, "anna@k-1.example").await;
    let email = |text: &str| Channel::Email(text.into());
    let count = server.events("K-1").await.len();

    assert_eq!(verify(&server, email("anna@k-1.example")).await.len(), 2);
    let of = |id: &str| {
        let kind = "EVENT_KIND_CONTACT_CHANNEL_VERIFIED".to_owned();
        (kind, id.to_owned(), vec!["email".to_owned()])
    };
    let mut both = since(&server, count).await;
    both.sort();
    let mut expected = [of(&on.anna.contact_id), of(&berta.contact_id)];
    expected.sort();
    assert_eq!(both, expected);

    let count = count + 2;
    assert_eq!(verify(&server, email("info@k-1.example")).await, [""]);
    let unknown = Channel::PhoneNumber("+49721000000".into());
    assert!(verify(&server, unknown).await.is_empty());
    let field = |name: &str| vec![name.to_owned()];
    assert_eq!(
        since(&server, count).await,
        [
            (
                "EVENT_KIND_CUSTOMER_CHANNEL_VERIFIED".into(),
                String::new(),
                field("email")
            ),
            (
                "EVENT_KIND_CUSTOMER_CHANNEL_NOT_ON_FILE".into(),
                String::new(),
                field("phone_number")
            ),
        ]
    );
}

#[rstest]
#[tokio::test]
async fn rule_25_unrecorded_data_is_never_disclosed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    let away = "ALTER TABLE audit_events RENAME TO gone";
    crate::harness::execute(&server.database_url, away).await;
    let request = VerifyContactChannelRequest {
        customer_number: "K-1".into(),
        channel: Some(Channel::Email("anna@k-1.example".into())),
        ..VerifyContactChannelRequest::default()
    };
    let rejected = server.client().verify_contact_channel(request).await;
    assert_eq!(rejection(rejected).0, Code::Internal);
}

#[rstest]
#[tokio::test]
async fn rule_25_disclosures_are_paged_with_the_changes(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    let before = server.events("K-1").await.len();
    for _ in 0..5 {
        server.clock.advance(chrono::TimeDelta::seconds(1));
        verify(&server, Channel::Email("anna@k-1.example".into())).await;
    }
    server.clock.advance(chrono::TimeDelta::seconds(1));
    server
        .create_contact("K-1", "Dora", &[ContactType::Other], "")
        .await;
    let all = server.events("K-1").await;
    assert_eq!(all.len(), before + 6);
    assert_eq!(all[0].kind().as_str_name(), "EVENT_KIND_CONTACT_CREATED");
    assert!(
        all[1..6]
            .iter()
            .all(|e| e.kind().as_str_name() == "EVENT_KIND_CONTACT_CHANNEL_VERIFIED")
    );

    assert_eq!(server.paged_events("K-1", 2).await, all);
}

#[rstest]
#[tokio::test]
async fn rule_25_check_beyond_the_call_limit_is_recorded(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let on = prepare(&server, "K-1").await;
    for _ in 0..3 {
        server
            .check_password(&on.berta, "wrong password", "call-7")
            .await
            .unwrap();
    }
    let count = server.events("K-1").await.len();
    let rejected = server.check_password(&on.berta, "wrong password", "call-7");
    assert_eq!(rejection(rejected.await).1, "PHONE_CALL_ATTEMPT_LIMIT");
    let kind = "EVENT_KIND_CONTACT_PHONE_PASSWORD_REFUSED".to_owned();
    assert_eq!(
        since(&server, count).await,
        [(kind, on.berta.contact_id.clone(), Vec::new())]
    );
}
