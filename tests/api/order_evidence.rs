//! The records of orders by phone as evidence (rules 19, 27, 28), from the call to the erasure.

use chrono::TimeDelta;
use contact_service::api::proto::{
    self, AuthenticationMethod, ChannelMatchKind, CheckPhonePasswordResponse, Contact, ContactType,
    EventKind, ListPhoneOrdersRequest, OrderDecision, OrderDenial, PhoneOrder, PhoneOrderOutcome,
    RecordPhoneOrderOutcomeRequest, VerifiedChannel, verify_contact_channel_request::Channel,
};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, TestServer, query_number, rejected_fields, rejection},
    phone_calls::{CALL_ID, PASSWORD},
    requests::{only_id, timestamp},
};

const NOTE: &str = "Bis 500 Euro.";
const STANDARD: &[ContactType] = &[ContactType::Standard];

/// Anna of K-1, with a phone number and a phone password, and some order types.
pub async fn prepare(server: &TestServer) -> Contact {
    server.create_customer("K-1").await;
    let anna = server.create_contact("K-1", "Anna", STANDARD, "").await;
    let change = Contact {
        phone_numbers: vec!["+49 211 123456".into()],
        ..only_id(&anna)
    };
    server
        .update_contact(change, &["phone_numbers"])
        .await
        .unwrap();
    server.create_order_type("reboot", true, true).await;
    server.create_order_type("takeover", false, false).await;
    let cancellation = proto::OrderType {
        code: "cancel".into(),
        display_name: "Kündigung".into(),
        offered_by_phone: true,
        requires_verified_channel: true,
        ..proto::OrderType::default()
    };
    let request = proto::UpdateOrderTypeRequest {
        order_type: Some(cancellation),
        allow_missing: true,
        ..proto::UpdateOrderTypeRequest::default()
    };
    server.client().update_order_type(request).await.unwrap();
    server.set_phone_password(&anna, PASSWORD).await.unwrap()
}

async fn verify(server: &TestServer, channel: Channel, call_id: &str) {
    let request = proto::VerifyContactChannelRequest {
        customer_number: "K-1".into(),
        channel: Some(channel),
        call_id: call_id.into(),
    };
    server
        .client()
        .verify_contact_channel(request)
        .await
        .unwrap();
}

async fn authenticate(server: &TestServer, contact: &Contact) -> CheckPhonePasswordResponse {
    let checked = server.check_password(contact, PASSWORD, CALL_ID).await;
    checked.unwrap()
}

/// The decisions of the options: order type, for the provider's and for the customer's products.
fn options(checked: &CheckPhonePasswordResponse) -> Vec<(&str, OrderDenial, OrderDenial)> {
    let options = checked.order_options.iter();
    options
        .map(|of| {
            let denials = (of.denial(), of.customer_administered_denial());
            (of.order_type.as_str(), denials.0, denials.1)
        })
        .collect()
}

async fn restrict(server: &TestServer, contact: &Contact, note: &str, denied: &[&str]) {
    let change = Contact {
        restrictions: Some(proto::Restrictions {
            note: note.into(),
            denied_order_types: denied.iter().map(|&code| code.to_owned()).collect(),
            ..proto::Restrictions::default()
        }),
        ..only_id(contact)
    };
    server
        .update_contact(change, &["restrictions"])
        .await
        .unwrap();
}

fn outcome_of(order: &PhoneOrder, outcome: PhoneOrderOutcome) -> RecordPhoneOrderOutcomeRequest {
    RecordPhoneOrderOutcomeRequest {
        customer_number: order.customer_number.clone(),
        authorization_id: order.authorization_id.clone(),
        outcome: outcome.into(),
        order_reference: "A-4711".into(),
        ..RecordPhoneOrderOutcomeRequest::default()
    }
}

async fn record(
    server: &TestServer,
    request: RecordPhoneOrderOutcomeRequest,
) -> Result<PhoneOrder, Status> {
    let recorded = server.client().record_phone_order_outcome(request).await?;
    Ok(recorded.into_inner().order.unwrap())
}

pub async fn list(
    server: &TestServer,
    request: ListPhoneOrdersRequest,
) -> Result<Vec<PhoneOrder>, Status> {
    let listed = server.client().list_phone_orders(request).await?;
    Ok(listed.into_inner().orders)
}

pub fn of_customer(number: &str) -> ListPhoneOrdersRequest {
    ListPhoneOrdersRequest {
        customer_number: number.into(),
        ..ListPhoneOrdersRequest::default()
    }
}

