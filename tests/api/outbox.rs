//! The outbox: claims, leases, retries, dead letters.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::{
    api::proto::ContactType,
    crypto::{keyring::VersionedKeys, random::Random},
    domain::mail::QueuedMail,
    mail::{HeloName, Outbox, OutboxParts, PublicUrl, Sender, SmtpUrl, Templates, Transport},
    storage::Outcome,
};
use rstest::rstest;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Notify,
    time::timeout,
};

use crate::deadline::TIMEOUT;
use crate::harness::{Backend, Options, TestServer, execute, query_number, query_texts};
use crate::mailbox::brand;

const LEASE: TimeDelta = TimeDelta::seconds(60);
const OTHER: &[ContactType] = &[ContactType::Other];

/// An outbox that delivers to `url`.
pub fn outbox_to(server: &TestServer, url: &str) -> Outbox {
    Outbox::new(OutboxParts {
        database: server.database.clone(),
        clock: server.clock.clone(),
        random: Random::system(),
        templates: Templates::load(None, &brand()).unwrap(),
        transport: Transport::smtp(&SmtpUrl::parse(url).unwrap(), HeloName::default()).unwrap(),
        sender: Sender::parse("contact@provider.example").unwrap(),
        public_url: PublicUrl::parse("https://contact.example").unwrap(),
        service_keys: VersionedKeys::ephemeral(&Random::system()).unwrap(),
    })
}

/// A port without a listener.
async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("smtp://{}", listener.local_addr().unwrap())
}

async fn queue(server: &TestServer, count: usize) {
    server.create_customer_with_contact("K-1").await;
    for index in 0..count {
        let email = format!("m{index}@muster.example");
        server.create_contact("K-1", "Anna", OTHER, &email).await;
    }
}

/// Claims the due e-mails among the `limit` oldest ones.
pub async fn claim(server: &TestServer, now: DateTime<Utc>, limit: u32) -> Vec<QueuedMail> {
    let mut claimed = Vec::new();
    for due in server.database.list_due_mails(now, limit).await.unwrap() {
        let claim = server.database.claim_mail(&due, now + LEASE).await;
        claimed.extend(claim.unwrap());
    }
    claimed
}

async fn strike_off(server: &TestServer, mail: &QueuedMail) -> bool {
    let mail = mail.clone();
    let work = server.database.transaction(move |transaction| {
        let mail = mail.clone();
        Box::pin(async move { Ok(Outcome::Commit(transaction.delete_mail(&mail).await?)) })
    });
    work.await.unwrap()
}

/// Of workers that read the same e-mail, one claims it.
#[rstest]
#[tokio::test]
async fn claim_of_an_outdated_read_fails(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let now = server.now();
    let read = server.database.list_due_mails(now, 20).await.unwrap();
    let first = claim(&server, now, 20).await.remove(0);
    let late = server.database.claim_mail(&read[0], now + LEASE).await;
    assert!(late.unwrap().is_none());
    assert!(renew(&server, &first, now + LEASE).await);

    // Nor is a dead letter claimed, whose number of attempts is the same as in the read.
    let sql = "UPDATE outbox_mails SET state = 'dead', attempts = 0";
    execute(&server.database_url, sql).await;
    let late = server.database.claim_mail(&read[0], now + LEASE).await;
    assert!(late.unwrap().is_none());
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_claims_get_different_emails(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const COUNT: usize = 60;
    let server = TestServer::start(backend).await;
    queue(&server, COUNT).await;
    let now = server.now();
    let mut claimed = Vec::new();
    loop {
        let (one, two, three) = tokio::join!(
            claim(&server, now, 7),
            claim(&server, now, 7),
            claim(&server, now, 7)
        );
        let round: Vec<_> = [one, two, three].concat();
        if round.is_empty() {
            break;
        }
        claimed.extend(round.into_iter().map(|mail| mail.id));
    }
    assert_eq!(claimed.len(), COUNT);
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), COUNT);
}

#[rstest]
#[tokio::test]
async fn lost_claim_is_taken_over_and_becomes_powerless(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let first = claim(&server, server.now(), 20).await.remove(0);
    assert_eq!(first.attempt, 1);
    server.clock.advance(LEASE - TimeDelta::microseconds(1));
    assert!(claim(&server, server.now(), 20).await.is_empty());
    server.clock.advance(TimeDelta::microseconds(1));
    let second = claim(&server, server.now(), 20).await.remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    assert!(!strike_off(&server, &first).await);
    assert!(strike_off(&server, &second).await);
    assert!(!strike_off(&server, &second).await);
}

