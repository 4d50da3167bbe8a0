//! `SetAttentionLine` over the wire, and what it does to invoices (rule 23).

use contact_service::api::proto::{self, ContactType, Purpose};
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{Backend, TestServer, refusal, refused_fields};

async fn set(
    server: &TestServer,
    suppressed: bool,
    ordered_by: &str,
) -> Result<proto::Customer, Status> {
    let request = proto::SetAttentionLineRequest {
        customer_number: "K-1".into(),
        suppressed,
        ordered_by_email: ordered_by.into(),
    };
    let response = server.client().set_attention_line(request).await?;
    Ok(response.into_inner().customer.unwrap())
}

#[rstest]
#[tokio::test]
async fn rule_23_an_order_counts_only_from_a_confirmed_address_on_file(
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
        "pending@muster.example",
        "only@muster.example",
        "other@muster.example",
        "info@k-2.example",
        "anna.schmidt@muster.example",
    ] {
        for suppressed in [true, false] {
            let refused = refusal(set(&server, suppressed, not_on_file).await);
            let expected = (
                Code::FailedPrecondition,
                "ORDERING_ADDRESS_NOT_ON_FILE".into(),
            );
            assert_eq!(refused, expected, "{not_on_file}");
        }
    }
    assert_eq!(server.state("K-1").await, before);

    for on_file in [
        "INFO@K-1.example",
        "info@k-1.EXAMPLE",
        "anna.schmidt@XN--MLLER-KVA.example",
        "ANNA.SCHMIDT@MÜLLER.EXAMPLE",
    ] {
        assert!(
            set(&server, true, on_file)
                .await
                .unwrap()
                .attention_line_suppressed
        );
        assert!(
            !set(&server, false, on_file)
                .await
                .unwrap()
                .attention_line_suppressed
        );
    }
}

#[rstest]
#[tokio::test]
async fn rule_23_on_the_customers_order_the_line_stays_empty_until_that_is_lifted(
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
    assert_eq!(filled.attention_names_left_out, [long.trim()]);

    let etag = server.customer("K-1").await.etag;
    let suppressed = set(&server, true, "info@k-1.example").await.unwrap();
    assert!(suppressed.attention_line_suppressed);
    assert_ne!(suppressed.etag, etag);
    assert_eq!(server.customer("K-1").await, suppressed);
    let empty = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(empty.attention_line, "");
    assert_eq!(empty.attention_names_left_out, [""; 0]);
    // Only the line is concerned.
    assert_eq!(empty.exclusions, filled.exclusions);

    // To lift it takes no order.
    assert!(
        !set(&server, false, "")
            .await
            .unwrap()
            .attention_line_suppressed
    );
    assert_eq!(server.resolve("K-1", Purpose::Invoice).await, filled);
}

#[rstest]
#[tokio::test]
async fn rule_25_an_order_about_the_line_is_recorded_without_its_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    set(&server, true, "info@k-1.example").await.unwrap();
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.kind, "customer.attention_line_set");
    assert_eq!(event.changed_fields, ["attention_line_suppressed"]);
}

#[rstest]
#[tokio::test]
async fn an_order_without_an_address_or_a_customer_is_refused(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = refusal(set(&server, true, "info@k-1.example").await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    server.create_customer("K-1").await;
    for bad in ["", "muster.example"] {
        let refused = set(&server, true, bad).await;
        assert_eq!(refused_fields(refused), ["ordered_by_email"], "{bad}");
    }
    assert_eq!(
        refused_fields(set(&server, false, "x").await),
        ["ordered_by_email"]
    );
    let all_wrong = proto::SetAttentionLineRequest {
        suppressed: true,
        ..proto::SetAttentionLineRequest::default()
    };
    let refused = server.client().set_attention_line(all_wrong).await;
    assert_eq!(
        refused_fields(refused),
        ["customer_number", "ordered_by_email"]
    );
}
