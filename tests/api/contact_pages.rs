//! `ListContacts` over the wire: pages, filters and tokens (AIP-158).

use contact_service::api::proto::{self, Contact, ContactType, ListContactsRequest};
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{Backend, TestServer, rejected_fields, rejection};

const STANDARD: &[ContactType] = &[ContactType::Standard];
const ACCOUNTING: &[ContactType] = &[ContactType::Accounting];
const TECHNICAL: &[ContactType] = &[ContactType::Technical];

fn request(page_size: i32, page_token: &str, types: &[ContactType]) -> ListContactsRequest {
    ListContactsRequest {
        customer_number: "K-1".into(),
        page_size,
        page_token: page_token.into(),
        types: types.iter().map(|&wanted| wanted.into()).collect(),
    }
}

/// Names of the page's contacts, and the token of the next page.
async fn page(
    server: &TestServer,
    request: ListContactsRequest,
) -> Result<(Vec<String>, String), Status> {
    let response = server.client().list_contacts(request).await?.into_inner();
    let names = response
        .contacts
        .into_iter()
        .map(|contact| contact.display_name);
    Ok((names.collect(), response.next_page_token))
}

/// The names on each page.
async fn all_pages(server: &TestServer, size: i32, types: &[ContactType]) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let (names, next) = page(server, request(size, &token, types)).await.unwrap();
        pages.push(names);
        if next.is_empty() {
            return pages;
        }
        token = next;
    }
}

/// Creates contacts named A, B and so on with the given types.
async fn create_contacts(server: &TestServer, types: &[&[ContactType]]) -> Vec<Contact> {
    server.create_customer("K-1").await;
    let mut contacts = Vec::new();
    for (types, name) in types.iter().zip('A'..) {
        contacts.push(
            server
                .create_contact("K-1", &name.to_string(), types, "")
                .await,
        );
    }
    contacts
}

#[rstest]
#[tokio::test]
async fn pages_list_contacts_once_in_creation_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = create_contacts(&server, &[STANDARD; 7]).await;
    let other = server.create_customer_with_contact("K-2").await;
    // An update keeps the order.
    server
        .change_email(&contacts[0], "a@muster.example")
        .await
        .unwrap();

    let names = ["A", "B", "C", "D", "E", "F", "G"];
    for (size, lengths) in [
        (0, &[7][..]),
        (1, &[1, 1, 1, 1, 1, 1, 1]),
        (3, &[3, 3, 1]),
        (6, &[6, 1]),
        (7, &[7]),
        (5_000, &[7]),
        (i32::MAX, &[7]),
    ] {
        let pages = all_pages(&server, size, &[]).await;
        assert_eq!(
            pages.iter().map(Vec::len).collect::<Vec<_>>(),
            lengths,
            "{size}"
        );
        assert_eq!(pages.concat(), names, "{size}");
    }
    let listed = server.contacts("K-1").await;
    assert_eq!(listed[1..], contacts[1..]);
    assert_eq!(server.contacts("K-2").await, [other]);
}

#[rstest]
#[tokio::test]
async fn default_page_size_is_50(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    create_contacts(&server, &[STANDARD; 51]).await;
    let pages = all_pages(&server, 0, &[]).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 1]);
}

