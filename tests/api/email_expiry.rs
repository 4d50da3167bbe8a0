//! Effects of elapsed time: expiry, reminder and resends (rules 7, 10, 11). The tests move the
//! clock.

use chrono::TimeDelta;
use contact_service::api::proto::{ConfirmationState, Contact, Purpose};
use rstest::rstest;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    harness::{Backend, TestServer, execute, query_number, rejection},
    requests::timestamp,
};

const OLD: &str = "alt@muster.example";
const NEW: &str = "neu@muster.example";
const WEEK: TimeDelta = TimeDelta::days(7);
const DAY: TimeDelta = TimeDelta::days(1);
const HOUR: TimeDelta = TimeDelta::hours(1);
const MINUTE: TimeDelta = TimeDelta::minutes(1);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);

async fn with_link(server: &TestServer) -> (Contact, String) {
    let contact = server.create_customer_with_contact("K-1").await;
    server.set_confirmed_email(&contact, OLD).await;
    let contact = server.change_email(&contact, NEW).await.unwrap();
    (contact, server.mailed_token(NEW).await)
}

/// The etag of the next version.
fn next_etag(etag: &str) -> String {
    let (created, version) = etag.split_once('-').unwrap();
    let version = u64::from_str_radix(version, 16).unwrap();
    format!("{created}-{:x}", version + 1)
}

async fn resends_left(server: &TestServer, contact: &Contact) -> i32 {
    let contact = server.contact(contact).await;
    contact.pending_email.unwrap().resends_left
}

#[rstest]
#[tokio::test]
async fn rule_7_link_works_until_a_minute_before_seven_days(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    server.clock.advance(WEEK - MINUTE);
    assert!(!server.confirm(&token).await.unwrap().already_confirmed);
    assert_eq!(server.contact(&contact).await.email, NEW);
}

#[rstest]
#[tokio::test]
async fn rule_7_link_expires_after_seven_days_without_worker(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(false, true)] worker_came_by: bool,
) {
    let server = TestServer::start(backend).await;
    let (before, token) = with_link(&server).await;
    server.clock.advance(WEEK);
    if worker_came_by {
        assert_eq!(server.app.clear_expired_emails().await, Ok(1));
        assert_eq!(server.app.clear_expired_emails().await, Ok(0));
    }
    let expired = (Code::FailedPrecondition, "CONFIRMATION_EXPIRED".to_owned());
    assert_eq!(rejection(server.confirm(&token).await), expired);
    let inspection = server.inspect(&token).await.unwrap();
    assert_eq!(inspection.state(), ConfirmationState::Expired);
    assert_eq!(inspection.masked_email, "n***@m***.example");
    // Reads show the same contact in both cases, so the etag must be equal too.
    let after = server.contact(&before).await;
    assert_eq!(after.etag, next_etag(&before.etag));
    let expected = Contact {
        pending_email: None,
        etag: after.etag.clone(),
        update_time: timestamp(server.now()),
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(server.contacts("K-1").await, [expected]);
    let resolution = server.resolve("K-1", Purpose::PaymentReminder).await;
    assert_eq!(resolution.recipients[0].email, OLD);
    let rejected = rejection(server.resend(&after).await);
    assert_eq!(rejected.1, "NO_PENDING_EMAIL");
}

#[rstest]
#[tokio::test]
async fn expiry_is_recorded_once_by_the_first_observer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(false, true)] by_the_worker: bool,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    let known = server.events("K-1").await.len();
    server.clock.advance(WEEK);
    if by_the_worker {
        server.app.clear_expired_emails().await.unwrap();
    }
    server
        .change_email(&contact, "neuer@muster.example")
        .await
        .unwrap();
    server.app.clear_expired_emails().await.unwrap();
    let events = server.events("K-1").await;
    assert_eq!(events.len(), known + 2);
    assert_eq!(
        events[0].kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_CHANGED"
    );
    assert_eq!(events[0].actor, "tester");
    assert_eq!(
        events[1].kind().as_str_name(),
        "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED"
    );
    assert_eq!(events[1].actor, "contact-service");
    assert_eq!(events[1].contact_id, contact.contact_id);
    assert_eq!(events[1].changed_fields, ["pending_email"]);
    // It expired before it was replaced.
    let state = server.inspect(&token).await.unwrap().state();
    assert_eq!(state, ConfirmationState::Expired);
    let left = "SELECT count(*) FROM contacts WHERE pending_email = 'neu@muster.example'";
    assert_eq!(query_number(&server.database_url, left).await, 0);
}

