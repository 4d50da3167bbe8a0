//! Attempt limits of phone passwords (rule 16): concurrent, across instances, over days, per
//! phone call, contact and agent.

use std::collections::HashMap;

use chrono::TimeDelta;
use contact_service::{
    api::proto::{Contact, ContactType, PhonePasswordVerdict},
    crypto::password_hasher::HashCost,
};
use rstest::rstest;
use tempfile::tempdir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{ALL_SCOPES, Backend, Options, TestServer, fresh_database, rejection},
    phone_calls::{PASSWORD, check_by, create_contact_with_password},
    requests::timestamp,
};

const GUESSES: usize = 60;
const QUICK_ROUNDS: usize = 3;
const PROOF_ROUNDS: usize = 50;
const DAY: TimeDelta = TimeDelta::days(1);

/// An attempt by an agent in a phone call of its own.
async fn attempt(server: &TestServer, contact: &Contact, candidate: &str, nth: usize) -> Verdict {
    let client = server.client_of(&format!("agent-{nth}"));
    let checked = check_by(client, contact, candidate, &format!("call-{nth}")).await;
    let checked = checked.unwrap();
    match checked.verdict() {
        PhonePasswordVerdict::Match => Verdict::Match,
        PhonePasswordVerdict::NoMatch => Verdict::NoMatch,
        PhonePasswordVerdict::Locked => Verdict::Locked(checked.retry_time),
        PhonePasswordVerdict::Unspecified => panic!("no verdict"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Match,
    NoMatch,
    Locked(Option<prost_types::Timestamp>),
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_16_five_of_60_concurrent_guesses_are_checked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    guess_concurrently(backend, QUICK_ROUNDS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_rule_16_holds_for_50_rounds_of_60_guesses(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    guess_concurrently(backend, PROOF_ROUNDS).await;
}

/// Three servers on one PostgreSQL, one on SQLite.
async fn guess_concurrently(backend: Backend, rounds: usize) {
    let folder = tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    let count = if backend == Backend::Postgres { 3 } else { 1 };
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await);
    }
    let (mut overloaded, mut locked) = (0, 0);
    for round in 0..rounds {
        let number = format!("R-{round}");
        // The hash uses the first server's pepper; none of the guesses is right anyway.
        let anna = create_contact_with_password(&servers[0], &number).await;
        let before: u64 = servers.iter().map(|server| server.hasher.computed()).sum();
        let guesses = (0..GUESSES).map(|index| {
            let server = &servers[index % count];
            let client = server.client_of(&format!("agent-{round}-{index}"));
            let (anna, call_id) = (anna.clone(), format!("call-{round}-{index}"));
            tokio::spawn(async move { check_by(client, &anna, "falsch", &call_id).await })
        });
        let mut no_match = 0;
        for guess in guesses.collect::<Vec<_>>() {
            match guess.await.unwrap() {
                Ok(checked) if checked.verdict() == PhonePasswordVerdict::NoMatch => no_match += 1,
                Ok(checked) => {
                    assert_eq!(checked.verdict(), PhonePasswordVerdict::Locked);
                    locked += 1;
                }
                Err(status) => {
                    let rejected = rejection::<()>(Err(status));
                    assert_eq!(rejected, (Code::Unavailable, "OVERLOADED".into()));
                    overloaded += 1;
                }
            }
        }
        let after: u64 = servers.iter().map(|server| server.hasher.computed()).sum();
        assert_eq!(after - before, 5, "round {round}");
        assert_eq!(no_match, 5, "round {round}");
    }
    println!(
        "{backend:?}: {rounds} rounds of {GUESSES} guesses over {count} server(s): {} checked, \
         {locked} locked, {overloaded} overloaded",
        5 * rounds
    );
}

#[rstest]
#[tokio::test]
async fn rule_16_right_password_matches_after_a_day_of_attack(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let other = server
        .create_contact("K-1", "Bernd", &[ContactType::Technical], "")
        .await;
    server
        .set_phone_password(&other, "gelber Kranich")
        .await
        .unwrap();
    let start = server.now();
    let computed = server.hasher.computed();
    let mut locked_until = None;
    let mut nth = 0;
    // An attempt every 30 s. During a lock only its first and last are sent, to save time.
    while server.now() < start + DAY {
        let verdict = attempt(&server, &anna, "falsch", nth).await;
        nth += 1;
        match verdict {
            Verdict::NoMatch => server.clock.advance(TimeDelta::seconds(30)),
            Verdict::Locked(until) => {
                assert_eq!(
                    server
                        .contact(&anna)
                        .await
                        .phone_password
                        .unwrap()
                        .locked_until_time,
                    until
                );
                locked_until = until;
                let until = until.unwrap();
                while timestamp(server.now()).unwrap().seconds + 30 < until.seconds {
                    server.clock.advance(TimeDelta::seconds(30));
                }
                assert!(matches!(
                    attempt(&server, &anna, PASSWORD, nth).await,
                    Verdict::Locked(_)
                ));
                nth += 1;
                server.clock.advance(TimeDelta::seconds(30));
            }
            Verdict::Match => panic!("a wrong password matched"),
        }
        // Nothing else is affected.
        assert_eq!(
            server
                .contact(&other)
                .await
                .phone_password
                .unwrap()
                .locked_until_time,
            None
        );
    }
    assert_eq!(server.hasher.computed() - computed, 10);
    assert!(locked_until.is_some());
    server.clock.advance(DAY);
    assert_eq!(attempt(&server, &anna, PASSWORD, nth).await, Verdict::Match);
    assert_eq!(
        attempt(&server, &other, "gelber Kranich", nth + 1).await,
        Verdict::Match
    );
    let shown = server.contact(&anna).await.phone_password.unwrap();
    assert!(!shown.revoked && shown.locked_until_time.is_none());
}

#[rstest]
#[tokio::test]
async fn rule_16_fifty_failures_revoke_it_until_it_is_set_again(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    for nth in 0..50 {
        let verdict = attempt(&server, &anna, "falsch", nth).await;
        assert_eq!(verdict, Verdict::NoMatch, "{nth}");
        server.clock.advance(DAY);
    }
    assert_eq!(
        attempt(&server, &anna, PASSWORD, 50).await,
        Verdict::Locked(None)
    );
    assert!(server.contact(&anna).await.phone_password.unwrap().revoked);
    // Notices are sent on the days of a lock; the last lock revoked the password.
    let mails = server.mails().await;
    assert_eq!(mails.len(), 46);
    assert!(mails.iter().all(|mail| mail.to == "anna@muster.example"));
    let unlocked = server.unlock(&anna).await.unwrap();
    assert!(unlocked.phone_password.unwrap().revoked);
    assert_eq!(
        attempt(&server, &anna, PASSWORD, 51).await,
        Verdict::Locked(None)
    );
    let updated = server
        .set_phone_password(&anna, "gelber Kranich")
        .await
        .unwrap();
    assert!(!updated.phone_password.unwrap().revoked);
    assert_eq!(
        attempt(&server, &anna, "gelber Kranich", 52).await,
        Verdict::Match
    );
}

#[rstest]
#[tokio::test]
async fn rule_16_lock_is_notified_and_lifted_by_a_supervisor(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    for nth in 0..4 {
        assert_eq!(
            attempt(&server, &anna, "falsch", nth).await,
            Verdict::NoMatch
        );
    }
    assert!(server.mails().await.is_empty());
    assert_eq!(attempt(&server, &anna, "falsch", 4).await, Verdict::NoMatch);
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, "anna@muster.example");
    assert_eq!(mails[0].subject, "Ihr Telefonpasswort ist gesperrt");
    assert!(!mails[0].has_link());
    let locked_until = timestamp(server.now() + TimeDelta::seconds(60));
    let locked = Verdict::Locked(locked_until);
    assert_eq!(attempt(&server, &anna, PASSWORD, 5).await, locked);
    let shown = server.contact(&anna).await.phone_password.unwrap();
    assert_eq!(shown.locked_until_time, locked_until);
    let unlocked = server.unlock(&anna).await.unwrap();
    assert_eq!(unlocked.phone_password.unwrap().locked_until_time, None);
    assert_eq!(attempt(&server, &anna, PASSWORD, 6).await, Verdict::Match);
    assert!(server.mails().await.is_empty());
    let events = server.events("K-1").await;
    // Rule 25: a reason was given; the reason itself is not in the audit log.
    let details = HashMap::from([("reason_given".to_owned(), "true".to_owned())]);
    assert_eq!(events[1].details, details);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event.kind().as_str_name())
        .collect();
    assert_eq!(
        kinds[..4],
        [
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_MATCHED",
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_UNLOCKED",
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_REFUSED",
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_FAILED"
        ]
    );
}

