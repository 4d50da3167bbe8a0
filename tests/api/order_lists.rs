//! Lists of phone orders: by customer, contact, agent and time (rule 28).

use chrono::TimeDelta;
use contact_service::api::proto::{self, Contact, ContactType, ListPhoneOrdersRequest};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejected_fields, rejection},
    order_evidence::{list, of_customer, prepare},
    phone_calls::PASSWORD,
    requests::timestamp,
};

const STANDARD: &[ContactType] = &[ContactType::Standard];

#[rstest]
#[tokio::test]
async fn orders_are_listed_by_customer_contact_agent_and_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = prepare(&server).await;
    let berta = server.create_contact("K-1", "Berta", STANDARD, "").await;
    server.set_phone_password(&berta, PASSWORD).await.unwrap();
    let other = server.create_customer_with_contact("K-2").await;
    server.set_phone_password(&other, PASSWORD).await.unwrap();
    let start = server.now();
    let orders = place_orders(&server, [&anna, &berta, &other, &anna, &anna]).await;
    let at = |minutes| timestamp(start + TimeDelta::minutes(minutes));
    let all = ListPhoneOrdersRequest::default();
    let of = of_customer;
    let of_contact = |contact: &Contact| ListPhoneOrdersRequest {
        contact_id: contact.contact_id.clone(),
        ..of("K-1")
    };
    let of_agent = |agent: &str| ListPhoneOrdersRequest {
        agent: agent.into(),
        ..all.clone()
    };
    let between = |start_time, end_time| ListPhoneOrdersRequest {
        start_time,
        end_time,
        ..all.clone()
    };
    for (request, expected) in [
        (all.clone(), vec![4, 3, 2, 1, 0]),
        (of("K-1"), vec![4, 3, 1, 0]),
        (of("K-2"), vec![2]),
        (of_contact(&anna), vec![4, 3, 0]),
        (of_contact(&berta), vec![1]),
        (of_agent("second"), vec![3]),
        (of_agent("unknown-agent"), vec![]),
        (between(at(1), at(3)), vec![2, 1]),
        (between(at(3), None), vec![4, 3]),
        (between(None, at(1)), vec![0]),
        (
            ListPhoneOrdersRequest {
                agent: "first".into(),
                start_time: at(1),
                ..of_contact(&anna)
            },
            vec![4],
        ),
    ] {
        let listed = list(&server, request.clone()).await.unwrap();
        let ids: Vec<_> = listed
            .into_iter()
            .map(|order| order.authorization_id)
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|nth: usize| orders[nth].clone())
            .collect();
        assert_eq!(ids, expected, "{request:?}");
    }
    pages(&server, &orders).await;
    rejections(&server, &anna).await;
}

/// An order a minute, the fourth by another agent.
async fn place_orders(server: &TestServer, contacts: [&Contact; 5]) -> Vec<String> {
    let mut orders = Vec::new();
    for (nth, contact) in contacts.into_iter().enumerate() {
        let call_id = format!("call-{nth}");
        let agent = if nth == 3 { "second" } else { "first" };
        let mut client = server.client_of(agent);
        let check = proto::CheckPhonePasswordRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            phone_password: PASSWORD.into(),
            call_id: call_id.clone(),
        };
        let grant = client
            .check_phone_password(check)
            .await
            .unwrap()
            .into_inner()
            .grant;
        let request = proto::AuthorizePhoneOrderRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            grant,
            call_id,
            order_type: "reboot".into(),
            customer_administers_product: false,
        };
        let decided = client.authorize_phone_order(request).await.unwrap();
        orders.push(decided.into_inner().order.unwrap().authorization_id);
        server.clock.advance(TimeDelta::minutes(1));
    }
    orders
}

/// Pages of two orders.
async fn pages(server: &TestServer, orders: &[String]) {
    let mut request = ListPhoneOrdersRequest {
        page_size: 2,
        ..ListPhoneOrdersRequest::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = server.client().list_phone_orders(request.clone()).await;
        let page = page.unwrap().into_inner();
        listed.extend(page.orders.into_iter().map(|order| order.authorization_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let foreign = ListPhoneOrdersRequest {
            agent: "first".into(),
            ..request.clone()
        };
        assert_eq!(
            rejection(list(server, foreign).await).1,
            "INVALID_PAGE_TOKEN"
        );
    }
    assert!(listed.iter().rev().eq(orders));
}

async fn rejections(server: &TestServer, contact: &Contact) {
    let unknown = list(server, of_customer("K-9")).await;
    assert_eq!(
        rejection(unknown),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
    let bad = ListPhoneOrdersRequest {
        contact_id: contact.contact_id.clone(),
        agent: "x".repeat(256),
        start_time: timestamp(server.now()),
        end_time: timestamp(server.now()),
        page_size: -1,
        ..ListPhoneOrdersRequest::default()
    };
    assert_eq!(
        rejected_fields(list(server, bad).await),
        ["contact_id", "agent", "end_time", "page_size"]
    );
    let token = server.token(ALL_SCOPES, Some("K-1"));
    let mut tenant = server.client_with(token);
    let of_all = tenant
        .list_phone_orders(ListPhoneOrdersRequest::default())
        .await;
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    assert_eq!(rejection(of_all), mismatch);
    let own = tenant.list_phone_orders(of_customer("K-1")).await;
    assert_eq!(own.unwrap().into_inner().orders.len(), 4);
}
