//! Denied requests: a log line, and an event of the customer they name.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use contact_service::api::proto;
use prost::Message;
use prost_reflect::Value;
use rstest::rstest;
use tonic::Code;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejection},
    phone_calls::CALL_ID,
    raw::{Leaf, call, call_with_headers, empty_request, request_type},
    rpcs::{RPCS, Rpc, TenantScope},
};

const OWN: &str = "K-1";
const OTHER: &str = "K-2";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const DENIED: &str = "EVENT_KIND_CUSTOMER_ACCESS_DENIED";

/// The security log lines of this thread as `name=value` texts.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The fields of a log line or span.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Lines {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "contact_service::security" {
            return;
        }
        let mut fields = Fields(format!("{} ", event.metadata().level()));
        event.record(&mut fields);
        for span in context.event_scope(event).unwrap() {
            fields.0 += &span.extensions().get::<Fields>().unwrap().0;
        }
        self.0.lock().unwrap().push(fields.0);
    }
}

/// Collects log lines; the test's server runs on the same single thread.
fn collect() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    (lines, tracing::subscriber::set_default(subscriber))
}

/// A token with these additional claims, signed with the server's key.
fn token(server: &TestServer, scope: &str, customer: Option<&str>) -> String {
    let now = server.now().timestamp();
    let mut claims = serde_json::json!({
        "iss": crate::harness::ISSUER,
        "aud": crate::harness::AUDIENCE,
        "sub": "eve",
        "azp": "portal",
        "iat": now,
        "exp": now + 86_400,
        "scope": scope,
    });
    if let Some(customer) = customer {
        claims["customer_number"] = customer.into();
    }
    let header = serde_json::json!({ "alg": "EdDSA", "kid": server.keys.kid() });
    let (header, claims) = (header.to_string(), claims.to_string());
    let signed = server.keys.sign(header.as_bytes(), claims.as_bytes());
    signed.unwrap()
}

/// True if a tenant-scoped token is rejected for a request of `rpc` that names no customer.
fn names_no_customer(rpc: &Rpc) -> bool {
    matches!(
        rpc.tenant,
        TenantScope::AllTenants | TenantScope::Optional(_)
    )
}

/// A request of `rpc` that names this customer, or `None` if the RPC names no customer.
fn naming(rpc: &Rpc, number: &str) -> Option<Vec<u8>> {
    let (TenantScope::Customer(name)
    | TenantScope::Optional(name)
    | TenantScope::Customers(name)
    | TenantScope::Entries(name)
    | TenantScope::Token(name)) = rpc.tenant
    else {
        return None;
    };
    let leaves = Leaf::all_of(&request_type(rpc.name));
    let leaf = leaves.iter().find(|leaf| leaf.name() == name).unwrap();
    let number = match rpc.tenant {
        TenantScope::Token(_) => Value::String(format!("{number}.0123")),
        _ => Value::String(number.to_owned()),
    };
    let mut request = empty_request(rpc.name);
    let value = if leaf.field().is_list() {
        Value::List(vec![number])
    } else {
        number
    };
    leaf.set(&mut request, value);
    Some(request.encode_to_vec())
}

async fn denied(server: &TestServer, token: &str, rpc: &str, body: Vec<u8>) -> String {
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("traceparent", format!("00-{TRACE_ID}-b7ad6b7169203331-01")),
    ];
    let response = call_with_headers(server, &headers, rpc, vec![body]).await;
    rejection(response).1
}

