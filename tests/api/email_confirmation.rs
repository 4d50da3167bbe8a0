//! Confirmation links: delivery, inspection, use and expiry (rules 5 to 12).

use chrono::TimeDelta;
use contact_service::api::proto::{self, ConfirmationState, Contact, ContactType, Purpose};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, query_number, rejected_fields, rejection},
    requests::{only_id, timestamp},
};

const OLD: &str = "alt@muster.example";
const NEW: &str = "neu@muster.example";

/// A contact with a confirmed address that was sent a link to a new one.
async fn with_link(server: &TestServer) -> (Contact, String) {
    let contact = server.create_customer_with_contact("K-1").await;
    server.set_confirmed_email(&contact, OLD).await;
    server.change_email(&contact, NEW).await.unwrap();
    let token = server.mailed_token(NEW).await;
    (server.contact(&contact).await, token)
}

/// The addresses that receive a payment reminder; there is no ACCOUNTING contact.
async fn used(server: &TestServer) -> Vec<String> {
    let resolution = server.resolve("K-1", Purpose::PaymentReminder).await;
    let recipients = resolution.recipients.into_iter();
    recipients.map(|recipient| recipient.email).collect()
}

async fn state(server: &TestServer, token: &str) -> ConfirmationState {
    server.inspect(token).await.unwrap().state()
}

fn superseded() -> (Code, String) {
    (Code::FailedPrecondition, "CONFIRMATION_SUPERSEDED".into())
}

#[rstest]
#[tokio::test]
async fn rule_5_link_is_sent_to_the_new_address_and_confirms_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (before, token) = with_link(&server).await;
    assert!(token.starts_with("K-1."));
    let pending = before.pending_email.clone().unwrap();
    let inspection = server.inspect(&token).await.unwrap();
    assert_eq!(inspection.state(), ConfirmationState::Pending);
    assert_eq!(inspection.masked_email, "n***@m***.example");
    assert_eq!(inspection.expire_time, pending.expire_time);
    assert_eq!(used(&server).await, [OLD]);
    assert_eq!(server.contact(&before).await, before);

    server.clock.advance(TimeDelta::hours(1));
    let confirmed = server.confirm(&token).await.unwrap();
    assert_eq!(confirmed.customer_number, "K-1");
    assert_eq!(confirmed.contact_id, before.contact_id);
    assert!(!confirmed.already_confirmed);
    let after = server.contact(&before).await;
    let expected = Contact {
        email: NEW.into(),
        email_confirm_time: timestamp(server.now()),
        pending_email: None,
        etag: after.etag.clone(),
        update_time: timestamp(server.now()),
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert_ne!(after.etag, before.etag);
    assert_eq!(used(&server).await, [NEW]);
    assert_eq!(state(&server, &token).await, ConfirmationState::Confirmed);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_CONFIRMED"
    );
    assert_eq!(event.changed_fields, ["email", "pending_email"]);
}

#[rstest]
#[tokio::test]
async fn rule_8_used_link_is_reported_and_changes_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    server.confirm(&token).await.unwrap();
    server.mails().await;
    let before = server.state("K-1").await;
    for _ in 0..2 {
        server.clock.advance(TimeDelta::days(5));
        let again = server.confirm(&token).await.unwrap();
        assert!(again.already_confirmed);
        assert_eq!(again.contact_id, contact.contact_id);
        // Also long after the 7 days: the address was confirmed, the link did not expire.
        assert_eq!(state(&server, &token).await, ConfirmationState::Confirmed);
    }
    assert_eq!(server.state("K-1").await, before);
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn rule_10_replaced_address_is_notified_without_a_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, token) = with_link(&server).await;
    server.confirm(&token).await.unwrap();
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, OLD);
    assert_eq!(mails[0].subject, "Ihre E-Mail-Adresse wurde ersetzt");
    assert!(!mails[0].has_link());
    assert!(!format!("{mails:?}").contains("neu@"));
    assert!(mails[0].text.contains("Anna Schmidt") && mails[0].text.contains("K-1"));
}

