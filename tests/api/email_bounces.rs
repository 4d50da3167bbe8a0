//! Addresses that a mail server rejects permanently.

use chrono::TimeDelta;
use contact_service::api::proto::{self, Contact, ContactType, ExclusionReason, Purpose};
use rstest::rstest;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Backend, TestServer, query_number},
    outbox::outbox_to,
    requests::{only_id, timestamp},
};

const BOUNCED: &str = "EVENT_KIND_CONTACT_EMAIL_BOUNCED";
const ACCOUNTING: &[ContactType] = &[ContactType::Accounting];

/// The command that a mail server rejects, and its response.
#[derive(Clone, Copy)]
struct Rejection {
    command: &'static str,
    response: &'static str,
}

const UNKNOWN: Rejection = Rejection {
    command: "RCPT",
    response: "550 5.1.1 no such mailbox",
};

/// A mail server that accepts everything else.
async fn mail_server(rejection: Rejection) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(converse(client, rejection));
        }
    });
    url
}

async fn converse(client: TcpStream, rejection: Rejection) {
    let mut client = BufReader::new(client);
    let mut response = "220 mail.example";
    let mut in_text = false;
    loop {
        let line = format!("{response}\r\n");
        let _ = client.write_all(line.as_bytes()).await;
        let mut line = String::new();
        loop {
            line.clear();
            if client.read_line(&mut line).await.unwrap_or_default() == 0 {
                return;
            }
            if !in_text || line == ".\r\n" {
                break;
            }
        }
        let was_text = std::mem::take(&mut in_text);
        let command = if was_text { "text" } else { &line[..4] };
        response = match command {
            _ if command == rejection.command => rejection.response,
            "DATA" => {
                in_text = true;
                "354 go on"
            }
            _ => "250 OK",
        };
    }
}

/// Delivers the due e-mails to a server that rejects them.
async fn reject_all(server: &TestServer, rejection: Rejection) {
    let outbox = outbox_to(server, &mail_server(rejection).await);
    assert!(outbox.deliver_due().await.unwrap() > 0, "nothing was due");
}

/// Has an e-mail to the contact's confirmed address rejected: the lock notice.
async fn bounce(server: &TestServer, contact: &Contact) {
    assert_eq!(server.mails().await.len(), 0);
    let sql = format!(
        "INSERT INTO outbox_mails SELECT customer_number, contact_id, 'phone_password_locked', \
             contact_id, NULL, email, display_name, locale, NULL, 'queued', 0, create_time, NULL, \
             create_time \
         FROM contacts WHERE display_name = '{}'",
        contact.display_name
    );
    crate::harness::execute(&server.database_url, &sql).await;
    reject_all(server, UNKNOWN).await;
}

/// Anna and Berta, both with a confirmed address and invoice e-mail.
async fn prepare(server: &TestServer, emails: [&str; 2]) -> [Contact; 2] {
    let anna = server.create_customer_with_contact("K-1").await;
    let berta = server.create_contact("K-1", "Berta", ACCOUNTING, "").await;
    for (contact, email) in [&anna, &berta].into_iter().zip(emails) {
        server.set_confirmed_email(contact, email).await;
        let mut change = only_id(contact);
        change.invoice_email_enabled = Some(true);
        server.update_contact(change, &[]).await.unwrap();
    }
    server.clock.advance(TimeDelta::hours(1));
    [server.contact(&anna).await, server.contact(&berta).await]
}

async fn bounces(server: &TestServer) -> Vec<(String, Vec<String>)> {
    let events = server.events("K-1").await.into_iter();
    let bounced = events.filter(|event| event.kind().as_str_name() == BOUNCED);
    let events = bounced.inspect(|event| assert_eq!(event.actor, "contact-service"));
    events
        .map(|event| (event.contact_id, event.changed_fields))
        .collect()
}

fn written(resolution: &proto::Resolution) -> (Vec<&str>, Vec<ExclusionReason>) {
    let recipients = resolution.recipients.iter();
    let exclusions = resolution.exclusions.iter();
    (
        recipients.map(|party| party.email.as_str()).collect(),
        exclusions.map(proto::Exclusion::reason).collect(),
    )
}

