//! An attack on a phone password affects nothing else (rule 16), regardless of its duration.

use chrono::TimeDelta;
use contact_service::api::proto::{Contact, PhonePasswordVerdict};
use prost::Message;
use rstest::rstest;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, rejection},
    phone_calls::{PASSWORD, check_by},
    raw::call,
    rpcs::{Prepared, RPCS, Rpc, prepare, valid_request},
};

/// A lock begins with the fifth consecutive failure; the password is revoked after 50.
const FAILURES_UNTIL_LOCK: usize = 5;
const STEP: TimeDelta = TimeDelta::seconds(30);
const ATTEMPTS_PER_DAY: usize = 2_880;

async fn attempt(server: &TestServer, contact: &Contact, nth: usize) -> PhonePasswordVerdict {
    let client = server.client_of(&format!("attacker-{nth}"));
    let checked = check_by(client, contact, "falsch", &format!("attack-{nth}")).await;
    checked.unwrap().verdict()
}

/// Every RPC except the attacked check.
fn others() -> impl Iterator<Item = Rpc> {
    RPCS.into_iter()
        .filter(|rpc| rpc.name != "CheckPhonePassword")
}

/// The error reason of a valid request; `None` for success.
async fn error_reason(
    server: &TestServer,
    rpc: &Rpc,
    on: &Prepared,
) -> Option<(tonic::Code, String)> {
    let token = server.token(ALL_SCOPES, None);
    let request = valid_request(rpc.name, on).encode_to_vec();
    let response = call(server, Some(&token), rpc.name, request).await;
    response.is_err().then(|| rejection(response))
}

#[rstest]
#[tokio::test]
async fn rule_16_other_rpcs_work_while_a_password_is_locked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (index, rpc) in others().enumerate() {
        let on = prepare(&server, &format!("L-{index}")).await;
        for contact in [&on.berta, &on.anna] {
            for nth in 0..FAILURES_UNTIL_LOCK {
                let nth = index * 100 + nth;
                let verdict = attempt(&server, contact, nth).await;
                assert_eq!(verdict, PhonePasswordVerdict::NoMatch);
            }
            let verdict = attempt(&server, contact, index * 100 + 99).await;
            assert_eq!(verdict, PhonePasswordVerdict::Locked);
        }
        assert_eq!(error_reason(&server, &rpc, &on).await, None, "{}", rpc.name);
    }
}

/// Sends every attempt, and in between each RPC for a customer under the same attack.
#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test]
async fn proof_rule_16_attack_of_a_day_gets_ten_checks(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let victim = prepare(&server, "V-1").await;
    let (mut checked, mut locked) = (0, 0);
    let mut rpcs = others();
    let pause = ATTEMPTS_PER_DAY / others().count();
    for nth in 0..ATTEMPTS_PER_DAY {
        match attempt(&server, &victim.berta, nth).await {
            PhonePasswordVerdict::NoMatch => checked += 1,
            PhonePasswordVerdict::Locked => locked += 1,
            verdict => panic!("{verdict:?}"),
        }
        if nth % pause == 0
            && let Some(rpc) = rpcs.next()
        {
            let on = prepare(&server, &format!("D-{nth}")).await;
            for shift in 0..=FAILURES_UNTIL_LOCK {
                attempt(&server, &on.berta, ATTEMPTS_PER_DAY * 2 + nth * 10 + shift).await;
            }
            assert_eq!(error_reason(&server, &rpc, &on).await, None, "{}", rpc.name);
        }
        server.clock.advance(STEP);
    }
    assert!(rpcs.next().is_none(), "not every RPC was called");
    assert_eq!((checked, locked), (10, ATTEMPTS_PER_DAY - 10));
    server.clock.advance(TimeDelta::days(1));
    let right = server
        .check_password(&victim.berta, PASSWORD, "later")
        .await;
    assert_eq!(right.unwrap().verdict(), PhonePasswordVerdict::Match);
    println!(
        "{backend:?}: {ATTEMPTS_PER_DAY} attempts in a day: {checked} checked, {locked} locked"
    );
}
