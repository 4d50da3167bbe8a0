//! `SetAttentionLine` over the wire and its effect on invoices (rule 23).

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType, Purpose};
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{Backend, TestServer, rejected_fields, rejection};
use crate::requests::timestamp;

async fn set(
    server: &TestServer,
    suppressed: bool,
    ordered_by: &str,
) -> Result<proto::Customer, Status> {
    let request = proto::SetAttentionLineRequest {
        customer_number: "K-1".into(),
        suppressed,
        ordered_by_email: ordered_by.into(),
        ..proto::SetAttentionLineRequest::default()
    };
    let response = server.client().set_attention_line(request).await?;
    Ok(response.into_inner().customer.unwrap())
}

#[rstest]
#[tokio::test]
async fn rule_23_order_requires_contact_data_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    server
        .set_confirmed_email(&anna, "Anna.Schmidt@müller.example")
        .await;
    server
        .change_email(&anna, "pending@muster.example")
        .await
        .unwrap();
    let technical = &[ContactType::Technical];
    server
        .create_contact("K-1", "Technik", technical, "only@muster.example")
        .await;
    let other = server.create_customer_with_contact("K-2").await;
    server
        .set_confirmed_email(&other, "other@muster.example")
        .await;

    let before = server.state("K-1").await;
    for not_on_file in [
        "anna.schmidt@müller.example",
        "pending@muster.example",
        "only@muster.example",
        "other@muster.example",
        "info@k-2.example",
        "anna.schmidt@muster.example",
    ] {
        for suppressed in [true, false] {
            let rejected = rejection(set(&server, suppressed, not_on_file).await);
            let expected = (
                Code::FailedPrecondition,
                "ORDERING_ADDRESS_NOT_ON_FILE".into(),
            );
            assert_eq!(rejected, expected, "{not_on_file}");
        }
    }
    assert_eq!(server.state("K-1").await, before);

    for (address, kept) in [
        ("INFO@K-1.example", "INFO@k-1.example"),
        ("info@k-1.EXAMPLE", "info@k-1.example"),
    ] {
        let suppressed = set(&server, true, address).await.unwrap();
        assert_eq!(suppressed.attention_line, order(&server, true, kept));
        let lifted = set(&server, false, address).await.unwrap();
        assert_eq!(lifted.attention_line, order(&server, false, kept));
    }
}

/// The attention line as `GetCustomer` shows it after an order at the current time.
fn order(server: &TestServer, suppressed: bool, address: &str) -> Option<proto::AttentionLine> {
    Some(proto::AttentionLine {
        suppressed,
        ordered_by_email: address.into(),
        order_time: timestamp(server.now()),
    })
}

#[rstest]
#[tokio::test]
async fn rule_23_last_order_is_shown_with_address_and_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const OWN: &str = "info@k-1.example";
    let server = TestServer::start(backend).await;
    let created = server.create_customer("K-1").await;
    let nothing = Some(proto::AttentionLine::default());
    assert_eq!(created.attention_line, nothing);

    let ordered = set(&server, true, OWN).await.unwrap();
    let first = order(&server, true, OWN);
    assert_eq!(ordered.attention_line, first);
    let events = server.events("K-1").await;
    // Rule 25: repeating the order changes nothing.
    server.clock.advance(TimeDelta::hours(1));
    assert_eq!(set(&server, true, OWN).await.unwrap(), ordered);
    assert_eq!(server.events("K-1").await, events);

    // The same order from another contact-data address is a new order.
    let change = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-1".into(),
            contact_data: Some(proto::ContactData {
                email: "neu@k-1.example".into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        ..proto::UpdateCustomerRequest::default()
    };
    let changed = server.client().update_customer(change).await.unwrap();
    assert_eq!(changed.into_inner().customer.unwrap().attention_line, first);
    let ordered = set(&server, true, "neu@k-1.example").await.unwrap();
    assert_eq!(
        ordered.attention_line,
        order(&server, true, "neu@k-1.example")
    );
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.changed_fields, ["attention_line.ordered_by_email"]);

    // Revoking the order needs no address. Afterwards no order is in force.
    let lifted = set(&server, false, "").await.unwrap();
    assert_eq!(lifted.attention_line, nothing);
    assert_eq!(set(&server, false, "").await.unwrap(), lifted);
    assert_eq!(server.customer("K-1").await, lifted);
}

#[rstest]
#[tokio::test]
async fn rule_23_line_is_omitted_until_the_order_is_revoked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let accounting = &[ContactType::Accounting];
    let long = "Buchhaltung ".repeat(10);
    server
        .create_contact("K-1", "Bernd Maier", accounting, "")
        .await;
    server
        .create_contact("K-1", long.trim(), accounting, "")
        .await;
    let filled = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(filled.attention_line, "z.Hd. Bernd Maier");
    assert_eq!(filled.attention_line_omitted_names, [long.trim()]);

    let etag = server.customer("K-1").await.etag;
    let suppressed = set(&server, true, "info@k-1.example").await.unwrap();
    assert!(suppressed.attention_line.as_ref().unwrap().suppressed);
    assert_ne!(suppressed.etag, etag);
    assert_eq!(server.customer("K-1").await, suppressed);
    let empty = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(empty.attention_line, "");
    assert_eq!(empty.attention_line_omitted_names, [""; 0]);
    // Only the attention line is affected.
    assert_eq!(empty.exclusions, filled.exclusions);

    // Revoking needs no order.
    let lifted = set(&server, false, "").await.unwrap();
    assert!(!lifted.attention_line.unwrap().suppressed);
    assert_eq!(server.resolve("K-1", Purpose::Invoice).await, filled);
}

#[rstest]
#[tokio::test]
async fn rule_25_order_event_does_not_contain_the_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    set(&server, true, "info@k-1.example").await.unwrap();
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CUSTOMER_ATTENTION_LINE_SET"
    );
    let fields = [
        "attention_line.suppressed",
        "attention_line.ordered_by_email",
    ];
    assert_eq!(event.changed_fields, fields);
}

#[rstest]
#[tokio::test]
async fn order_without_address_or_customer_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = rejection(set(&server, true, "info@k-1.example").await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    server.create_customer("K-1").await;
    for bad in ["", "muster.example"] {
        let rejected = set(&server, true, bad).await;
        assert_eq!(rejected_fields(rejected), ["ordered_by_email"], "{bad}");
    }
    assert_eq!(
        rejected_fields(set(&server, false, "x").await),
        ["ordered_by_email"]
    );
    let all_wrong = proto::SetAttentionLineRequest {
        suppressed: true,
        ..proto::SetAttentionLineRequest::default()
    };
    let rejected = server.client().set_attention_line(all_wrong).await;
    assert_eq!(
        rejected_fields(rejected),
        ["customer_number", "ordered_by_email"]
    );
}
