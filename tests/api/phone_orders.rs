//! Order types, grants and decisions over the wire (rules 18 to 20).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use contact_service::api::proto::{
    self, Contact, OrderDecision, OrderDenial, PhonePasswordVerdict, Restrictions,
};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, query_number, rejected_fields, rejection},
    phone_calls::{CALL_ID, PASSWORD},
    requests::{only_id, timestamp},
};

/// A contact with a phone password, and a grant for it.
async fn authenticated_contact(server: &TestServer) -> (Contact, String) {
    let anna = server.create_customer_with_contact("K-1").await;
    for (code, system_management, by_phone) in [
        ("reboot", true, true),
        ("hosting", false, true),
        ("takeover", false, false),
    ] {
        server
            .create_order_type(code, system_management, by_phone)
            .await;
    }
    server.set_phone_password(&anna, PASSWORD).await.unwrap();
    let grant = grant(server, &anna).await;
    (server.contact(&anna).await, grant)
}

async fn grant(server: &TestServer, contact: &Contact) -> String {
    let checked = server.check_password(contact, PASSWORD, CALL_ID).await;
    let checked = checked.unwrap();
    assert_eq!(checked.verdict(), PhonePasswordVerdict::Match);
    checked.grant
}

async fn restrict(
    server: &TestServer,
    contact: &Contact,
    note: &str,
    allowed: &[&str],
    denied: &[&str],
) {
    let codes = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect();
    let change = Contact {
        restrictions: Some(Restrictions {
            note: note.into(),
            allowed_order_types: codes(allowed),
            denied_order_types: codes(denied),
        }),
        ..only_id(contact)
    };
    server
        .update_contact(change, &["restrictions"])
        .await
        .unwrap();
}

const NOTE: &str = "Nur bis 500 Euro";

type Codes = &'static [&'static str];

/// An order, the restrictions, and the expected decision.
struct Case {
    order: &'static str,
    administers: bool,
    note: &'static str,
    /// The contact's allowed and denied order types.
    lists: (Codes, Codes),
    expected: (OrderDecision, OrderDenial, &'static str),
}

fn decisions() -> impl Iterator<Item = Case> {
    let allowed = (OrderDecision::Allowed, OrderDenial::Unspecified, "");
    let denied = |denial| (OrderDecision::Denied, denial, "");
    let restricted = denied(OrderDenial::Restricted);
    let agent = (OrderDecision::AgentDecision, OrderDenial::Unspecified, NOTE);
    let (none, reboot, hosting): (Codes, Codes, Codes) = (&[], &["reboot"], &["hosting"]);
    let rows = [
        ("hosting", false, "", none, none, allowed),
        ("hosting", true, "", none, none, allowed),
        ("reboot", false, "", none, none, allowed),
        (
            "reboot",
            true,
            "",
            none,
            none,
            denied(OrderDenial::PortalRequired),
        ),
        (
            "takeover",
            false,
            "",
            none,
            none,
            denied(OrderDenial::ExcludedByProvider),
        ),
        (
            "takeover",
            true,
            NOTE,
            none,
            none,
            denied(OrderDenial::ExcludedByProvider),
        ),
        (
            "reboot",
            true,
            NOTE,
            hosting,
            reboot,
            denied(OrderDenial::PortalRequired),
        ),
        ("reboot", false, "", hosting, none, restricted),
        ("reboot", false, "", reboot, none, allowed),
        ("reboot", false, "", none, reboot, restricted),
        ("reboot", false, "", reboot, reboot, restricted),
        ("hosting", false, NOTE, none, none, agent),
        ("hosting", false, NOTE, hosting, reboot, agent),
        // Types that the lists deny stay denied.
        ("reboot", false, NOTE, none, reboot, restricted),
    ];
    let to_case = |(order, administers, note, allowed, denied, expected)| Case {
        order,
        administers,
        note,
        lists: (allowed, denied),
        expected,
    };
    rows.into_iter().map(to_case)
}

#[rstest]
#[tokio::test]
async fn rule_19_decides_every_case_with_its_reason(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, grant) = authenticated_contact(&server).await;
    for case in decisions() {
        let Case {
            order,
            administers,
            note,
            lists: (allowed_list, denied_list),
            expected,
        } = case;
        restrict(&server, &anna, note, allowed_list, denied_list).await;
        let response = server
            .decide(&anna, &grant, order, administers)
            .await
            .unwrap();
        let decided_order = response.order.unwrap();
        let decided = (
            decided_order.decision(),
            decided_order.denial(),
            response.restrictions_note.as_str(),
        );
        assert_eq!(decided, expected, "{order} {administers} {note:?}");
        let kept = format!(
            "SELECT count(*) FROM phone_orders WHERE order_type = '{order}' AND call_id = '{CALL_ID}'"
        );
        assert!(query_number(&server.database_url, &kept).await >= 1);
        assert_eq!(decided_order.authorization_id.len(), 36);
        check_details(&server.events("K-1").await[0], order, &decided_order);
    }
    let kept = "SELECT count(*) FROM phone_orders WHERE agent = 'tester'";
    assert_eq!(query_number(&server.database_url, kept).await, 14);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_PHONE_ORDER_DECIDED"
    );
    assert_eq!(event.contact_id, anna.contact_id);
}

