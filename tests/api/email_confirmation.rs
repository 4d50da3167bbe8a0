//! Links: mailed, looked at, used, and dead (rules 5 to 12).

use chrono::TimeDelta;
use contact_service::api::proto::{self, ConfirmationState, Contact, ContactType, Purpose};
use rstest::rstest;
use tonic::Code;

use crate::{
    calls::{only_id, timestamp},
    harness::{Backend, TestServer, query_number, refusal, refused_fields},
};

const OLD: &str = "alt@muster.example";
const NEW: &str = "neu@muster.example";

/// A contact with a confirmed address, to whom a link to a new one was mailed.
async fn with_link(server: &TestServer) -> (Contact, String) {
    let contact = server.create_customer_with_contact("K-1").await;
    server.set_confirmed_email(&contact, OLD).await;
    server.change_email(&contact, NEW).await.unwrap();
    let token = server.mailed_token(NEW).await;
    (server.contact(&contact).await, token)
}

/// To which addresses a payment reminder goes: there is no ACCOUNTING contact.
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
async fn rule_5_the_link_goes_to_the_new_address_and_confirms_it(
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
    assert_eq!(event.kind, "contact.email_confirmed");
    assert_eq!(event.changed_fields, ["email", "pending_email"]);
}

#[rstest]
#[tokio::test]
async fn rule_8_a_used_link_is_told_so_and_changes_nothing(
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
        // Also long after the 7 days: it was confirmed, not lost.
        assert_eq!(state(&server, &token).await, ConfirmationState::Confirmed);
    }
    assert_eq!(server.state("K-1").await, before);
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn rule_10_the_replaced_address_is_told_without_a_link(
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
async fn a_first_address_replaces_none_and_nobody_is_told(
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
async fn mails_are_in_the_contacts_language(
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
async fn rules_6_and_8_a_newer_address_a_cancellation_and_a_removal_kill_the_link(
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
    assert_eq!(refusal(server.confirm(&first).await), superseded());
    assert_eq!(state(&server, &first).await, ConfirmationState::Superseded);
    assert_eq!(used(&server).await, [OLD]);

    let cancellation = proto::CancelEmailChangeRequest {
        customer_number: customer_number.clone(),
        contact_id: contact_id.clone(),
    };
    let mut client = server.client();
    client.cancel_email_change(cancellation).await.unwrap();
    assert_eq!(refusal(server.confirm(&second).await), superseded());

    // The same address entered again is another entering: the first link stays dead.
    server.change_email(&contact, NEW).await.unwrap();
    let third = server.mailed_token(NEW).await;
    assert_eq!(refusal(server.confirm(&first).await), superseded());
    assert_eq!(state(&server, &third).await, ConfirmationState::Pending);

    // So does choosing the current one again.
    server.change_email(&contact, OLD).await.unwrap();
    assert_eq!(refusal(server.confirm(&third).await), superseded());
    assert_eq!(used(&server).await, [OLD]);

    server.change_email(&contact, NEW).await.unwrap();
    let fourth = server.mailed_token(NEW).await;
    let removal = proto::RemoveEmailRequest {
        customer_number,
        contact_id,
        request_id: String::new(),
    };
    client.remove_email(removal).await.unwrap();
    for dead in [&first, &second, &third, &fourth] {
        assert_eq!(refusal(server.confirm(dead).await), superseded());
    }
    assert_eq!(server.contact(&contact).await.email, "");
}

#[rstest]
#[tokio::test]
async fn a_link_of_a_contact_that_was_deleted_is_not_known(
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
    assert_eq!(refusal(server.confirm(&token).await), unknown);
    assert_eq!(refusal(server.inspect(&token).await), unknown);
}

#[rstest]
#[tokio::test]
async fn rule_8_a_link_confirms_no_address_but_its_own_and_for_no_contact_but_its_own(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // Two contacts of one customer and one of another, all with the same address pending.
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
    // The customer number in the token is part of it.
    let (_, secret) = token.split_once('.').unwrap();
    let unknown = (Code::NotFound, "CONFIRMATION_NOT_FOUND".to_owned());
    for number in ["K-2", "K-9"] {
        let moved = format!("{number}.{secret}");
        assert_eq!(refusal(server.confirm(&moved).await), unknown);
        assert_eq!(refusal(server.inspect(&moved).await), unknown);
    }
}

#[rstest]
#[tokio::test]
async fn every_mailed_link_to_a_pending_address_works_until_one_was_used(
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
async fn a_text_that_is_no_token_is_refused_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, token) = with_link(&server).await;
    assert_eq!(refused_fields(server.confirm("").await), ["token"]);
    assert_eq!(refused_fields(server.inspect("").await), ["token"]);
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
        assert_eq!(refusal(server.confirm(bad).await), not_found);
        assert_eq!(refusal(server.inspect(bad).await), not_found);
    }
}

#[rstest]
#[tokio::test]
async fn nothing_in_the_database_opens_a_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = server.create_customer_with_contact("K-1").await;
    server.change_email(&contact, NEW).await.unwrap();
    let tokens = "SELECT count(*) FROM confirmation_tokens";
    // Before it is sent there is no token at all, also not in the queued mail.
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
async fn what_is_only_checked_or_repeated_mails_nothing_more(
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
    };
    for _ in 0..2 {
        client.change_email(change.clone()).await.unwrap();
    }
    server.mailed_token(OLD).await;
    // The address that is pending already: nothing is changed, so nothing is mailed.
    server.change_email(&contact, OLD).await.unwrap();
    assert!(server.mails().await.is_empty());
}