#[rstest]
#[tokio::test]
async fn first_address_sends_no_replacement_notice(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let contact = server
        .create_contact("K-1", "Anna", &[ContactType::Standard], NEW)
        .await;
    let token = server.mailed_token(NEW).await;
    server.confirm(&token).await.unwrap();
    assert_eq!(server.contact(&contact).await.email, NEW);
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn emails_use_the_contact_language(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = server.create_customer_with_contact("K-1").await;
    for (locale, subject) in [
        ("de", "Bitte bestätigen Sie Ihre E-Mail-Adresse"),
        ("en", "Please confirm your e-mail address"),
    ] {
        let change = Contact {
            locale: locale.into(),
            ..only_id(&contact)
        };
        server.update_contact(change, &[]).await.unwrap();
        let email = format!("{locale}@muster.example");
        server.change_email(&contact, &email).await.unwrap();
        let mails = server.mails().await;
        assert_eq!((mails[0].subject.as_str(), mails.len()), (subject, 1));
    }
}

#[rstest]
#[tokio::test]
async fn rules_6_and_8_newer_address_or_removal_revokes_the_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, first) = with_link(&server).await;
    let (customer_number, contact_id) = ("K-1".to_owned(), contact.contact_id.clone());

    server
        .change_email(&contact, "neuer@muster.example")
        .await
        .unwrap();
    let second = server.mailed_token("neuer@muster.example").await;
    assert_eq!(rejection(server.confirm(&first).await), superseded());
    assert_eq!(state(&server, &first).await, ConfirmationState::Superseded);
    assert_eq!(used(&server).await, [OLD]);

    let cancellation = proto::CancelEmailChangeRequest {
        customer_number: customer_number.clone(),
        contact_id: contact_id.clone(),
        ..proto::CancelEmailChangeRequest::default()
    };
    let mut client = server.client();
    client.cancel_email_change(cancellation).await.unwrap();
    assert_eq!(rejection(server.confirm(&second).await), superseded());

    // Entering the same address again is a new entry: the first link stays invalid.
    server.change_email(&contact, NEW).await.unwrap();
    let third = server.mailed_token(NEW).await;
    assert_eq!(rejection(server.confirm(&first).await), superseded());
    assert_eq!(state(&server, &third).await, ConfirmationState::Pending);

    // So does choosing the current address again.
    server.change_email(&contact, OLD).await.unwrap();
    assert_eq!(rejection(server.confirm(&third).await), superseded());
    assert_eq!(used(&server).await, [OLD]);

    server.change_email(&contact, NEW).await.unwrap();
    let fourth = server.mailed_token(NEW).await;
    let removal = proto::RemoveEmailRequest {
        customer_number,
        contact_id,
        request_id: String::new(),
        ..proto::RemoveEmailRequest::default()
    };
    client.remove_email(removal).await.unwrap();
    for dead in [&first, &second, &third, &fourth] {
        assert_eq!(rejection(server.confirm(dead).await), superseded());
    }
    assert_eq!(server.contact(&contact).await.email, "");
}

#[rstest]
#[tokio::test]
async fn link_of_a_deleted_contact_is_unknown(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let other = server
        .create_contact("K-1", "Bernd", &[ContactType::Technical], NEW)
        .await;
    let token = server.mailed_token(NEW).await;
    server.delete_contact(&other).await.unwrap();
    let unknown = (Code::NotFound, "CONFIRMATION_NOT_FOUND".to_owned());
    assert_eq!(rejection(server.confirm(&token).await), unknown);
    assert_eq!(rejection(server.inspect(&token).await), unknown);
}

