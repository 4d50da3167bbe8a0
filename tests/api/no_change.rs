//! An update that changes nothing records nothing (rule 25): a walk over every RPC that changes
//! something, each sent twice.

use chrono::TimeDelta;
use prost::Message;
use rstest::rstest;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, query_number, query_texts, refusal},
    raw::call,
    rpcs::{Effect, Rpc, prepare, rpcs_that, valid_request},
};

/// The effect of the same request a second time.
#[derive(Debug, PartialEq, Eq)]
enum Again {
    /// Nothing: no event, etag or update time is another one.
    Nothing,
    /// It is rejected, and leaves nothing.
    Rejected(&'static str),
    /// It is another act, which is recorded.
    Recorded,
}

/// The effect of each RPC a second time, and why an act is one.
fn again(rpc: &str) -> Again {
    match rpc {
        "UpdateCustomer" | "SetAttentionLine" | "UpdateContact" | "ChangeEmail" | "RemoveEmail"
        | "ClearPhonePassword" | "UpdateOrderType" | "ConfirmEmail" => Again::Nothing,
        "DeleteContact" => Again::Rejected("CONTACT_NOT_FOUND"),
        "CancelEmailChange" => Again::Rejected("NO_PENDING_EMAIL"),
        // Another contact, mail, hash, try, reason, decision or disclosure.
        "CreateContact"
        | "ResendEmailConfirmation"
        | "SetPhonePassword"
        | "CheckPhonePassword"
        | "UnlockPhonePassword"
        | "AuthorizePhoneOrder"
        | "ExportCustomer" => Again::Recorded,
        _ => panic!("{rpc} changes something: say what it does a second time"),
    }
}

#[rstest]
#[tokio::test]
async fn rule_25_an_update_that_changes_nothing_records_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in rpcs_that(Effect::Changes).chain(rpcs_that(Effect::Settles)) {
        check(&server, rpc).await;
    }
}

async fn check(server: &TestServer, rpc: Rpc) {
    const EVENTS: &str = "SELECT count(*) FROM audit_events";
    const ORDER_TYPES: &str =
        "SELECT CAST(update_time AS varchar(40)) FROM order_types ORDER BY code";
    let number = format!("A-{}", rpc.name);
    let on = prepare(server, &number).await;
    let token = server.token(ALL_SCOPES, None);
    let request = valid_request(rpc.name, &on).encode_to_vec();
    let send = || call(server, Some(&token), rpc.name, request.clone());
    let first = send().await.unwrap();
    server.clock.advance(TimeDelta::minutes(1));
    let state = server.state(&number).await;
    let events = query_number(&server.database_url, EVENTS).await;
    let order_types = query_texts(&server.database_url, ORDER_TYPES).await;

    let second = send().await;
    let recorded = query_number(&server.database_url, EVENTS).await - events;
    match again(rpc.name) {
        Again::Recorded => {
            assert!(second.is_ok(), "{} {second:?}", rpc.name);
            assert_eq!(recorded, 1, "{}", rpc.name);
            return;
        }
        Again::Rejected(reason) => assert_eq!(refusal(second).1, reason, "{}", rpc.name),
        // It says that it was done before.
        Again::Nothing if rpc.name == "ConfirmEmail" => assert_ne!(second.unwrap(), first),
        Again::Nothing => assert_eq!(second.unwrap(), first, "{}", rpc.name),
    }
    assert_eq!(recorded, 0, "{}", rpc.name);
    assert_eq!(server.state(&number).await, state, "{}", rpc.name);
    let kept = query_texts(&server.database_url, ORDER_TYPES).await;
    assert_eq!(kept, order_types, "{}", rpc.name);
}