/// Rule 25: the audit log has the codes of a decision.
fn check_details(event: &proto::AuditEvent, order_type: &str, answer: &proto::PhoneOrder) {
    let decision = answer.decision().as_str_name();
    let decision = decision.strip_prefix("ORDER_DECISION_").unwrap();
    let mut expected = vec![
        ("authorization_id", answer.authorization_id.as_str()),
        ("decision", decision),
        ("order_type", order_type),
    ];
    if answer.denial() != OrderDenial::Unspecified {
        let denial = answer.denial().as_str_name();
        expected.push(("denial", denial.strip_prefix("ORDER_DENIAL_").unwrap()));
    }
    let details = event.details.iter();
    let details: BTreeMap<_, _> = details
        .map(|(name, code)| (name.as_str(), code.as_str()))
        .collect();
    assert_eq!(details, expected.into_iter().collect());
}

#[rstest]
#[tokio::test]
async fn rule_18_grant_is_bound_to_contact_agent_and_call(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, grant) = authenticated_contact(&server).await;
    let bernd = server
        .create_contact("K-1", "Bernd", &[proto::ContactType::Other], "")
        .await;
    let carla = server.create_customer_with_contact("K-2").await;
    let request =
        |contact: &Contact, call_id: &str, grant: &str| proto::AuthorizePhoneOrderRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            grant: grant.into(),
            call_id: call_id.into(),
            order_type: "hosting".into(),
            customer_administers_product: false,
        };
    let (mut client, mut other) = (server.client(), server.client_of("another agent"));
    let invalid = (Code::FailedPrecondition, "GRANT_INVALID".to_owned());
    let token = server.token(ALL_SCOPES, None);
    let mut altered = grant.clone();
    altered.replace_range(altered.len() - 2.., "AA");
    for (contact, call_id, grant) in [
        (&bernd, CALL_ID, grant.as_str()),
        (&carla, CALL_ID, &grant),
        (&anna, "call-2", &grant),
        (&anna, CALL_ID, &altered),
        (&anna, CALL_ID, "nonsense"),
        (&anna, CALL_ID, &"x".repeat(10_000)),
        // A token of another type from the same service.
        (&anna, CALL_ID, &token),
    ] {
        let rejected = client
            .authorize_phone_order(request(contact, call_id, grant))
            .await;
        assert_eq!(rejection(rejected), invalid, "{call_id}");
    }
    let rejected = other
        .authorize_phone_order(request(&anna, CALL_ID, &grant))
        .await;
    assert_eq!(rejection(rejected), invalid);
    // Nor is a grant an access token.
    let mut impostor = server.client_with(grant.clone());
    let impostor = impostor.list_order_types(proto::ListOrderTypesRequest::default());
    assert_eq!(rejection(impostor.await).0, Code::Unauthenticated);

    server
        .clock
        .advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
    let in_time = client
        .authorize_phone_order(request(&anna, CALL_ID, &grant))
        .await;
    assert_eq!(
        in_time.unwrap().into_inner().order.unwrap().decision(),
        OrderDecision::Allowed
    );
    server.clock.advance(TimeDelta::seconds(1));
    let late = client
        .authorize_phone_order(request(&anna, CALL_ID, &grant))
        .await;
    assert_eq!(rejection(late), invalid);
}

#[rstest]
#[tokio::test]
async fn rule_18_response_has_the_grant_expiry_and_the_contact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = authenticated_contact(&server).await;
    restrict(&server, &anna, "Nur bis 500 Euro", &[], &["reboot"]).await;
    let checked = server
        .check_password(&anna, PASSWORD, CALL_ID)
        .await
        .unwrap();
    let expire_time = server.now() + TimeDelta::minutes(15);
    assert_eq!(checked.grant_expire_time, timestamp(expire_time));
    let shown = server.contact(&anna).await;
    let caller = proto::Caller {
        contact_id: shown.contact_id,
        display_name: shown.display_name,
        types: shown.types,
        locale: shown.locale,
        restrictions: shown.restrictions,
    };
    assert_eq!(checked.caller, Some(caller));
    assert_eq!(checked.retry_time, None);
}

#[rstest]
#[tokio::test]
async fn order_of_deleted_contact_or_unknown_type_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, grant) = authenticated_contact(&server).await;
    let unknown = rejection(server.authorize(&anna, &grant, "nonsense", false).await);
    assert_eq!(unknown, (Code::NotFound, "ORDER_TYPE_NOT_FOUND".into()));
    server
        .create_contact("K-1", "Bernd", &[proto::ContactType::Standard], "")
        .await;
    server.delete_contact(&anna).await.unwrap();
    let gone = rejection(server.authorize(&anna, &grant, "hosting", false).await);
    assert_eq!(gone, (Code::NotFound, "CONTACT_NOT_FOUND".into()));
    let nothing = server
        .authorize(&Contact::default(), "", "a b", false)
        .await;
    assert_eq!(
        rejected_fields(nothing),
        ["customer_number", "contact_id", "grant", "order_type"]
    );
}

