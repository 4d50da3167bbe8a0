//! Filters of the audit log (rule 25): by time, kind, contact and actor, and events of no customer.

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{
    AuditEvent, Contact, ContactType, EventKind, ListAuditEventsRequest,
};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejected_fields, rejection},
    requests::{only_id, timestamp},
};

/// The condition of the events that a request lists.
type Expected<'e> = Box<dyn Fn(&AuditEvent) -> bool + 'e>;

const STANDARD: &[ContactType] = &[ContactType::Standard];

fn of_customer(number: &str) -> ListAuditEventsRequest {
    ListAuditEventsRequest {
        customer_number: number.into(),
        ..ListAuditEventsRequest::default()
    }
}

async fn list(
    server: &TestServer,
    request: ListAuditEventsRequest,
) -> Result<Vec<AuditEvent>, Status> {
    let mut request = ListAuditEventsRequest {
        page_size: 2,
        ..request
    };
    let mut events = Vec::new();
    loop {
        let page = server.client().list_audit_events(request.clone()).await?;
        let page = page.into_inner();
        assert!(page.events.len() <= 2);
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        request.page_token = page.next_page_token;
    }
}

/// Two contacts, renamed once a minute by two clients; returns the first one.
async fn rename_contacts(server: &TestServer) -> Contact {
    server.create_customer("K-1").await;
    let anna = server.create_contact("K-1", "Anna", STANDARD, "").await;
    let berta = server.create_contact("K-1", "Berta", STANDARD, "").await;
    for (nth, contact) in [&anna, &berta, &anna, &anna].into_iter().enumerate() {
        server.clock.advance(TimeDelta::minutes(1));
        let change = Contact {
            display_name: format!("Nr. {nth}"),
            ..only_id(contact)
        };
        let mut client = server.client_of(if nth == 3 { "portal" } else { "bff" });
        let request = contact_service::api::proto::UpdateContactRequest {
            contact: Some(change),
            ..contact_service::api::proto::UpdateContactRequest::default()
        };
        client.update_contact(request).await.unwrap();
    }
    anna
}

#[rstest]
#[tokio::test]
async fn events_are_listed_by_time_kind_contact_and_actor(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let start = server.now();
    let anna = rename_contacts(&server).await;
    let all = server.events("K-1").await;
    let cases = cases(&anna, start);
    let mut sizes = Vec::new();
    for (request, expected) in cases {
        let expected: Vec<_> = all
            .iter()
            .filter(|event| expected(event))
            .cloned()
            .collect();
        assert_eq!(
            list(&server, request.clone()).await.unwrap(),
            expected,
            "{request:?}"
        );
        sizes.push(expected.len());
    }
    assert_eq!(sizes, [all.len(), 2, 6, 4, 1, 0, 2, 0, 1]);
}

/// The filters, each with its condition.
fn cases(anna: &Contact, start: DateTime<Utc>) -> [(ListAuditEventsRequest, Expected<'_>); 9] {
    let at = |minutes| timestamp(start + TimeDelta::minutes(minutes));
    let kinds = |kinds: &[EventKind]| ListAuditEventsRequest {
        kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
        ..of_customer("K-1")
    };
    let (created, updated) = (EventKind::ContactCreated, EventKind::ContactUpdated);
    let of_contact = |contact: &Contact| ListAuditEventsRequest {
        contact_id: contact.contact_id.clone(),
        ..of_customer("K-1")
    };
    let of_actor = |actor: &str| ListAuditEventsRequest {
        actor: actor.into(),
        ..of_customer("K-1")
    };
    let between = |start_time, end_time| ListAuditEventsRequest {
        start_time,
        end_time,
        ..of_customer("K-1")
    };
    [
        (of_customer("K-1"), Box::new(|_| true)),
        (
            kinds(&[created]),
            Box::new(move |event| event.kind() == created),
        ),
        (
            kinds(&[updated, created]),
            Box::new(move |event| [created, updated].contains(&event.kind())),
        ),
        (
            of_contact(anna),
            Box::new(|event| event.contact_id == anna.contact_id),
        ),
        (
            of_actor("portal"),
            Box::new(|event| event.actor == "portal"),
        ),
        (of_actor("unknown"), Box::new(|_| false)),
        (
            between(at(2), at(4)),
            Box::new(move |event| {
                let seconds = event.event_time.unwrap().seconds - start.timestamp();
                (120..240).contains(&seconds)
            }),
        ),
        (between(at(60), None), Box::new(|_| false)),
        (
            ListAuditEventsRequest {
                kinds: vec![updated.into()],
                actor: "bff".into(),
                start_time: at(2),
                ..of_contact(anna)
            },
            Box::new(move |event| {
                let seconds = event.event_time.unwrap().seconds - start.timestamp();
                event.contact_id == anna.contact_id && event.actor == "bff" && seconds >= 120
            }),
        ),
    ]
}

#[rstest]
#[tokio::test]
async fn events_of_no_customer_are_for_tokens_of_all_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    for code in ["a", "b", "c"] {
        server.create_order_type(code, false, true).await;
    }
    let events = list(&server, ListAuditEventsRequest::default())
        .await
        .unwrap();
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!(event.kind(), EventKind::OrderTypeUpdated);
        assert_eq!(event.customer_number, "");
    }
    let by_others = ListAuditEventsRequest {
        actor: "unknown".into(),
        ..ListAuditEventsRequest::default()
    };
    assert!(list(&server, by_others).await.unwrap().is_empty());
    let mut tenant = server.client_with(server.token(ALL_SCOPES, Some("K-1")));
    let rejected = tenant.list_audit_events(ListAuditEventsRequest::default());
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    assert_eq!(rejection(rejected.await), mismatch);
}

#[rstest]
#[tokio::test]
async fn filters_are_checked(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    let bad = ListAuditEventsRequest {
        contact_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        kinds: vec![0, EventKind::ContactCreated.into(), 4711],
        actor: "x".repeat(256),
        start_time: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        end_time: Some(prost_types::Timestamp {
            seconds: 0,
            nanos: -1,
        }),
        ..ListAuditEventsRequest::default()
    };
    assert_eq!(
        rejected_fields(list(&server, bad).await),
        [
            "contact_id",
            "kinds[0]",
            "kinds[2]",
            "actor",
            "start_time",
            "end_time"
        ]
    );
    // A customer that is not on file is not one without matching events.
    server.create_customer("K-1").await;
    let of_unknown = ListAuditEventsRequest {
        actor: "unknown".into(),
        ..of_customer("K-1")
    };
    assert!(list(&server, of_unknown).await.unwrap().is_empty());
    let unknown = list(&server, of_customer("K-9")).await;
    assert_eq!(
        rejection(unknown),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
}