#[rstest]
#[tokio::test]
async fn bounced_address_is_no_recipient(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let [anna, berta] = prepare(&server, ["a@muster.example", "b@muster.example"]).await;
    bounce(&server, &anna).await;
    let marked = Contact {
        email_bounce_time: timestamp(server.now()),
        ..anna.clone()
    };
    // The etag is unchanged as well.
    assert_eq!(server.contact(&anna).await, marked);
    assert_eq!(server.contacts("K-1").await, [marked, berta.clone()]);
    let email = vec!["email".to_owned()];
    assert_eq!(
        bounces(&server).await,
        [(anna.contact_id.clone(), email.clone())]
    );
    let resolution = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(
        written(&resolution),
        (
            vec!["b@muster.example"],
            vec![ExclusionReason::EmailBounced]
        )
    );
    assert_eq!(resolution.attention_line, "z.Hd. Berta");

    bounce(&server, &berta).await;
    assert_eq!(bounces(&server).await[0], (berta.contact_id, email));
    let resolution = server.resolve("K-1", Purpose::Invoice).await;
    let both = vec![ExclusionReason::EmailBounced; 2];
    assert_eq!(written(&resolution), (vec![], both));
    assert_eq!(resolution.delivery(), proto::Delivery::Postal);
    // The next fallback is used.
    let resolution = server.resolve("K-1", Purpose::PaymentReminder).await;
    assert_eq!(written(&resolution).0, ["info@k-1.example"]);
}

#[rstest]
#[tokio::test]
async fn every_contact_with_the_address_is_marked_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let [anna, berta] = prepare(&server, ["a@muster.example", "A@Muster.example"]).await;
    let carla = server
        .create_contact("K-1", "Carla", ACCOUNTING, "a@muster.example")
        .await;
    reject_all(&server, UNKNOWN).await;
    let first = server.now();
    let shown = server.contact(&carla).await;
    assert_eq!(shown.pending_email.unwrap().bounce_time, timestamp(first));
    assert_eq!(shown.email_bounce_time, None);
    let of = |contact: &Contact, field: &str| (contact.contact_id.clone(), vec![field.to_owned()]);
    let expected = [
        of(&carla, "pending_email"),
        of(&berta, "email"),
        of(&anna, "email"),
    ];
    assert_eq!(bounces(&server).await, expected);

    server.clock.advance(TimeDelta::hours(1));
    server.resend(&carla).await.unwrap();
    reject_all(&server, UNKNOWN).await;
    assert_eq!(bounces(&server).await, expected);
    let shown = server.contact(&anna).await;
    assert_eq!(shown.email_bounce_time, timestamp(first));
}

#[rstest]
#[tokio::test]
async fn mark_ends_with_its_address_or_a_new_confirmation(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values("confirmed again", "cancelled", "replaced", "removed")] fate: &str,
) {
    let server = TestServer::start(backend).await;
    let [_, berta] = prepare(&server, ["a@muster.example", "b@muster.example"]).await;
    bounce(&server, &berta).await;
    // Re-entered, the address needs a new confirmation; another address is not required.
    let email = if fate == "replaced" {
        "neu@muster.example"
    } else {
        "b@muster.example"
    };
    let changed = server.change_email(&berta, email).await.unwrap();
    assert_eq!(changed.pending_email.unwrap().email, email);
    assert!(changed.email_bounce_time.is_some());
    let token = server.mailed_token(email).await;
    match fate {
        "cancelled" => {
            let request = proto::CancelEmailChangeRequest {
                customer_number: "K-1".into(),
                contact_id: berta.contact_id.clone(),
                ..proto::CancelEmailChangeRequest::default()
            };
            server.client().cancel_email_change(request).await.unwrap();
            let state = server.inspect(&token).await.unwrap().state();
            assert_eq!(state, proto::ConfirmationState::Superseded);
        }
        "removed" => {
            let mut change = only_id(&berta);
            change.invoice_email_enabled = Some(false);
            let paths = ["invoice_email_enabled"];
            server.update_contact(change, &paths).await.unwrap();
            let request = proto::RemoveEmailRequest {
                customer_number: "K-1".into(),
                contact_id: berta.contact_id.clone(),
                ..proto::RemoveEmailRequest::default()
            };
            server.client().remove_email(request).await.unwrap();
        }
        _ => {
            server.confirm(&token).await.unwrap();
            let state = server.inspect(&token).await.unwrap().state();
            assert_eq!(state, proto::ConfirmationState::Confirmed);
        }
    }
    // Only an address that was replaced gets a notice.
    let notices = usize::from(fate == "replaced");
    assert_eq!(server.mails().await.len(), notices);
    let is_marked = server.contact(&berta).await.email_bounce_time.is_some();
    assert_eq!(is_marked, fate == "cancelled");
    let left_out = server.resolve("K-1", Purpose::Invoice).await.exclusions;
    let has_bounced = |party: &proto::Exclusion| party.reason() == ExclusionReason::EmailBounced;
    assert_eq!(left_out.iter().any(has_bounced), fate == "cancelled");
}