#[rstest]
#[tokio::test]
async fn rule_16_call_has_three_attempts_per_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let bernd = create_contact_with_password(&server, "K-2").await;
    for _ in 0..3 {
        let checked = server.check_password(&anna, "falsch", "call").await;
        assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::NoMatch);
    }
    let computed = server.hasher.computed();
    let rejected = server.check_password(&anna, PASSWORD, "call").await;
    let limit = (
        Code::ResourceExhausted,
        "PHONE_CALL_ATTEMPT_LIMIT".to_owned(),
    );
    assert_eq!(rejection(rejected), limit);
    assert_eq!(server.hasher.computed(), computed);
    for (contact, call) in [(&anna, "call-2"), (&bernd, "call")] {
        let checked = server.check_password(contact, PASSWORD, call).await;
        assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    }
}

/// Rule 16: tenant-scoped and unscoped tokens share the counter of a phone call.
#[rstest]
#[tokio::test]
async fn attempts_of_a_call_are_counted_across_tokens(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let of_customer = server.client_with(server.token(ALL_SCOPES, Some("K-1")));
    let mut checked = 0;
    for nth in 0..6 {
        let client = if nth % 2 == 0 {
            of_customer.clone()
        } else {
            server.client()
        };
        let response = check_by(client, &anna, "falsch", "call").await;
        checked +=
            usize::from(response.is_ok_and(|a| a.verdict() == PhonePasswordVerdict::NoMatch));
    }
    assert_eq!(checked, 3);
}