/// The actors of the customer's denials once there are `count`. Denials are written
/// asynchronously.
async fn events_of_denials(server: &TestServer, number: &str, count: usize) -> Vec<String> {
    for _ in 0..500 {
        let events = server.events(number).await.into_iter();
        let denials = events.filter(|event| event.kind().as_str_name() == DENIED);
        let actors: Vec<_> = denials.map(|event| event.actor).collect();
        if actors.len() >= count {
            return actors;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("fewer than {count} events");
}

#[rstest]
#[tokio::test]
async fn denied_request_of_every_rpc_is_logged_and_recorded(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (lines, _guard) = collect();
    let server = TestServer::start(backend).await;
    server.create_customer(OWN).await;
    server.create_customer(OTHER).await;
    let foreign = token(&server, ALL_SCOPES, Some(OWN));
    let without_scope = token(&server, "", None);
    let mut named = 0;
    for rpc in &RPCS {
        let empty = || empty_request(rpc.name).encode_to_vec();
        let requests = [
            (&without_scope, Some(empty()), "SCOPE_MISSING"),
            (&foreign, naming(rpc, OTHER), "CUSTOMER_MISMATCH"),
            (
                &foreign,
                names_no_customer(rpc).then(empty),
                "CUSTOMER_MISMATCH",
            ),
        ];
        for (token, body, reason) in requests {
            let Some(body) = body else { continue };
            server.clock.advance(TimeDelta::seconds(1));
            assert_eq!(denied(&server, token, rpc.name, body).await, reason);
            let lines = lines.take();
            assert_eq!(lines.len(), 1, "{} {reason} {lines:?}", rpc.name);
            for field in [
                "WARN ",
                "sub=\"eve\" ",
                "client=\"portal\" ",
                &format!("rpc={:?} ", rpc.name),
                &format!("reason=\"{reason}\" "),
                "suppressed=0 ",
                &format!("trace_id={TRACE_ID} "),
            ] {
                assert!(lines[0].contains(field), "no {field} in {}", lines[0]);
            }
            assert!(!lines[0].contains("K-"), "{}", lines[0]);
        }
        named += usize::from(naming(rpc, OTHER).is_some());
    }
    assert!(named > 20, "{named}");
    let actors = events_of_denials(&server, OTHER, named).await;
    assert_eq!(actors, vec!["eve"; named]);
    assert_eq!(events_of_denials(&server, OWN, 0).await.len(), 0);
}

#[rstest]
#[tokio::test]
async fn request_dependent_scope_is_recorded_with_its_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (lines, _guard) = collect();
    let server = TestServer::start(backend).await;
    server.create_customer(OTHER).await;
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: OTHER.into(),
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    let token = token(&server, "customers.write", None);
    let body = request.encode_to_vec();
    let reason = denied(&server, &token, "UpdateCustomer", body).await;
    assert_eq!(reason, "SCOPE_MISSING");
    assert_eq!(events_of_denials(&server, OTHER, 1).await, ["eve"]);
    assert_eq!(lines.take().len(), 1);
}

#[rstest]
#[tokio::test]
async fn forged_grant_is_logged_and_recorded(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (lines, _guard) = collect();
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact(OTHER).await;
    server.create_order_type("reboot", true, true).await;
    let token = token(&server, "phone_orders.authorize", None);
    for grant in ["forged".to_owned(), "x".repeat(4097)] {
        let request = proto::AuthorizePhoneOrderRequest {
            customer_number: OTHER.into(),
            contact_id: anna.contact_id.clone(),
            call_id: CALL_ID.into(),
            order_type: "reboot".into(),
            grant,
            ..proto::AuthorizePhoneOrderRequest::default()
        };
        server.clock.advance(TimeDelta::minutes(1));
        let body = request.encode_to_vec();
        let reason = denied(&server, &token, "AuthorizePhoneOrder", body).await;
        assert_eq!(reason, "GRANT_INVALID");
        let lines = lines.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("reason=\"GRANT_INVALID\""), "{lines:?}");
    }
    assert_eq!(events_of_denials(&server, OTHER, 2).await, ["eve", "eve"]);
}

/// Denied requests can fill neither the log nor the table.
#[rstest]
#[tokio::test]
async fn flood_of_denied_requests_is_only_counted(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (lines, _guard) = collect();
    let server = TestServer::start(backend).await;
    let numbers: Vec<_> = (2..12).map(|number| format!("K-{number}")).collect();
    for number in &numbers {
        server.create_customer(number).await;
    }
    let foreign = token(&server, ALL_SCOPES, Some(OWN));
    let flood = async |number: &str| {
        let request = proto::GetCustomerRequest {
            customer_number: number.to_owned(),
        };
        let response = call(
            &server,
            Some(&foreign),
            "GetCustomer",
            request.encode_to_vec(),
        );
        let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
        assert_eq!(rejection(response.await), mismatch);
    };
    for _ in 0..10 {
        for number in &numbers {
            flood(number).await;
        }
    }
    assert_eq!(lines.take().len(), 1);
    // Two customers had quota in this second, each for one event per minute.
    for number in &numbers[..2] {
        assert_eq!(events_of_denials(&server, number, 1).await.len(), 1);
    }
    for number in &numbers[2..] {
        assert_eq!(events_of_denials(&server, number, 0).await.len(), 0);
    }
    server.clock.advance(TimeDelta::seconds(1));
    flood("K-2").await;
    let next = lines.take();
    assert!(next[0].contains("suppressed=99 "), "{next:?}");
    assert_eq!(events_of_denials(&server, "K-2", 1).await.len(), 1);
    // An unknown customer number gets the same response and records no event.
    flood("K-99").await;
    server.clock.advance(TimeDelta::minutes(1));
    flood("K-2").await;
    assert_eq!(events_of_denials(&server, "K-2", 2).await.len(), 2);
}