#[rstest]
#[tokio::test]
async fn type_filter_lists_matching_contacts_only(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let both = &[ContactType::Accounting, ContactType::Technical];
    create_contacts(&server, &[STANDARD, TECHNICAL, ACCOUNTING, both, TECHNICAL]).await;
    let wanted = [
        ContactType::Technical,
        ContactType::Accounting,
        ContactType::Technical,
    ];
    for (types, names) in [
        (&[][..], &["A", "B", "C", "D", "E"][..]),
        (STANDARD, &["A"]),
        (ACCOUNTING, &["C", "D"]),
        (TECHNICAL, &["B", "D", "E"]),
        (&wanted, &["B", "C", "D", "E"]),
        (&[ContactType::Owner], &[]),
    ] {
        for size in [0, 1, 2] {
            let pages = all_pages(&server, size, types).await;
            assert_eq!(pages.concat(), names, "{types:?}");
            // No page is empty because of a filter.
            let full = pages.iter().all(|page| !page.is_empty());
            assert!(full || names.is_empty(), "{types:?} {pages:?}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn pages_stay_consistent_under_creation_and_deletion(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = create_contacts(&server, &[STANDARD; 6]).await;
    let (first, token) = page(&server, request(2, "", &[])).await.unwrap();
    assert_eq!(first, ["A", "B"]);
    // A contact that was read, the one the token points to, and one still to come.
    for index in [0, 1, 2] {
        server.delete_contact(&contacts[index]).await.unwrap();
    }
    server.create_contact("K-1", "New", STANDARD, "").await;
    let (second, token) = page(&server, request(2, &token, &[])).await.unwrap();
    assert_eq!(second, ["D", "E"]);
    let (last, end) = page(&server, request(2, &token, &[])).await.unwrap();
    assert_eq!(
        (last, end.as_str()),
        (vec!["F".to_owned(), "New".to_owned()], "")
    );
    // The same page again.
    assert_eq!(
        page(&server, request(1, &token, &[])).await.unwrap().0,
        ["F"]
    );
}

#[rstest]
#[tokio::test]
async fn page_after_the_last_contact_is_empty(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = create_contacts(&server, &[STANDARD; 2]).await;
    let (_, token) = page(&server, request(1, "", &[])).await.unwrap();
    server.delete_contact(&contacts[1]).await.unwrap();
    let after_last = page(&server, request(1, &token, &[])).await.unwrap();
    assert_eq!(after_last, (vec![], String::new()));
}

#[rstest]
#[tokio::test]
async fn foreign_or_forged_page_token_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    create_contacts(&server, &[STANDARD; 3]).await;
    server.create_customer_with_contact("K-2").await;
    let (_, token) = page(&server, request(1, "", &[])).await.unwrap();
    let (_, filtered) = page(&server, request(1, "", STANDARD)).await.unwrap();
    let events = proto::ListAuditEventsRequest {
        customer_number: "K-1".into(),
        page_size: 1,
        ..proto::ListAuditEventsRequest::default()
    };
    let response = server.client().list_audit_events(events).await.unwrap();
    let of_events = response.into_inner().next_page_token;
    let other_end = token.chars().rev().collect::<String>();
    let elsewhere = ListContactsRequest {
        customer_number: "K-2".into(),
        ..request(1, &token, &[])
    };
    for foreign in [
        elsewhere,
        request(1, &token, STANDARD),
        request(1, &token, &[ContactType::Standard, ContactType::Technical]),
        request(1, &filtered, &[]),
        request(1, &of_events, &[]),
        request(1, &other_end, &[]),
        request(1, &token[1..], &[]),
        request(1, &format!("{token}A"), &[]),
        request(1, "B", &[]),
        request(1, "1", &[]),
        request(1, "ä", &[]),
    ] {
        let rejected = rejection(page(&server, foreign).await);
        assert_eq!(
            rejected,
            (Code::InvalidArgument, "INVALID_PAGE_TOKEN".into())
        );
    }
    // The page size may change from page to page.
    assert_eq!(
        page(&server, request(5, &token, &[])).await.unwrap().0,
        ["B", "C"]
    );
    // A page token is opaque.
    assert!(!token.contains("K-1") && token.parse::<i64>().is_err());
}

#[rstest]
#[tokio::test]
async fn invalid_list_requests_are_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = rejection(page(&server, request(0, "", &[])).await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    server.create_customer("K-1").await;
    assert_eq!(
        page(&server, request(0, "", &[])).await.unwrap(),
        (vec![], String::new())
    );
    for size in [-1, i32::MIN] {
        let rejected = page(&server, request(size, "", &[])).await;
        assert_eq!(rejected_fields(rejected), ["page_size"]);
    }
    let all_wrong = ListContactsRequest {
        customer_number: String::new(),
        page_size: -1,
        page_token: "nonsense".into(),
        types: vec![1, 0, 8],
    };
    assert_eq!(
        rejected_fields(page(&server, all_wrong).await),
        ["customer_number", "page_size", "types[1]", "types[2]"]
    );
}