#[rstest]
#[tokio::test]
async fn life_of_an_order_from_the_call_to_the_erasure(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    restrict(&server, &anna, NOTE, &[]).await;
    // An extension of the number on file.
    verify(
        &server,
        Channel::PhoneNumber("0211 123456-12".into()),
        CALL_ID,
    )
    .await;
    let checked = authenticate(&server, &anna).await;
    let (none, denied) = (OrderDenial::Unspecified, OrderDenial::ExcludedByProvider);
    let portal = OrderDenial::PortalRequired;
    assert_eq!(
        options(&checked),
        [
            ("cancel", none, none),
            ("reboot", none, portal),
            ("takeover", denied, denied)
        ]
    );
    let caller = checked.caller.clone().unwrap();
    assert_eq!(caller.display_name, "Anna");
    assert_eq!(list(&server, of_customer("K-1")).await.unwrap(), []);

    let decided = server.decide(&anna, &checked.grant, "cancel", false).await;
    let decided = decided.unwrap();
    assert_eq!(decided.restrictions_note, NOTE);
    let order = decided.order.unwrap();
    let mut expected = PhoneOrder {
        authorization_id: order.authorization_id.clone(),
        create_time: timestamp(server.now()),
        ..decided_order(&anna, caller.restrictions)
    };
    assert_eq!(order, expected);

    // What the order was judged by changes: the evidence does not.
    restrict(&server, &anna, "", &["cancel"]).await;
    server.clock.advance(TimeDelta::minutes(1));
    expected.set_outcome(PhoneOrderOutcome::Placed);
    expected.order_reference = "A-4711".into();
    expected.outcome_time = timestamp(server.now());
    let recorded = record(&server, outcome_of(&order, PhoneOrderOutcome::Placed)).await;
    assert_eq!(recorded.unwrap(), expected);
    for outcome in [PhoneOrderOutcome::Placed, PhoneOrderOutcome::NotPlaced] {
        let again = rejection(record(&server, outcome_of(&order, outcome)).await);
        let reason = "OUTCOME_ALREADY_RECORDED".to_owned();
        assert_eq!(again, (Code::FailedPrecondition, reason));
    }
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.kind(), EventKind::ContactPhoneOrderOutcomeRecorded);
    assert_eq!(event.details["authorization_id"], order.authorization_id);
    assert_eq!(event.details["outcome"], "PLACED");

    check_readers_and_erasure(&server, &anna, expected).await;
}

/// The order of the life above, as it is decided.
fn decided_order(contact: &Contact, restrictions: Option<proto::Restrictions>) -> PhoneOrder {
    let judged_by = proto::OrderBasis {
        restrictions,
        offered_by_phone: true,
        requires_verified_channel: true,
        ..proto::OrderBasis::default()
    };
    let mut order = PhoneOrder {
        customer_number: "K-1".into(),
        contact_id: contact.contact_id.clone(),
        agent: "tester".into(),
        call_id: CALL_ID.into(),
        order_type: "cancel".into(),
        judged_by: Some(judged_by),
        channel: Some(proto::OrderChannel {
            verified: VerifiedChannel::ContactChannel.into(),
            r#match: ChannelMatchKind::SameLine.into(),
        }),
        ..PhoneOrder::default()
    };
    order.set_decision(OrderDecision::AgentDecision);
    order.set_authentication(AuthenticationMethod::PhonePassword);
    order
}

async fn check_readers_and_erasure(server: &TestServer, anna: &Contact, expected: PhoneOrder) {
    assert_eq!(
        list(server, of_customer("K-1")).await.unwrap(),
        std::slice::from_ref(&expected)
    );
    let request = proto::GetPhoneOrderRequest {
        customer_number: "K-1".into(),
        authorization_id: expected.authorization_id.clone(),
    };
    let got = server.client().get_phone_order(request.clone()).await;
    assert_eq!(got.unwrap().into_inner().order, Some(expected.clone()));
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.phone_orders, [expected]);
    let verified = proto::EventKind::ContactChannelVerified;
    let verified = |event: &&proto::AuditEvent| event.kind() == verified;
    let verified: Vec<_> = export.audit_events.iter().filter(verified).collect();
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].contact_id, anna.contact_id);
    assert_eq!(verified[0].details["match"], "SAME_LINE");

    let erasure = proto::EraseCustomerRequest {
        customer_number: "K-1".into(),
        confirm_customer_number: "K-1".into(),
    };
    server.client().erase_customer(erasure).await.unwrap();
    let gone = server.client().get_phone_order(request).await;
    assert_eq!(
        rejection(gone),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
    let unknown = list(server, of_customer("K-1")).await;
    assert_eq!(rejection(unknown).1, "CUSTOMER_NOT_FOUND");
    for rows in [
        "phone_orders",
        "one_time_codes",
        "audit_events WHERE call_hash IS NOT NULL",
    ] {
        let count = format!("SELECT count(*) FROM {rows}");
        let count = query_number(&server.database_url, &count).await;
        assert_eq!(count, 0, "{rows}");
    }
}