/// Renews a claim until this time.
async fn renew(server: &TestServer, mail: &QueuedMail, end: DateTime<Utc>) -> bool {
    let mail = mail.clone();
    let work = server.database.transaction(move |transaction| {
        let mail = mail.clone();
        Box::pin(async move { Ok(Outcome::Commit(transaction.renew_claim(&mail, end).await?)) })
    });
    work.await.unwrap()
}

#[rstest]
#[tokio::test]
async fn only_a_held_claim_is_renewed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let first = claim(&server, server.now(), 20).await.remove(0);
    server.clock.advance(LEASE - TimeDelta::seconds(1));
    assert!(renew(&server, &first, server.now() + LEASE).await);
    server.clock.advance(LEASE - TimeDelta::microseconds(1));
    assert!(claim(&server, server.now(), 20).await.is_empty());
    server.clock.advance(TimeDelta::microseconds(1));
    let second = claim(&server, server.now(), 20).await.remove(0);
    assert!(!renew(&server, &first, server.now() + LEASE).await);
    assert!(renew(&server, &second, server.now() + LEASE).await);
    assert!(strike_off(&server, &second).await);
    assert!(!renew(&server, &second, server.now() + LEASE).await);
}

async fn due_times(server: &TestServer) -> Vec<String> {
    let sql = "SELECT CAST(due_time AS TEXT) FROM outbox_mails";
    query_texts(&server.database_url, sql).await
}

/// A mail server that accepts the message only when notified; it counts the copies.
async fn slow_server() -> (String, Arc<AtomicUsize>, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (copies, response) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counted, responses) = (Arc::clone(&copies), Arc::clone(&response));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (counted, responses) = (Arc::clone(&counted), Arc::clone(&responses));
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let (mut reply, mut line) = ("220 mail.example\r\n", String::new());
                while client.write_all(reply.as_bytes()).await.is_ok() {
                    line.clear();
                    if client.read_line(&mut line).await.unwrap_or_default() == 0 {
                        return;
                    }
                    reply = if line == "DATA\r\n" {
                        "354 go on\r\n"
                    } else {
                        "250 OK\r\n"
                    };
                    if line == "DATA\r\n" && client.write_all(reply.as_bytes()).await.is_ok() {
                        while line != ".\r\n" {
                            line.clear();
                            client.read_line(&mut line).await.unwrap();
                        }
                        counted.fetch_add(1, Ordering::Relaxed);
                        responses.notified().await;
                        reply = "250 OK\r\n";
                    }
                }
            });
        }
    });
    (url, copies, response)
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_takes_nine_minutes_gets_one_copy(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let (url, copies, response) = slow_server().await;
    let outbox = outbox_to(&server, &url);
    let sending = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.deliver_due().await }
    });
    while copies.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..(9 * 60 / 45) {
        let due_time = due_times(&server).await;
        server.clock.advance(TimeDelta::seconds(45));
        let renewed = async { while due_times(&server).await == due_time {} };
        timeout(TIMEOUT, renewed)
            .await
            .expect("the lease was not renewed");
        // Another process finds nothing to claim.
        assert!(claim(&server, server.now(), 20).await.is_empty());
    }
    response.notify_one();
    assert_eq!(sending.await.unwrap(), Ok(1));
    assert_eq!(copies.load(Ordering::Relaxed), 1);
    let left = "SELECT count(*) FROM outbox_mails";
    assert_eq!(query_number(&server.database_url, left).await, 0);
}

#[rstest]
#[tokio::test]
async fn oldest_emails_are_read_first(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    for name in ["eins", "zwei", "drei"] {
        let email = format!("{name}@muster.example");
        server.create_contact("K-1", name, OTHER, &email).await;
        server.clock.advance(TimeDelta::seconds(1));
    }
    for name in ["eins", "zwei", "drei"] {
        let mail = claim(&server, server.now(), 1).await.remove(0);
        assert_eq!(mail.display_name, name);
    }
}

/// Two instances with a long outbox: each e-mail is sent once, and both send some.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_a_long_outbox(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const COUNT: usize = 90;
    let server = TestServer::start(backend).await;
    queue(&server, COUNT).await;
    let peer = server.start_peer(Options::default()).await;
    let (sent, sent_by_peer) = tokio::join!(server.outbox.deliver_due(), peer.outbox.deliver_due());
    let (sent, sent_by_peer) = (sent.unwrap(), sent_by_peer.unwrap());
    assert_eq!(sent + sent_by_peer, COUNT);
    assert!(sent > 0 && sent_by_peer > 0, "{sent} and {sent_by_peer}");
    let left = "SELECT count(*) FROM outbox_mails";
    assert_eq!(query_number(&server.database_url, left).await, 0);
}