#[rstest]
#[tokio::test]
async fn bounce_after_an_address_change_marks_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let [anna, _] = prepare(&server, ["a@muster.example", "b@muster.example"]).await;
    server
        .change_email(&anna, "neu@muster.example")
        .await
        .unwrap();
    let token = server.mailed_token("neu@muster.example").await;
    server.confirm(&token).await.unwrap();
    let before = server.state("K-1").await;
    // The notice of the replacement.
    reject_all(&server, UNKNOWN).await;
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn rule_32_only_mailbox_codes_mark_an_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(
        ("RCPT", "550 5.1.1 no such mailbox", true),
        ("RCPT", "550 no such mailbox", true),
        ("text", "550 5.2.1 mailbox disabled", true),
        ("DATA", "554 5.5.1 no valid recipients", false),
        ("text", "552 5.2.2 mailbox full", false),
        ("RCPT", "554 5.7.1 Client host rejected: blocked using rbl.example", false),
        ("RCPT", "550 5.1.8 Sender address rejected: Domain not found", false),
        ("RCPT", "554 5.7.1 Relay access denied", false),
        ("text", "550 5.7.26 DMARC", false),
        ("RCPT", "450 4.2.1 busy", false),
        ("RCPT", "530 5.7.0 log in first", false),
        ("MAIL", "550 5.1.1 sender rejected", false)
    )]
    case: (&'static str, &'static str, bool),
) {
    let (command, response, marks) = case;
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    server
        .create_contact("K-1", "Berta", ACCOUNTING, "b@muster.example")
        .await;
    reject_all(&server, Rejection { command, response }).await;
    assert_eq!(
        bounces(&server).await.len(),
        usize::from(marks),
        "{response}"
    );
    let pending = server.contacts("K-1").await.pop().unwrap().pending_email;
    assert_eq!(pending.unwrap().bounce_time.is_some(), marks, "{response}");
    let dead = "SELECT count(*) FROM outbox_mails WHERE state = 'dead'";
    let is_dead = query_number(&server.database_url, dead).await == 1;
    assert_eq!(is_dead, marks, "{response}");
}

#[rstest]
#[tokio::test]
async fn policy_rejection_is_dead_lettered_without_a_mark(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    server
        .create_contact("K-1", "Berta", ACCOUNTING, "b@muster.example")
        .await;
    let url = mail_server(Rejection {
        command: "RCPT",
        response: "554 5.7.1 Relay access denied",
    });
    let outbox = outbox_to(&server, &url.await);
    let dead = "SELECT count(*) FROM outbox_mails WHERE state = 'dead' \
                AND failure = 'SMTP 554 5.7.1 at RCPT'";
    for attempt in 1..=20 {
        assert_eq!(query_number(&server.database_url, dead).await, 0);
        assert_eq!(outbox.deliver_due().await, Ok(1), "attempt {attempt}");
        server.clock.advance(TimeDelta::hours(2));
    }
    assert_eq!(query_number(&server.database_url, dead).await, 1);
    assert_eq!(outbox.deliver_due().await, Ok(0));
    assert!(bounces(&server).await.is_empty());
    let pending = server.contacts("K-1").await.pop().unwrap().pending_email;
    assert!(pending.unwrap().bounce_time.is_none());
}
