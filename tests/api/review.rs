//! The review of contacts over the wire (rule 33), and its yearly reminder.

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType, FindingKind};
use rstest::rstest;

use crate::{
    harness::{Backend, TestServer},
    requests::timestamp,
};

const YEAR: TimeDelta = TimeDelta::days(365);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);

async fn review(server: &TestServer, number: &str) -> proto::ReviewContactsResponse {
    let customer_number = number.to_owned();
    let request = proto::ReviewContactsRequest { customer_number };
    let response = server.client().review_contacts(request).await;
    response.unwrap().into_inner()
}

async fn mark_reviewed(server: &TestServer, number: &str) -> proto::Customer {
    let request = proto::MarkContactsReviewedRequest {
        customer_number: number.to_owned(),
        ..proto::MarkContactsReviewedRequest::default()
    };
    let response = server.client().mark_contacts_reviewed(request).await;
    response.unwrap().into_inner().customer.unwrap()
}

#[rstest]
#[tokio::test]
async fn findings_name_contacts_and_follow_changes(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let technical = &[ContactType::Technical];
    let bernd = server
        .create_contact("K-1", "Bernd", technical, "bernd@muster.example")
        .await;
    let found = async || {
        let findings = review(&server, "K-1").await.findings.into_iter();
        let found = findings.map(|finding| (finding.kind(), finding.contact_ids));
        found.collect::<Vec<_>>()
    };
    let (a, b) = (anna.contact_id.clone(), bernd.contact_id.clone());
    assert_eq!(
        found().await,
        [
            (FindingKind::NoInvoiceRecipient, vec![]),
            (FindingKind::NoSubstitute, vec![]),
            (FindingKind::NoEmail, vec![a.clone()]),
            (FindingKind::EmailUnconfirmed, vec![b.clone()]),
        ]
    );
    server
        .set_confirmed_email(&bernd, "bernd@muster.example")
        .await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    let enabled = proto::Contact {
        invoice_email_enabled: Some(true),
        ..crate::requests::only_id(&anna)
    };
    server.update_contact(enabled, &[]).await.unwrap();
    assert_eq!(found().await, []);
    server.clock.advance(YEAR + TimeDelta::days(1));
    assert_eq!(
        found().await,
        [(FindingKind::EmailConfirmedLongAgo, vec![a, b])]
    );
}

#[rstest]
#[tokio::test]
async fn lapsed_invoice_email_is_found_until_it_is_reviewed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    server
        .change_email(&anna, "anna@muster.example")
        .await
        .unwrap();
    let set = |enabled| proto::Contact {
        invoice_email_enabled: Some(enabled),
        ..crate::requests::only_id(&anna)
    };
    server.update_contact(set(true), &[]).await.unwrap();
    server.clock.advance(TimeDelta::days(7));
    let has_lapsed = async || {
        let findings = review(&server, "K-1").await.findings;
        let lapsed = FindingKind::InvoiceEmailLapsed;
        findings.iter().any(|finding| finding.kind() == lapsed)
    };
    assert!(has_lapsed().await);
    server.app.clear_expired_emails().await.unwrap();
    assert!(has_lapsed().await);
    server.clock.advance(INSTANT);
    mark_reviewed(&server, "K-1").await;
    assert!(!has_lapsed().await);
}

#[rstest]
#[tokio::test]
async fn review_is_kept_with_time_and_actor(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let before = server.customer("K-1").await;
    assert_eq!(before.contacts_review, None);
    server.clock.advance(TimeDelta::hours(1));
    let reviewed = mark_reviewed(&server, "K-1").await;
    let expected = proto::ContactsReview {
        review_time: timestamp(server.now()),
        reviewed_by: "tester".into(),
    };
    assert_eq!(reviewed.contacts_review, Some(expected.clone()));
    // A form that was opened before can be saved.
    assert_eq!(reviewed.etag, before.etag);
    assert_eq!(server.customer("K-1").await, reviewed);
    assert_eq!(review(&server, "K-1").await.last_review, Some(expected));
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.kind(), proto::EventKind::CustomerContactsReviewed);
    assert_eq!(event.changed_fields, ["contacts_review"]);
}

#[rstest]
#[tokio::test]
async fn reminder_is_sent_once_a_year_after_the_last_review(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let reminded = async || {
        server.app.remind_of_reviews().await.unwrap();
        let mails = server.mails().await.into_iter();
        mails
            .map(|mail| (mail.to, mail.subject))
            .collect::<Vec<_>>()
    };
    let expected = [(
        "info@k-1.example".to_owned(),
        "Sind Ihre Ansprechpartner noch aktuell?".to_owned(),
    )];
    server.clock.advance(YEAR - INSTANT);
    assert_eq!(reminded().await, []);
    server.clock.advance(INSTANT);
    assert_eq!(reminded().await, expected);
    assert_eq!(reminded().await, []);
    server.clock.advance(YEAR - INSTANT);
    mark_reviewed(&server, "K-1").await;
    server.clock.advance(INSTANT);
    assert_eq!(reminded().await, []);
    server.clock.advance(YEAR);
    assert_eq!(reminded().await, expected);
}