#[rstest]
#[tokio::test]
async fn failing_delivery_is_retried_20_times_with_backoff(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let outbox = outbox_to(&server, &closed_port().await);
    let dead = "SELECT count(*) FROM outbox_mails WHERE state = 'dead'";
    let mut delay = TimeDelta::seconds(10);
    for attempt in 1..=20 {
        assert_eq!(outbox.deliver_due().await, Ok(1), "attempt {attempt}");
        let is_dead = query_number(&server.database_url, dead).await == 1;
        assert_eq!(is_dead, attempt == 20);
        server.clock.advance(delay - TimeDelta::microseconds(1));
        assert_eq!(outbox.deliver_due().await, Ok(0), "attempt {attempt}");
        // The jitter is at most a fifth.
        server.clock.advance(delay / 5 + TimeDelta::microseconds(1));
        delay = (delay * 2).min(TimeDelta::hours(1));
    }
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(outbox.deliver_due().await, Ok(0));
    server.clock.advance(TimeDelta::days(30));
    assert_eq!(server.app.purge_dead_letters().await, Ok(1));
}

#[rstest]
#[tokio::test]
async fn emails_wait_for_the_mail_server_to_return(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 3).await;
    let outbox = outbox_to(&server, &closed_port().await);
    assert_eq!(outbox.deliver_due().await, Ok(3));
    assert!(server.mails().await.is_empty());
    server.clock.advance(TimeDelta::seconds(12));
    assert_eq!(server.mails().await.len(), 3);
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn email_to_a_dropped_address_is_not_sent(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values("cancelled", "replaced", "deleted", "lapsed")] fate: &str,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let contact = server.contacts("K-1").await.pop().unwrap();
    match fate {
        "cancelled" => {
            let request = contact_service::api::proto::CancelEmailChangeRequest {
                customer_number: "K-1".into(),
                contact_id: contact.contact_id.clone(),
                ..contact_service::api::proto::CancelEmailChangeRequest::default()
            };
            server.client().cancel_email_change(request).await.unwrap();
        }
        "replaced" => {
            server
                .change_email(&contact, "neu@muster.example")
                .await
                .unwrap();
        }
        "deleted" => server.delete_contact(&contact).await.unwrap(),
        _ => server.clock.advance(TimeDelta::days(7)),
    }
    let mails = server.mails().await;
    let expected: &[&str] = if fate == "replaced" {
        &["neu@muster.example"]
    } else {
        &[]
    };
    assert_eq!(
        mails.iter().map(|mail| &mail.to).collect::<Vec<_>>(),
        expected
    );
    let left = "SELECT count(*) FROM outbox_mails";
    assert_eq!(query_number(&server.database_url, left).await, 0);
}

#[rstest]
#[tokio::test]
async fn replacement_notice_survives_deletion_of_the_contact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 1).await;
    let contact = server.contacts("K-1").await.pop().unwrap();
    server
        .set_confirmed_email(&contact, "m0@muster.example")
        .await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let token = server.mailed_token("neu@muster.example").await;
    server.confirm(&token).await.unwrap();
    server.delete_contact(&contact).await.unwrap();
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, "m0@muster.example");
}

#[rstest]
#[tokio::test]
async fn unreadable_email_does_not_delay_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    queue(&server, 2).await;
    for (spoil, state) in [
        ("locale = 'xx'", "dead"),
        // Written by a newer version, which will process it.
        ("kind = 'newer'", "queued"),
        // Its process died at every attempt.
        ("attempts = 20", "dead"),
        ("attempts = 32767", "dead"),
    ] {
        let email = format!("{}@muster.example", spoil.replace([' ', '=', '\''], ""));
        server.create_contact("K-1", "Anna", OTHER, &email).await;
        let sql = format!("UPDATE outbox_mails SET {spoil} WHERE recipient = '{email}'");
        execute(&server.database_url, &sql).await;
        server
            .create_contact("K-1", "Anna", OTHER, "good@muster.example")
            .await;
        let mails = server.mails().await;
        assert!(
            mails.iter().any(|mail| mail.to == "good@muster.example"),
            "{spoil}"
        );
        assert!(mails.iter().all(|mail| mail.to != email), "{spoil}");
        let left = format!(
            "SELECT count(*) FROM outbox_mails WHERE recipient = '{email}' AND state = '{state}'"
        );
        assert_eq!(
            query_number(&server.database_url, &left).await,
            1,
            "{spoil}"
        );
    }
}