#[rstest]
#[tokio::test]
async fn rule_19_order_type_requires_a_channel_of_this_contact_and_call(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    let berta = server.create_contact("K-1", "Berta", STANDARD, "").await;
    server
        .set_confirmed_email(&berta, "berta@k-1.example")
        .await;
    let email = |text: &str| Channel::Email(text.into());
    let grant = authenticate(&server, &anna).await.grant;
    let denial = async || {
        let order = server.authorize(&anna, &grant, "cancel", false).await;
        let order = order.unwrap();
        (order.denial(), order.channel.unwrap())
    };
    let channel = |verified: VerifiedChannel, kind: ChannelMatchKind| proto::OrderChannel {
        verified: verified.into(),
        r#match: kind.into(),
    };
    let unverified = channel(VerifiedChannel::NotVerified, ChannelMatchKind::Unspecified);
    let missing = (OrderDenial::ChannelNotVerified, unverified);
    assert_eq!(denial().await, missing);
    // Without a call, in another call, of another contact, and one that is not on file.
    let number = || Channel::PhoneNumber("0211 123456".into());
    verify(&server, number(), "").await;
    verify(&server, number(), "another call").await;
    verify(&server, email("berta@k-1.example"), CALL_ID).await;
    verify(&server, email("unknown@k-1.example"), CALL_ID).await;
    assert_eq!(denial().await, missing);
    let none = OrderDenial::Unspecified;
    verify(&server, email("info@k-1.example"), CALL_ID).await;
    let of_data = channel(VerifiedChannel::ContactDataChannel, ChannelMatchKind::Exact);
    assert_eq!(denial().await, (none, of_data));
    verify(&server, number(), CALL_ID).await;
    let of_contact = channel(VerifiedChannel::ContactChannel, ChannelMatchKind::Exact);
    assert_eq!(denial().await, (none, of_contact));
    let found = options(&authenticate(&server, &anna).await)[0].1;
    assert_eq!(found, none);
    // The lists take precedence.
    restrict(&server, &anna, "", &["cancel"]).await;
    assert_eq!(denial().await.0, OrderDenial::Restricted);
    restrict(&server, &anna, "", &[]).await;
    // After a day the verification is forgotten.
    server.clock.advance(TimeDelta::hours(24));
    let checked = authenticate(&server, &anna).await;
    assert_eq!(options(&checked)[0].1, OrderDenial::ChannelNotVerified);
}

#[rstest]
#[tokio::test]
async fn found_customer_counts_as_verified_in_its_call(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    let request = proto::FindCustomersRequest {
        channel: Some(proto::find_customers_request::Channel::PhoneNumber(
            "0211 123456".into(),
        )),
        call_id: CALL_ID.into(),
    };
    server.client().find_customers(request).await.unwrap();
    let grant = authenticate(&server, &anna).await.grant;
    let order = server.authorize(&anna, &grant, "cancel", false).await;
    assert_eq!(order.unwrap().decision(), OrderDecision::Allowed);
}

#[rstest]
#[tokio::test]
async fn denied_order_has_no_outcome(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    let grant = authenticate(&server, &anna).await.grant;
    let denied = server.authorize(&anna, &grant, "takeover", false).await;
    let denied = denied.unwrap();
    let rejected = rejection(record(&server, outcome_of(&denied, PhoneOrderOutcome::Placed)).await);
    assert_eq!(
        rejected,
        (Code::FailedPrecondition, "PHONE_ORDER_DENIED".into())
    );
    let unknown = PhoneOrder {
        authorization_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..denied
    };
    let rejected = record(&server, outcome_of(&unknown, PhoneOrderOutcome::Placed)).await;
    assert_eq!(
        rejection(rejected),
        (Code::NotFound, "PHONE_ORDER_NOT_FOUND".into())
    );
    let nothing = RecordPhoneOrderOutcomeRequest {
        order_reference: "x".repeat(201),
        ..RecordPhoneOrderOutcomeRequest::default()
    };
    assert_eq!(
        rejected_fields(record(&server, nothing).await),
        [
            "customer_number",
            "authorization_id",
            "outcome",
            "order_reference"
        ]
    );
    // An order that was allowed may have an outcome as well.
    let allowed = server.authorize(&anna, &grant, "reboot", false).await;
    let request = outcome_of(&allowed.unwrap(), PhoneOrderOutcome::NotPlaced);
    let recorded = record(&server, request).await.unwrap();
    assert_eq!(recorded.outcome(), PhoneOrderOutcome::NotPlaced);
}

#[rstest]
#[tokio::test]
async fn records_follow_the_retention_of_the_audit_log(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    for age in [400, 100] {
        let grant = authenticate(&server, &anna).await.grant;
        server
            .authorize(&anna, &grant, "reboot", false)
            .await
            .unwrap();
        server
            .clock
            .advance(TimeDelta::days(if age == 400 { 300 } else { age }));
    }
    assert!(server.app.purge_events(TimeDelta::days(365)).await.unwrap() > 0);
    let listed = list(&server, of_customer("K-1")).await.unwrap();
    assert_eq!(listed.len(), 1);
}
