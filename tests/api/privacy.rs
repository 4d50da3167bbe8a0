//! Export and erasure of a customer (rule 26).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use contact_service::api::proto::{
    self, ContactType, MailRecord, OrderDecision, verify_contact_channel_request::Channel,
};
use prost::Message;
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{
        Backend, TestServer, execute, new_contact, query_number, query_texts, rejected_fields,
        rejection,
    },
    phone_calls::{PASSWORD, call_id_of, verify_channel},
    requests::only_id,
    rpcs::{Prepared, prepare},
};

const REQUEST_ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

impl TestServer {
    pub async fn export(&self, number: &str) -> Result<proto::ExportCustomerResponse, Status> {
        let request = proto::ExportCustomerRequest {
            customer_number: number.into(),
        };
        let response = self.client().export_customer(request).await?;
        Ok(response.into_inner())
    }

    pub async fn erase(&self, number: &str) -> Result<(), Status> {
        let request = proto::EraseCustomerRequest {
            customer_number: number.into(),
            confirm_customer_number: number.into(),
        };
        self.client().erase_customer(request).await.map(|_| ())
    }

    /// Waits until all events are sequenced.
    pub async fn drain_inbox(&self) {
        let waiting = "SELECT count(*) FROM feed_inbox";
        while query_number(&self.database_url, waiting).await > 0 {
            self.app.sequence_all_events().await.unwrap();
        }
    }
}

/// All tables with rows of customers, and this customer's row count.
async fn rows_of(server: &TestServer, number: &str) -> BTreeMap<String, i64> {
    let url = &server.database_url;
    let tables = if url.starts_with("sqlite") {
        "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND c.name = 'customer_number'"
    } else {
        "SELECT table_name::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND column_name = 'customer_number'"
    };
    let mut counts = BTreeMap::new();
    for table in query_texts(url, tables).await {
        let count = format!("SELECT count(*) FROM {table} WHERE customer_number = '{number}'");
        counts.insert(table, query_number(url, &count).await);
    }
    counts
}

pub async fn assert_nothing_left(server: &TestServer, number: &str) {
    let left = rows_of(server, number).await;
    assert!(left.values().all(|count| *count == 0), "{left:?}");
}

/// Creates a customer with rows in every such table.
pub async fn prepare_full_customer(server: &TestServer, number: &str) -> Prepared {
    let on = prepare(server, number).await;
    let mut client = server.client();
    client
        .authorize_phone_order(proto::AuthorizePhoneOrderRequest {
            customer_number: number.into(),
            contact_id: on.berta.contact_id.clone(),
            grant: on.grant.clone(),
            call_id: call_id_of(number),
            order_type: "marker.denied".into(),
            customer_administers_product: false,
        })
        .await
        .unwrap();
    client
        .update_contact(proto::UpdateContactRequest {
            contact: Some(proto::Contact {
                display_name: "Anna Neu".into(),
                phone_numbers: vec!["+49 721 913741".into()],
                ..only_id(&on.anna)
            }),
            request_id: id_for(number, 1),
            ..proto::UpdateContactRequest::default()
        })
        .await
        .unwrap();
    client
        .set_attention_line(proto::SetAttentionLineRequest {
            customer_number: number.into(),
            suppressed: true,
            ordered_by_email: format!("info@{}.example", number.to_lowercase()),
            ..proto::SetAttentionLineRequest::default()
        })
        .await
        .unwrap();
    server.unlock(&on.berta).await.unwrap();
    verify_channel(server, &on.anna).await.unwrap();
    let in_call = proto::VerifyContactChannelRequest {
        customer_number: number.into(),
        channel: Some(Channel::PhoneNumber("0721 913741".into())),
        call_id: call_id_of(number),
    };
    client.verify_contact_channel(in_call).await.unwrap();
    let import = format!(
        "INSERT INTO contact_imports (customer_number, import_key, contact_id, import_time)
         SELECT customer_number, {}, contact_id, create_time FROM contacts
         WHERE customer_number = '{number}' AND display_name = 'Anna Neu'",
        if server.database_url.starts_with("sqlite") {
            "zeroblob(32)"
        } else {
            "decode(repeat('00', 32), 'hex')"
        }
    );
    execute(&server.database_url, &import).await;
    server.drain_inbox().await;
    let mut rows = rows_of(server, number).await;
    assert_eq!(rows.remove("feed_inbox"), Some(0));
    assert!(rows.len() >= 11, "{rows:?}");
    assert!(rows.values().all(|count| *count > 0), "{rows:?}");
    on
}

