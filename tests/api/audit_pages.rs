//! Pages of the audit log (AIP-158).

use contact_service::api::proto::{self, ContactType};
use rstest::rstest;

use crate::{
    harness::{Backend, TestServer},
    rpcs::prepare,
};

async fn page(server: &TestServer, token: &str) -> proto::ListAuditEventsResponse {
    let request = proto::ListAuditEventsRequest {
        customer_number: "K-1".into(),
        page_size: 2,
        page_token: token.into(),
        ..proto::ListAuditEventsRequest::default()
    };
    server
        .client()
        .list_audit_events(request)
        .await
        .unwrap()
        .into_inner()
}

#[rstest]
#[tokio::test]
async fn pages_list_old_events_once_while_new_ones_arrive(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    prepare(&server, "K-2").await;
    for name in ["Dora", "Emil", "Frida"] {
        server
            .create_contact("K-1", name, &[ContactType::Other], "")
            .await;
    }
    let old = server.events("K-1").await;
    assert_eq!(old.len(), 13);
    assert!(old.iter().all(|event| event.customer_number == "K-1"));
    assert_eq!(
        old.last().unwrap().kind().as_str_name(),
        "EVENT_KIND_CUSTOMER_CREATED"
    );

    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = page(&server, &token).await;
        seen.extend(page.events);
        server
            .create_contact("K-1", "Gustav", &[ContactType::Other], "")
            .await;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert_eq!(seen.len() % 2, 0);
    }
    assert_eq!(seen, old);
    assert_eq!(server.events("K-1").await.len(), 20);
}

#[rstest]
#[tokio::test]
async fn full_last_page_has_no_next_page_token(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    let mut token = String::new();
    for pages_left in (0..5).rev() {
        let page = page(&server, &token).await;
        assert_eq!(page.events.len(), 2);
        assert_eq!(page.next_page_token.is_empty(), pages_left == 0);
        token = page.next_page_token;
    }
}
