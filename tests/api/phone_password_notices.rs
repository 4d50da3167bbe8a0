//! The contact is notified of a lock of its phone password (rule 16), independent of earlier
//! locks.

use contact_service::api::proto::{Contact, PhonePasswordVerdict};
use rstest::rstest;

use crate::{
    harness::{Backend, TestServer},
    phone_calls::{PASSWORD, create_contact_with_password},
};

/// Fails this many checks, each in its own phone call.
async fn fail(server: &TestServer, contact: &Contact, calls: std::ops::Range<usize>) {
    for call in calls {
        let call_id = format!("fail-{call}");
        let checked = server.check_password(contact, "falsch", &call_id).await;
        assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::NoMatch);
    }
}

async fn is_notified(server: &TestServer) -> bool {
    let mails = server.mails().await;
    let subjects: Vec<_> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    assert!(subjects.is_empty() || subjects == ["Ihr Telefonpasswort ist gesperrt"]);
    !subjects.is_empty()
}

#[rstest]
#[tokio::test]
async fn rule_16_match_does_not_suppress_the_next_lock_notice(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    fail(&server, &anna, 0..4).await;
    let fifth = server.check_password(&anna, PASSWORD, "right").await;
    assert_eq!(fifth.unwrap().verdict(), PhonePasswordVerdict::Match);
    fail(&server, &anna, 4..8).await;
    assert!(!is_notified(&server).await);
    fail(&server, &anna, 8..9).await;
    assert!(is_notified(&server).await);
}

#[rstest]
#[tokio::test]
async fn lock_without_email_does_not_suppress_next_notice(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    fail(&server, &anna, 0..5).await;
    assert!(!is_notified(&server).await);
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    server.clock.advance(chrono::TimeDelta::minutes(1));
    fail(&server, &anna, 5..6).await;
    assert!(is_notified(&server).await);
    server.clock.advance(chrono::TimeDelta::minutes(2));
    fail(&server, &anna, 6..7).await;
    assert!(!is_notified(&server).await);
}