/// A request id that only this customer uses.
pub fn id_for(number: &str, nth: usize) -> String {
    let bytes = number.bytes().take(6);
    let of_customer = bytes.fold(0, |all, byte| all << 8 | u64::from(byte));
    format!("0190d6d2-5a3c-7cc1-8{nth:03}-{of_customer:012x}")
}

/// The kinds, newest first.
fn kinds(events: &[proto::AuditEvent]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.kind().as_str_name())
        .collect()
}

#[rstest]
#[tokio::test]
async fn erasure_deletes_all_rows_of_one_customer_only(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_full_customer(&server, "K-10").await;
    prepare_full_customer(&server, "K-1").await;
    let other = (rows_of(&server, "K-10").await, server.state("K-10").await);
    server.erase("K-1").await.unwrap();
    assert_nothing_left(&server, "K-1").await;
    let after = (rows_of(&server, "K-10").await, server.state("K-10").await);
    assert_eq!(after, other);
    let gone = (Code::NotFound, "CUSTOMER_NOT_FOUND".to_owned());
    assert_eq!(rejection(server.erase("K-1").await), gone);
    assert_eq!(rejection(server.export("K-1").await), gone);
}

#[rstest]
#[tokio::test]
async fn erasure_requires_matching_numbers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let before = server.state("K-1").await;
    for confirmed in ["", "k-1", "K-1 ", "K-2"] {
        let request = proto::EraseCustomerRequest {
            customer_number: "K-1".into(),
            confirm_customer_number: confirmed.into(),
        };
        let rejected = server.client().erase_customer(request).await;
        assert_eq!(rejected_fields(rejected), ["confirm_customer_number"]);
    }
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn audit_log_continues_under_a_pseudonym(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let before = server.events("K-1").await;
    server.clock.advance(TimeDelta::hours(1));
    server.erase("K-1").await.unwrap();

    let after = server.events("K-1").await;
    assert_eq!(after[0].kind().as_str_name(), "EVENT_KIND_CUSTOMER_ERASED");
    assert_eq!(
        (after[0].actor.as_str(), &*after[0].contact_id),
        ("tester", "")
    );
    let pseudonym = after[0].customer_number.clone();
    assert!(pseudonym.starts_with("erased-") && pseudonym.len() == 32);
    let renamed = before.iter().cloned().map(|event| proto::AuditEvent {
        customer_number: pseudonym.clone(),
        ..event
    });
    let first: Vec<_> = renamed.collect();
    assert_eq!(after[1..], first);
    assert_eq!(after[1].contact_id, anna.contact_id);
    assert_eq!(server.events(&pseudonym).await, after);
    let sealed = "SELECT count(*) FROM feed_entries WHERE sealed_customer_number IS NOT NULL";
    assert_eq!(query_number(&server.database_url, sealed).await, 1);

    server.create_customer_with_contact("K-1").await;
    let new = server.events("K-1").await;
    assert_eq!(
        kinds(&new[..2]),
        ["EVENT_KIND_CONTACT_CREATED", "EVENT_KIND_CUSTOMER_CREATED"]
    );
    assert!(new[..2].iter().all(|event| event.customer_number == "K-1"));
    assert_eq!(new[2..], after);
    assert_eq!(server.paged_events("K-1", 1).await, new);
    server.erase("K-1").await.unwrap();
    let both = server.events("K-1").await;
    assert_eq!(both[3..], after);
    let second = [
        "EVENT_KIND_CUSTOMER_ERASED",
        "EVENT_KIND_CONTACT_CREATED",
        "EVENT_KIND_CUSTOMER_CREATED",
    ];
    assert_eq!(kinds(&both[..3]), second);
    assert!(both.iter().all(|event| event.customer_number == pseudonym));

    // No other customer may be merged with it.
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: pseudonym,
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    let rejected = server.client().update_customer(request).await;
    assert_eq!(rejected_fields(rejected), ["customer.customer_number"]);
}

