//! The options of every RPC that changes something: etag, request id, `validate_only` (AIP-154,
//! 155, 163). The RPCs that have them are read from the contract.

use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use rstest::rstest;
use tonic::Status;

use crate::{
    harness::{Backend, TestServer, rejection},
    raw::{call, request_type},
    rpcs::{Effect, RPCS, prepare, valid_request},
};

const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";
const REQUEST_ID: &str = "request_id";
const VALIDATE_ONLY: &str = "validate_only";
const ETAG: &str = "etag";
const SCOPES: &str = "contacts.write customers.write contact_data.write phone_password.unlock \
                      phone_password.check phone_orders.authorize order_types.write deliveries.report";

/// RPCs whose effect depends on a secret or decides something, and that have no options.
const WITHOUT_OPTIONS: [&str; 7] = [
    "AuthorizePhoneOrder",
    "CheckOneTimeCode",
    "CheckPhonePassword",
    "ConfirmEmail",
    "EraseCustomer",
    "ExportCustomer",
    "VerifyContactChannel",
];

/// Names of the RPCs that have this field, in the request or in the resource in it.
fn rpcs_with(field: &str) -> Vec<&'static str> {
    let all = RPCS.iter().map(|rpc| rpc.name);
    all.filter(|rpc| path_of(rpc, field).is_some()).collect()
}

/// The resource that has the field, or the empty path for the request.
fn path_of(rpc: &str, field: &str) -> Option<&'static str> {
    let request = request_type(rpc);
    if request.get_field_by_name(field).is_some() {
        return Some("");
    }
    let is_update = |resource: &&str| request.get_field_by_name(resource).is_some();
    let resource = ["contact", "customer"].into_iter().find(is_update);
    resource.filter(|_| field == ETAG && rpc.starts_with("Update"))
}

fn set(rpc: &str, request: &mut DynamicMessage, field: &str, value: Value) {
    match path_of(rpc, field).expect("no such field") {
        "" => request.set_field_by_name(field, value),
        resource => {
            let resource = request.get_field_by_name_mut(resource).unwrap();
            let resource = resource.as_message_mut().unwrap();
            resource.set_field_by_name(field, value);
        }
    }
}

async fn send(server: &TestServer, rpc: &str, request: &DynamicMessage) -> Result<Vec<u8>, Status> {
    let token = server.token(SCOPES, None);
    let body = request.encode_to_vec();
    let responses = call(server, Some(&token), rpc, body).await?;
    Ok(responses.concat())
}

#[test]
fn every_change_has_the_options() {
    let changes = |effect| matches!(effect, Effect::Changes | Effect::Settles | Effect::Erases);
    let named = |name: &&str| !WITHOUT_OPTIONS.contains(name);
    let changing = RPCS.iter().filter(|rpc| changes(rpc.effect));
    let changing: Vec<_> = changing.map(|rpc| rpc.name).filter(named).collect();
    assert_eq!(rpcs_with(VALIDATE_ONLY), changing);
    let of_customers: Vec<_> = changing
        .iter()
        .copied()
        .filter(|rpc| !["UpdateOrderType", "ReportDeliveries"].contains(rpc))
        .collect();
    assert_eq!(rpcs_with(REQUEST_ID), of_customers);
    // These change nothing that a form shows; a new contact has no etag yet.
    let without = [
        "MarkContactsReviewed",
        "CreateContact",
        "ResendEmailConfirmation",
        "SendOneTimeCode",
        "CreateOneTimeCode",
        "UnlockPhonePassword",
        "RecordPhoneOrderOutcome",
    ];
    let with_etag: Vec<_> = of_customers
        .into_iter()
        .filter(|rpc| !without.contains(rpc))
        .collect();
    assert_eq!(rpcs_with(ETAG), with_etag);
}

#[rstest]
#[tokio::test]
async fn validation_stores_nothing(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    for (index, rpc) in rpcs_with(VALIDATE_ONLY).into_iter().enumerate() {
        let prepared = prepare(&server, &format!("K-{index}")).await;
        let before = server.state(&prepared.number).await;
        let mut request = valid_request(rpc, &prepared);
        set(rpc, &mut request, VALIDATE_ONLY, Value::Bool(true));
        send(&server, rpc, &request).await.unwrap();
        assert_eq!(server.state(&prepared.number).await, before, "{rpc}");
    }
}

#[rstest]
#[tokio::test]
async fn repeated_request_takes_effect_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (index, rpc) in rpcs_with(REQUEST_ID).into_iter().enumerate() {
        let prepared = prepare(&server, &format!("K-{index}")).await;
        let events = server.events(&prepared.number).await.len();
        let mut request = valid_request(rpc, &prepared);
        set(rpc, &mut request, REQUEST_ID, Value::String(ID.into()));
        // A validation with the id of the request uses it not.
        let mut validation = request.clone();
        set(rpc, &mut validation, VALIDATE_ONLY, Value::Bool(true));
        send(&server, rpc, &validation).await.unwrap();
        let first = send(&server, rpc, &request).await.unwrap();
        let after = server.state(&prepared.number).await;
        assert_eq!(after.2.len(), events + 1, "{rpc}");
        server.clock.advance(chrono::TimeDelta::hours(1));
        assert_eq!(send(&server, rpc, &request).await.unwrap(), first, "{rpc}");
        assert_eq!(server.state(&prepared.number).await.2, after.2, "{rpc}");
        // The id of another request.
        let mut other = valid_request("CreateContact", &prepared);
        set(
            "CreateContact",
            &mut other,
            REQUEST_ID,
            Value::String(ID.into()),
        );
        other.set_field_by_name("email", Value::String("other@example.com".into()));
        let reused = rejection(send(&server, "CreateContact", &other).await).1;
        assert_eq!(reused, "REQUEST_ID_REUSED", "{rpc}");
    }
}

#[rstest]
#[tokio::test]
async fn stale_etag_is_rejected(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    for (index, rpc) in rpcs_with(ETAG).into_iter().enumerate() {
        let prepared = prepare(&server, &format!("K-{index}")).await;
        let is_of_customer = ["UpdateCustomer", "SetAttentionLine"].contains(&rpc);
        let current = if is_of_customer {
            server.customer(&prepared.number).await.etag
        } else {
            server.contact(&prepared.berta).await.etag
        };
        let before = server.state(&prepared.number).await;
        let mut request = valid_request(rpc, &prepared);
        set(rpc, &mut request, ETAG, Value::String("stale".into()));
        let rejected = rejection(send(&server, rpc, &request).await).1;
        assert_eq!(rejected, "ETAG_MISMATCH", "{rpc}");
        assert_eq!(server.state(&prepared.number).await, before, "{rpc}");
        set(rpc, &mut request, ETAG, Value::String(current));
        send(&server, rpc, &request).await.unwrap();
    }
}
