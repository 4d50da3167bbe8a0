//! Hashing capacity is shared fairly: one agent or customer does not make others OVERLOADED.
//! Guesses spread over contacts are counted.

use chrono::TimeDelta;
use contact_service::api::proto::{CheckPhonePasswordResponse, Contact, PhonePasswordVerdict};
use futures::{StreamExt, stream::FuturesUnordered};
use rstest::rstest;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::{
    harness::{Backend, TestServer, rejection},
    phone_calls::{PASSWORD, check_by},
};

const FLOOD: usize = 40;
const OTHERS: usize = 8;

type Check = JoinHandle<Result<CheckPhonePasswordResponse, Status>>;

async fn contact_with_password(server: &TestServer, number: &str) -> Contact {
    let anna = server.create_customer_with_contact(number).await;
    server.set_phone_password(&anna, PASSWORD).await.unwrap()
}

/// Starts a check of the right password in its own phone call.
fn start_check(server: &TestServer, contact: &Contact, agent: &str) -> Check {
    let (client, contact) = (server.client_of(agent), contact.clone());
    let call_id = format!("call-{agent}-{}", contact.customer_number);
    tokio::spawn(async move { check_by(client, &contact, PASSWORD, &call_id).await })
}

fn is_match(checked: &Result<CheckPhonePasswordResponse, Status>) -> bool {
    let verdict = checked.as_ref().map(CheckPhonePasswordResponse::verdict);
    matches!(verdict, Ok(PhonePasswordVerdict::Match))
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_one_agent_does_not_starve_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut contacts = Vec::new();
    for nth in 0..FLOOD {
        contacts.push(contact_with_password(&server, &format!("K-{nth}")).await);
    }
    // No hash is computed until the whole flood is queued.
    let mut permits: Vec<_> = std::iter::from_fn(|| server.hasher.try_acquire()).collect();
    let mut flood: FuturesUnordered<_> = contacts
        .iter()
        .map(|contact| start_check(&server, contact, "busy"))
        .collect();
    let others: Vec<_> = (0..OTHERS)
        .map(|nth| start_check(&server, &contacts[nth], &format!("other-{nth}")))
        .collect();
    // One hash at a time.
    permits.pop();
    for check in others {
        assert!(is_match(&check.await.unwrap()));
    }
    let mut done = 0;
    while let Some(Some(check)) = futures::FutureExt::now_or_never(flood.next()) {
        assert!(is_match(&check.unwrap()));
        done += 1;
    }
    assert!(done <= FLOOD / 2, "{done} were ahead");
    drop(permits);
    while let Some(check) = flood.next().await {
        let checked = check.unwrap();
        assert!(is_match(&checked) || rejection(checked).1 == "OVERLOADED");
    }
    let again = start_check(&server, &contacts[FLOOD - 1], "busy").await;
    assert!(is_match(&again.unwrap()));
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_of_one_customer_queue_after_those_of_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const MANY: usize = 30;
    let server = TestServer::start(backend).await;
    let anna = contact_with_password(&server, "K-1").await;
    let other = contact_with_password(&server, "K-2").await;
    let mut permits: Vec<_> = std::iter::from_fn(|| server.hasher.try_acquire()).collect();
    let mut many: FuturesUnordered<_> = (0..MANY)
        .map(|nth| start_check(&server, &anna, &format!("agent-{nth}")))
        .collect();
    let other = start_check(&server, &other, "other");
    // One hash at a time.
    permits.pop();
    assert!(is_match(&other.await.unwrap()));
    let mut done = 0;
    while let Some(Some(check)) = futures::FutureExt::now_or_never(many.next()) {
        assert!(is_match(&check.unwrap()));
        done += 1;
    }
    assert!(done <= MANY / 2, "{done} were ahead");
    drop(permits);
    while let Some(check) = many.next().await {
        assert!(is_match(&check.unwrap()));
    }
}

/// Guesses spread over contacts are counted per agent and in total.
#[rstest]
#[tokio::test]
async fn guessed_contacts_are_counted_for_an_hour(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut contacts = Vec::new();
    for nth in 0..6 {
        contacts.push(contact_with_password(&server, &format!("K-{nth}")).await);
    }
    let counted = async || {
        let counts = server.app.count_failed_contacts().await.unwrap();
        (counts.max_by_agent, counts.total)
    };
    let check = async |nth: usize, agent: &str, candidate: &str| {
        let (client, call) = (server.client_of(agent), format!("call-{agent}-{nth}"));
        let checked = check_by(client, &contacts[nth], candidate, &call).await;
        checked.unwrap();
    };
    assert_eq!(counted().await, (0, 0));
    for nth in 0..4 {
        check(nth, "busy", "falsch").await;
        check(nth, "busy", "noch falscher").await;
    }
    check(4, "other", "falsch").await;
    check(5, "other", PASSWORD).await;
    assert_eq!(counted().await, (4, 5));
    // An earlier failure of the caller.
    check(3, "busy", PASSWORD).await;
    assert_eq!(counted().await, (3, 4));
    server.clock.advance(TimeDelta::hours(1));
    assert_eq!(counted().await, (0, 0));
}