#[rstest]
#[tokio::test]
async fn pages_of_an_erased_audit_log_are_contiguous(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    server.erase("K-1").await.unwrap();
    let seen = server.paged_events("K-1", 2).await;
    assert_eq!(seen, server.events("K-1").await);
    assert!(seen.len() > 8, "{seen:?}");
}

#[rstest]
#[tokio::test]
async fn export_contains_everything_except_secrets(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_full_customer(&server, "K-2").await;
    let on = prepare_full_customer(&server, "K-1").await;
    let (customer, contacts, mut events) = server.state("K-1").await;
    events.reverse();
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.customer.as_ref(), Some(&customer));
    assert_eq!(export.contacts, contacts);
    let (last, earlier) = export.audit_events.split_last().unwrap();
    assert_eq!(
        (last.kind().as_str_name(), last.actor.as_str()),
        ("EVENT_KIND_CUSTOMER_EXPORTED", "tester")
    );
    assert_eq!(earlier, events);
    let attention_line = customer.attention_line.unwrap();
    assert_eq!(attention_line.ordered_by_email, "info@k-1.example");
    assert!(attention_line.order_time.is_some());

    let [_, order] = export.phone_orders.as_slice() else {
        panic!("{:?}", export.phone_orders);
    };
    assert_eq!(order.contact_id, on.berta.contact_id);
    assert_eq!(
        (order.agent.as_str(), &*order.order_type),
        ("tester", "marker.denied")
    );
    assert_eq!(
        (order.call_id.as_str(), order.decision()),
        (&*call_id_of("K-1"), OrderDecision::Allowed)
    );
    let states = export.email_confirmations.iter();
    let states: Vec<_> = states
        .map(|of| (of.masked_email.as_str(), of.state().as_str_name()))
        .collect();
    assert!(
        states.contains(&("a***@k***.example", "CONFIRMATION_STATE_CONFIRMED")),
        "{states:?}"
    );
    let is_for_carla =
        |mail: &&MailRecord| mail.email == "carla@k-1.example" && !mail.dead_lettered;
    assert!(
        export.mails.iter().any(|mail| is_for_carla(&mail)),
        "{:?}",
        export.mails
    );
    let [record] = export.phone_passwords.as_slice() else {
        panic!("{:?}", export.phone_passwords);
    };
    assert_eq!(
        record.unlock_reason,
        "Rückruf unter der hinterlegten Nummer"
    );
    assert!(record.set_time.is_some());
    let [request] = export.requests.as_slice() else {
        panic!("{:?}", export.requests);
    };
    assert_eq!(request.request_id, id_for("K-1", 1));
    assert_eq!(request.contact.as_ref().unwrap().display_name, "Anna Neu");
    assert_eq!(export.imports[0].contact_id, on.anna.contact_id);
    let whole = String::from_utf8_lossy(&export.encode_to_vec()).into_owned();
    for secret in [
        "argon2",
        PASSWORD,
        &on.grant,
        on.token.split_once('.').unwrap().1,
        "K-2",
    ] {
        assert!(!whole.contains(secret), "{secret}");
    }
}

#[rstest]
#[tokio::test]
async fn deleted_contact_takes_its_responses_but_not_its_id(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let request = |name: &str| proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact(name, &[ContactType::Other])),
        request_id: REQUEST_ID.into(),
        ..proto::CreateContactRequest::default()
    };
    let created = server
        .client()
        .create_contact(request("Emil"))
        .await
        .unwrap();
    let emil = created.into_inner().contact.unwrap();
    let holding = "SELECT count(*) FROM request_ids WHERE response LIKE '%Emil%'";
    assert_eq!(query_number(&server.database_url, holding).await, 1);
    server.delete_contact(&emil).await.unwrap();
    assert_eq!(query_number(&server.database_url, holding).await, 0);
    let before = server.state("K-1").await;
    let again = server.client().create_contact(request("Emil")).await;
    assert_eq!(
        rejection(again),
        (Code::NotFound, "CONTACT_NOT_FOUND".into())
    );
    let other = server.client().create_contact(request("Otto")).await;
    assert_eq!(rejected_fields(other), ["request_id"]);
    assert_eq!(server.state("K-1").await, before);
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.requests[0].contact, None);
}