#[rstest]
#[tokio::test]
async fn grant_ends_with_its_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, grant) = authenticated_contact(&server).await;
    let again = self::grant(&server, &anna).await;
    for grant in [&grant, &again] {
        let order = server.authorize(&anna, grant, "hosting", false).await;
        assert_eq!(order.unwrap().decision(), OrderDecision::Allowed);
    }
    server.clock.advance(TimeDelta::seconds(1));
    server.set_phone_password(&anna, PASSWORD).await.unwrap();
    for grant in [&grant, &again] {
        let rejected = server.authorize(&anna, grant, "hosting", false).await;
        assert_eq!(rejection(rejected).1, "GRANT_INVALID");
    }
}

#[rstest]
#[tokio::test]
async fn rule_20_restrictions_require_existing_order_types(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = authenticated_contact(&server).await;
    let before = server.state("K-1").await;
    let change = Contact {
        restrictions: Some(Restrictions {
            note: String::new(),
            allowed_order_types: vec!["reboot".into(), "nonsense".into()],
            denied_order_types: vec!["Reboot".into(), "hosting".into()],
        }),
        ..only_id(&anna)
    };
    let rejected = server
        .update_contact(change.clone(), &["restrictions"])
        .await;
    let fields = [
        "contact.restrictions.allowed_order_types[1]",
        "contact.restrictions.denied_order_types[0]",
    ];
    assert_eq!(rejected_fields(rejected), fields);
    assert_eq!(server.state("K-1").await, before);
    let creation = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(Contact {
            restrictions: change.restrictions,
            ..crate::harness::new_contact("Bernd", &[proto::ContactType::Other])
        }),
        ..proto::CreateContactRequest::default()
    };
    let rejected = server.client().create_contact(creation).await;
    assert_eq!(rejected_fields(rejected), fields);
}

#[rstest]
#[tokio::test]
async fn order_types_are_created_replaced_and_listed_by_code(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut client = server.client();
    let order_type = |code: &str, name: &str| proto::OrderType {
        code: code.into(),
        display_name: name.into(),
        system_management: code == "b",
        offered_by_phone: true,
        retired: false,
        ..proto::OrderType::default()
    };
    for (code, name) in [("b", "Zweite"), ("a", "Erste"), ("b", "Zweite, neu")] {
        let request = proto::UpdateOrderTypeRequest {
            order_type: Some(order_type(code, name)),
            allow_missing: true,
            ..proto::UpdateOrderTypeRequest::default()
        };
        let updated = client
            .update_order_type(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(updated.order_type, Some(order_type(code, name)));
    }
    let listed = client
        .list_order_types(proto::ListOrderTypesRequest::default())
        .await;
    assert_eq!(
        listed.unwrap().into_inner().order_types,
        [order_type("a", "Erste"), order_type("b", "Zweite, neu")]
    );
    let nameless = proto::UpdateOrderTypeRequest::default();
    assert_eq!(
        rejected_fields(client.update_order_type(nameless).await),
        ["order_type.code"]
    );
}

#[rstest]
#[tokio::test]
async fn retired_order_type_is_denied_and_not_listed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, grant) = authenticated_contact(&server).await;
    let mut client = server.client();
    let listed = client
        .list_order_types(proto::ListOrderTypesRequest::default())
        .await;
    let order_types = listed.unwrap().into_inner().order_types;
    let hosting = order_types
        .iter()
        .find(|order_type| order_type.code == "hosting");
    let retired = proto::OrderType {
        retired: true,
        ..hosting.unwrap().clone()
    };
    let request = proto::UpdateOrderTypeRequest {
        order_type: Some(retired.clone()),
        allow_missing: false,
        ..proto::UpdateOrderTypeRequest::default()
    };
    client.update_order_type(request).await.unwrap();

    let answer = server
        .authorize(&anna, &grant, "hosting", false)
        .await
        .unwrap();
    assert_eq!(answer.denial(), OrderDenial::ExcludedByProvider);
    for (show_retired, codes) in [
        (false, &["reboot", "takeover"][..]),
        (true, &["hosting", "reboot", "takeover"]),
    ] {
        let listed = client
            .list_order_types(proto::ListOrderTypesRequest { show_retired })
            .await;
        let order_types = listed.unwrap().into_inner().order_types;
        let listed: Vec<_> = order_types
            .iter()
            .map(|order_type| order_type.code.as_str())
            .collect();
        assert_eq!(listed, codes);
        assert_eq!(order_types.contains(&retired), show_retired);
    }
    // Restrictions and decisions that name it keep it.
    restrict(&server, &anna, "", &["hosting"], &[]).await;
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.phone_orders[0].order_type, "hosting");
    let judged_by = export.phone_orders[0].judged_by.clone().unwrap();
    assert!(judged_by.retired && judged_by.offered_by_phone);
}