#[rstest]
#[tokio::test]
async fn rule_8_link_confirms_only_its_own_address_and_contact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // Two contacts of one customer and one of another, all with the same pending address.
    let (one, token) = with_link(&server).await;
    let two = server
        .create_contact("K-1", "Bernd", &[ContactType::Technical], NEW)
        .await;
    server.create_customer("K-2").await;
    let three = server
        .create_contact("K-2", "Carla", &[ContactType::Standard], NEW)
        .await;
    server.mails().await;
    server.confirm(&token).await.unwrap();
    assert_eq!(server.contact(&one).await.email, NEW);
    for other in [&two, &three] {
        let contact = server.contact(other).await;
        assert_eq!(contact.email, "");
        assert_eq!(contact, *other);
    }
    // The token covers the customer number.
    let (_, secret) = token.split_once('.').unwrap();
    let unknown = (Code::NotFound, "CONFIRMATION_NOT_FOUND".to_owned());
    for number in ["K-2", "K-9"] {
        let moved = format!("{number}.{secret}");
        assert_eq!(rejection(server.confirm(&moved).await), unknown);
        assert_eq!(rejection(server.inspect(&moved).await), unknown);
    }
}

#[rstest]
#[tokio::test]
async fn every_link_to_a_pending_address_works_until_one_is_used(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, first) = with_link(&server).await;
    server.resend(&contact).await.unwrap();
    let second = server.mailed_token(NEW).await;
    assert_ne!(first, second);
    for token in [&first, &second] {
        assert_eq!(state(&server, token).await, ConfirmationState::Pending);
    }
    assert!(!server.confirm(&first).await.unwrap().already_confirmed);
    assert!(server.confirm(&second).await.unwrap().already_confirmed);
}

#[rstest]
#[tokio::test]
async fn malformed_token_is_rejected_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, token) = with_link(&server).await;
    assert_eq!(rejected_fields(server.confirm("").await), ["token"]);
    assert_eq!(rejected_fields(server.inspect("").await), ["token"]);
    for bad in [
        "nonsense",
        "K-1",
        "K-1.",
        &token[..token.len() - 1],
        &token.to_uppercase(),
        "https://x.example/confirm",
        &format!("x {token}0"),
        &"0".repeat(10_000),
    ] {
        let not_found = (Code::NotFound, "CONFIRMATION_NOT_FOUND".to_owned());
        assert_eq!(rejection(server.confirm(bad).await), not_found);
        assert_eq!(rejection(server.inspect(bad).await), not_found);
    }
}

#[rstest]
#[tokio::test]
async fn database_contents_cannot_open_a_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = server.create_customer_with_contact("K-1").await;
    server.change_email(&contact, NEW).await.unwrap();
    let tokens = "SELECT count(*) FROM confirmation_tokens";
    // Before it is sent, no token exists, not even in the queued e-mail.
    assert_eq!(query_number(&server.database_url, tokens).await, 0);
    server.mailed_token(NEW).await;
    assert_eq!(query_number(&server.database_url, tokens).await, 1);
    let hashes = "SELECT count(*) FROM confirmation_tokens WHERE length(token_hash) = 32";
    assert_eq!(query_number(&server.database_url, hashes).await, 1);
    let mails = "SELECT count(*) FROM outbox_mails";
    assert_eq!(query_number(&server.database_url, mails).await, 0);
}

#[rstest]
#[tokio::test]
async fn validated_or_repeated_requests_send_no_email(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = server.create_customer_with_contact("K-1").await;
    let creation = |validate_only| proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(crate::harness::new_contact("Bernd", &[ContactType::Other])),
        email: NEW.into(),
        validate_only,
        ..proto::CreateContactRequest::default()
    };
    let mut client = server.client();
    client.create_contact(creation(true)).await.unwrap();
    assert!(server.mails().await.is_empty());
    let change = proto::ChangeEmailRequest {
        customer_number: "K-1".into(),
        contact_id: contact.contact_id.clone(),
        email: OLD.into(),
        request_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..proto::ChangeEmailRequest::default()
    };
    for _ in 0..2 {
        client.change_email(change.clone()).await.unwrap();
    }
    server.mailed_token(OLD).await;
    // The address is already pending: nothing changes, so no e-mail is sent.
    server.change_email(&contact, OLD).await.unwrap();
    assert!(server.mails().await.is_empty());
}