#[rstest]
#[tokio::test]
async fn worker_clears_expired_addresses_only(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const COUNT: usize = 110;
    let server = TestServer::start(backend).await;
    for index in 0..COUNT {
        let contact = server
            .create_customer_with_contact(&format!("L-{index}"))
            .await;
        let email = format!("neu-{index}@muster.example");
        server.change_email(&contact, &email).await.unwrap();
    }
    server.clock.advance(DAY);
    let later = server.create_customer_with_contact("L-later").await;
    server.change_email(&later, NEW).await.unwrap();
    server.clock.advance(WEEK - DAY);
    let two = tokio::join!(
        server.app.clear_expired_emails(),
        server.app.clear_expired_emails()
    );
    assert_eq!(two.0.unwrap() + two.1.unwrap(), COUNT as u64);
    let pending = "SELECT count(*) FROM contacts WHERE pending_email IS NOT NULL";
    assert_eq!(query_number(&server.database_url, pending).await, 1);
    assert!(server.contact(&later).await.pending_email.is_some());
}

#[rstest]
#[tokio::test]
async fn failing_customer_does_not_delay_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let broken = server.create_customer_with_contact("K-0").await;
    server.change_email(&broken, OLD).await.unwrap();
    let (contact, _) = {
        server.mails().await;
        with_link(&server).await
    };
    let spoil = "UPDATE contacts SET locale = 'xx' WHERE customer_number = 'K-0'";
    execute(&server.database_url, spoil).await;
    server.clock.advance(WEEK - DAY);
    assert_eq!(server.app.remind_of_pending_emails().await, Ok(1));
    server.clock.advance(DAY);
    assert_eq!(server.app.clear_expired_emails().await, Ok(1));
    assert_eq!(
        server.events("K-1").await[0].kind().as_str_name(),
        "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED"
    );
    assert_eq!(server.contact(&contact).await.pending_email, None);
}

#[rstest]
#[tokio::test]
async fn address_without_a_link_expires_like_any_other(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, _) = with_link(&server).await;
    for sql in [
        "UPDATE contacts SET pending_email_id = NULL",
        "DELETE FROM email_confirmations",
    ] {
        execute(&server.database_url, sql).await;
    }
    server.clock.advance(WEEK);
    let changed = server.change_email(&contact, "neuer@muster.example").await;
    assert!(changed.unwrap().pending_email.is_some());
    server.mailed_token("neuer@muster.example").await;
}

#[rstest]
#[tokio::test]
async fn rule_10_reminder_is_sent_once_a_day_before_expiry(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, _) = with_link(&server).await;
    server.clock.advance(WEEK - DAY - INSTANT);
    assert_eq!(server.app.remind_of_pending_emails().await, Ok(0));
    server.clock.advance(INSTANT);
    let two = tokio::join!(
        server.app.remind_of_pending_emails(),
        server.app.remind_of_pending_emails()
    );
    assert_eq!(two.0.unwrap() + two.1.unwrap(), 1);
    let mut mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    let reminder = mails.remove(0);
    assert_eq!(reminder.to, NEW);
    assert_eq!(
        reminder.subject,
        "Erinnerung: Bitte bestätigen Sie Ihre E-Mail-Adresse"
    );
    assert!(reminder.text.contains("8. März 2026, 10:00 Uhr"));
    server.clock.advance(HOUR);
    assert_eq!(server.app.remind_of_pending_emails().await, Ok(0));
    assert!(server.mails().await.is_empty());
    // The reminder is no resend, and its link is as valid as the first.
    assert_eq!(resends_left(&server, &contact).await, 3);
    server.confirm(&reminder.token()).await.unwrap();
    assert_eq!(server.contact(&contact).await.email, NEW);
}

