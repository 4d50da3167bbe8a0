//! An update that changes nothing records nothing (rule 25): sends each mutating RPC twice.

use chrono::TimeDelta;
use prost::Message;
use rstest::rstest;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, query_number, query_texts, rejection},
    raw::call,
    rpcs::{Effect, Rpc, prepare, rpcs_with, valid_request},
};

/// The effect of repeating a request.
#[derive(Debug, PartialEq, Eq)]
enum Repetition {
    /// None: no new event, etag or update time.
    Nothing,
    /// The repetition is rejected and records nothing.
    Rejected(&'static str),
    /// The repetition is a new action, which is recorded.
    Recorded,
}

/// The effect of repeating each RPC, with the reason where it is a new action.
fn effect_of_repetition(rpc: &str) -> Repetition {
    match rpc {
        "UpdateCustomer" | "SetAttentionLine" | "UpdateContact" | "ChangeEmail" | "RemoveEmail"
        | "ClearPhonePassword" | "UpdateOrderType" | "ConfirmEmail" | "ReportDeliveries" => {
            Repetition::Nothing
        }
        "DeleteContact" => Repetition::Rejected("CONTACT_NOT_FOUND"),
        "CancelEmailChange" => Repetition::Rejected("NO_PENDING_EMAIL"),
        "RecordPhoneOrderOutcome" => Repetition::Rejected("OUTCOME_ALREADY_RECORDED"),
        // Another contact, review, e-mail, hash, attempt, code, reason, decision or disclosure.
        "CreateContact"
        | "MarkContactsReviewed"
        | "ResendEmailConfirmation"
        | "SetPhonePassword"
        | "CheckPhonePassword"
        | "SendOneTimeCode"
        | "CreateOneTimeCode"
        | "CheckOneTimeCode"
        | "UnlockPhonePassword"
        | "AuthorizePhoneOrder"
        | "ExportCustomer" => Repetition::Recorded,
        _ => panic!("{rpc} is a mutation: add the effect of repeating it"),
    }
}

#[rstest]
#[tokio::test]
async fn rule_25_update_without_changes_records_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in rpcs_with(Effect::Changes).chain(rpcs_with(Effect::Settles)) {
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
    match effect_of_repetition(rpc.name) {
        Repetition::Recorded => {
            assert!(second.is_ok(), "{} {second:?}", rpc.name);
            assert_eq!(recorded, 1, "{}", rpc.name);
            return;
        }
        Repetition::Rejected(reason) => assert_eq!(rejection(second).1, reason, "{}", rpc.name),
        // The response says that it was confirmed before.
        Repetition::Nothing if rpc.name == "ConfirmEmail" => assert_ne!(second.unwrap(), first),
        Repetition::Nothing => assert_eq!(second.unwrap(), first, "{}", rpc.name),
    }
    assert_eq!(recorded, 0, "{}", rpc.name);
    assert_eq!(server.state(&number).await, state, "{}", rpc.name);
    let kept = query_texts(&server.database_url, ORDER_TYPES).await;
    assert_eq!(kept, order_types, "{}", rpc.name);
}
