//! An attack on a phone password touches nothing else (rule 16), however long it goes on.

use chrono::TimeDelta;
use contact_service::api::proto::{Contact, PhonePasswordVerdict};
use prost::Message;
use rstest::rstest;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, refusal},
    phone_calls::{PASSWORD, check_by},
    raw::call,
    rpcs::{Prepared, RPCS, Rpc, prepare, valid_request},
};

/// A lock begins with the fifth failure in a row; the password is void after 50.
const FAILURES_TO_A_LOCK: usize = 5;
const STEP: TimeDelta = TimeDelta::seconds(30);
const TRIES_A_DAY: usize = 2_880;

async fn try_once(server: &TestServer, contact: &Contact, nth: usize) -> PhonePasswordVerdict {
    let client = server.client_of(&format!("attacker-{nth}"));
    let checked = check_by(client, contact, "falsch", &format!("attack-{nth}")).await;
    checked.unwrap().verdict()
}

/// Every RPC but for the checks that are attacked.
fn others() -> impl Iterator<Item = Rpc> {
    RPCS.into_iter()
        .filter(|rpc| rpc.name != "CheckPhonePassword")
}

/// What became of a valid request: `None` is a success.
async fn refused(server: &TestServer, rpc: &Rpc, on: &Prepared) -> Option<(tonic::Code, String)> {
    let token = server.token(ALL_SCOPES, None);
    let request = valid_request(rpc.name, on).encode_to_vec();
    let answer = call(server, Some(&token), rpc.name, request).await;
    answer.is_err().then(|| refusal(answer))
}

#[rstest]
#[tokio::test]
async fn rule_16_every_other_rpc_works_while_a_phone_password_is_locked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (index, rpc) in others().enumerate() {
        let on = prepare(&server, &format!("L-{index}")).await;
        for contact in [&on.berta, &on.anna] {
            for nth in 0..FAILURES_TO_A_LOCK {
                let nth = index * 100 + nth;
                let verdict = try_once(&server, contact, nth).await;
                assert_eq!(verdict, PhonePasswordVerdict::NoMatch);
            }
            let verdict = try_once(&server, contact, index * 100 + 99).await;
            assert_eq!(verdict, PhonePasswordVerdict::Locked);
        }
        assert_eq!(refused(&server, &rpc, &on).await, None, "{}", rpc.name);
    }
}

/// Every try is made. In between, each RPC is called for a customer that is under the same
/// attack.
#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test]
async fn proof_rule_16_of_a_day_of_tries_ten_are_checked_and_nothing_else_is_touched(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let victim = prepare(&server, "V-1").await;
    let (mut checked, mut locked) = (0, 0);
    let mut rpcs = others();
    let pause = TRIES_A_DAY / others().count();
    for nth in 0..TRIES_A_DAY {
        match try_once(&server, &victim.berta, nth).await {
            PhonePasswordVerdict::NoMatch => checked += 1,
            PhonePasswordVerdict::Locked => locked += 1,
            verdict => panic!("{verdict:?}"),
        }
        if nth % pause == 0
            && let Some(rpc) = rpcs.next()
        {
            let on = prepare(&server, &format!("D-{nth}")).await;
            for shift in 0..=FAILURES_TO_A_LOCK {
                try_once(&server, &on.berta, TRIES_A_DAY * 2 + nth * 10 + shift).await;
            }
            assert_eq!(refused(&server, &rpc, &on).await, None, "{}", rpc.name);
        }
        server.clock.advance(STEP);
    }
    assert!(rpcs.next().is_none(), "not every RPC was called");
    assert_eq!((checked, locked), (10, TRIES_A_DAY - 10));
    server.clock.advance(TimeDelta::days(1));
    let right = server
        .check_password(&victim.berta, PASSWORD, "later")
        .await;
    assert_eq!(right.unwrap().verdict(), PhonePasswordVerdict::Match);
    println!("{backend:?}: {TRIES_A_DAY} tries in a day: {checked} checked, {locked} locked");
}