#[rstest]
#[tokio::test]
async fn rule_10_no_reminder_after_confirmation_or_expiry(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values("confirmed", "replaced", "lapsed", "confirmed in the meantime")] fate: &str,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    match fate {
        "confirmed" => {
            server.confirm(&token).await.unwrap();
        }
        "replaced" => {
            server.change_email(&contact, OLD).await.unwrap();
        }
        "lapsed" => server.clock.advance(DAY),
        _ => {}
    }
    server.mails().await;
    server.clock.advance(WEEK - DAY);
    server.app.remind_of_pending_emails().await.unwrap();
    if fate == "confirmed in the meantime" {
        // Queued, and obsolete before delivery.
        server.confirm(&token).await.unwrap();
        let mails = server.mails().await;
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, OLD);
    }
    assert!(server.mails().await.is_empty(), "{fate}");
    let queued = "SELECT count(*) FROM outbox_mails";
    assert_eq!(query_number(&server.database_url, queued).await, 0);
}

#[rstest]
#[tokio::test]
async fn rule_11_allows_three_resends_then_one_per_hour(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, _) = with_link(&server).await;
    let expire_time = contact.pending_email.clone().unwrap().expire_time;
    for left in [2, 1, 0] {
        let resent = server.resend(&contact).await.unwrap();
        let pending = resent.pending_email.unwrap();
        assert_eq!(pending.resends_left, left);
        // Rule 7: a resend does not extend the deadline.
        assert_eq!(pending.expire_time, expire_time);
        server.mailed_token(NEW).await;
    }
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_CONFIRMATION_RESENT"
    );
    for _ in 0..3 {
        for wait in [HOUR, HOUR - MINUTE * 59] {
            if wait < HOUR {
                server.clock.advance(MINUTE * 59);
            }
            let status = server.resend(&contact).await.unwrap_err();
            let retry = status.get_details_retry_info().unwrap().retry_delay;
            assert_eq!(retry, Some(wait.to_std().unwrap()));
            let rejected = rejection::<()>(Err(status));
            assert_eq!(
                rejected,
                (Code::ResourceExhausted, "RESEND_LIMIT".to_owned())
            );
            assert_eq!(resends_left(&server, &contact).await, 0);
        }
        assert!(server.mails().await.is_empty());
        server.clock.advance(MINUTE);
        assert_eq!(resends_left(&server, &contact).await, 1);
        server.resend(&contact).await.unwrap();
        server.mailed_token(NEW).await;
    }
    // Another pending address has its own resends.
    let changed = server
        .change_email(&contact, "neuer@muster.example")
        .await
        .unwrap();
    assert_eq!(changed.pending_email.unwrap().resends_left, 3);
}

#[rstest]
#[tokio::test]
async fn rule_7_resends_do_not_extend_a_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, first) = with_link(&server).await;
    server.clock.advance(WEEK - MINUTE);
    server.resend(&contact).await.unwrap();
    let last = server.mailed_token(NEW).await;
    server.clock.advance(MINUTE);
    for token in [first, last] {
        let rejected = rejection(server.confirm(&token).await);
        assert_eq!(rejected.1, "CONFIRMATION_EXPIRED");
    }
}

#[rstest]
#[tokio::test]
async fn link_is_deleted_a_year_after_its_expiry(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, token) = with_link(&server).await;
    server.confirm(&token).await.unwrap();
    server.clock.advance(WEEK + TimeDelta::days(365) - INSTANT);
    server.app.purge_confirmations().await.unwrap();
    assert!(server.confirm(&token).await.unwrap().already_confirmed);
    server.clock.advance(INSTANT);
    assert_eq!(server.app.purge_confirmations().await, Ok(2));
    let rejected = rejection(server.confirm(&token).await);
    assert_eq!(rejected.1, "CONFIRMATION_NOT_FOUND");
}