#[rstest]
#[tokio::test]
async fn tenant_scoped_token_uses_no_attempts_of_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let bernd = create_contact_with_password(&server, "K-2").await;
    let tenant_scoped = server.client_with(server.token(ALL_SCOPES, Some("K-2")));
    for _ in 0..3 {
        let checked = check_by(tenant_scoped.clone(), &bernd, "falsch", "call-4711").await;
        assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::NoMatch);
    }
    let rejected = check_by(tenant_scoped, &bernd, PASSWORD, "call-4711").await;
    assert_eq!(rejection(rejected).1, "PHONE_CALL_ATTEMPT_LIMIT");
    let checked = server.check_password(&anna, PASSWORD, "call-4711").await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_matches_succeed_during_a_hash_upgrade(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let first = TestServer::start(backend).await;
    let costlier = Options {
        hash_cost: HashCost::unbounded(16, 1, 1).unwrap(),
        ..Options::default()
    };
    let second = first.start_peer(costlier).await;
    for round in 0..5 {
        let anna = create_contact_with_password(&first, &format!("K-{round}")).await;
        let checks = (0..3).map(|index| {
            let (client, anna) = (second.client(), anna.clone());
            let call_id = format!("call-{round}-{index}");
            tokio::spawn(async move { check_by(client, &anna, PASSWORD, &call_id).await })
        });
        for check in checks.collect::<Vec<_>>() {
            let checked = check.await.unwrap().unwrap();
            assert_eq!(checked.verdict(), PhonePasswordVerdict::Match, "{round}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn failures_are_counted_with_and_without_a_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let unset = server
        .create_contact("K-1", "Bernd", &[ContactType::Technical], "")
        .await;
    let mut responses = [const { Vec::new() }; 2];
    for nth in 0..6 {
        for (index, contact) in [&anna, &unset].into_iter().enumerate() {
            responses[index].push(attempt(&server, contact, "falsch", 10 * nth + index).await);
        }
        if nth == 3 {
            server.clock.advance(TimeDelta::hours(25));
            server.app.purge_attempts().await.unwrap();
        }
    }
    assert_eq!(responses[0], responses[1]);
    assert!(matches!(responses[0][5], Verdict::Locked(Some(_))));
}

#[rstest]
#[tokio::test]
async fn rule_16_twenty_failures_an_hour_block_only_that_agent(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut contacts = Vec::new();
    for index in 0..6 {
        contacts.push(create_contact_with_password(&server, &format!("K-{index}")).await);
    }
    let (bad, good) = (server.client_of("bad"), server.client_of("good"));
    let check = |client: &crate::harness::Client, nth: usize, candidate: &'static str| {
        let (client, contact) = (client.clone(), contacts[nth % 6].clone());
        async move { check_by(client, &contact, candidate, &format!("call-{nth}")).await }
    };
    // Matches do not count.
    check(&bad, 100, PASSWORD).await.unwrap();
    for nth in 0..20 {
        let checked = check(&bad, nth, "falsch").await.unwrap();
        assert_eq!(checked.verdict(), PhonePasswordVerdict::NoMatch);
    }
    let blocked: Result<_, Status> = check(&bad, 20, PASSWORD).await;
    let status = blocked.unwrap_err();
    let wait = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(wait, Some(std::time::Duration::from_hours(1)));
    let rejected = rejection::<()>(Err(status));
    assert_eq!(rejected, (Code::ResourceExhausted, "AGENT_BLOCKED".into()));
    let checked = check(&good, 22, PASSWORD).await.unwrap();
    assert_eq!(checked.verdict(), PhonePasswordVerdict::Match);
    server.clock.advance(TimeDelta::hours(1));
    let checked = check(&bad, 23, PASSWORD).await.unwrap();
    assert_eq!(checked.verdict(), PhonePasswordVerdict::Match);
}

#[rstest]
#[tokio::test]
async fn limits_survive_a_restart(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let folder = tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    let first = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
    let anna = create_contact_with_password(&first, "K-1").await;
    for nth in 0..5 {
        attempt(&first, &anna, "falsch", nth).await;
    }
    let second = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
    assert!(matches!(
        attempt(&second, &anna, PASSWORD, 5).await,
        Verdict::Locked(Some(_))
    ));
    // Expired counters are deleted, the password is not. Run on the first server, because the
    // second runs its background jobs when it starts.
    first.clock.advance(TimeDelta::days(2));
    assert!(first.app.purge_attempts().await.unwrap() > 0);
    assert!(
        first
            .contact(&anna)
            .await
            .phone_password
            .unwrap()
            .configured
    );
}

#[rstest]
#[tokio::test]
async fn shed_check_uses_no_attempt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let permits: Vec<_> = std::iter::from_fn(|| server.hasher.try_acquire()).collect();
    assert_eq!(permits.len(), 4);
    for _ in 0..10 {
        let status = server
            .check_password(&anna, "falsch", "call")
            .await
            .unwrap_err();
        assert!(
            status
                .get_details_retry_info()
                .unwrap()
                .retry_delay
                .is_some()
        );
        assert_eq!(rejection::<()>(Err(status)).1, "OVERLOADED");
    }
    drop(permits);
    let checked = server
        .check_password(&anna, PASSWORD, "call")
        .await
        .unwrap();
    assert_eq!(checked.verdict(), PhonePasswordVerdict::Match);
}
