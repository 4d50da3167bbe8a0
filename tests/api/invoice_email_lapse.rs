//! Invoice e-mail lapses with the last address of a contact (rule 22). The tests move the clock.

use chrono::TimeDelta;
use contact_service::api::proto::{
    self, Contact, ContactType, Delivery, ExclusionReason, Purpose, recipients_result::Outcome,
};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, new_contact, rejection},
    requests::{only_id, timestamp},
};

const ADDRESS: &str = "rechnung@muster.example";
const WEEK: TimeDelta = TimeDelta::days(7);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);
const EXPIRED: &str = "EVENT_KIND_CONTACT_PENDING_EMAIL_EXPIRED";
const LAPSED: &str = "EVENT_KIND_CONTACT_INVOICE_EMAIL_LAPSED";

/// Creates a customer whose ACCOUNTING contact gets invoices at a pending address.
async fn prepare(server: &TestServer) -> Contact {
    server.create_customer_with_contact("K-1").await;
    let request = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(Contact {
            invoice_email_enabled: Some(true),
            ..new_contact("Buchhaltung", &[ContactType::Accounting])
        }),
        email: ADDRESS.into(),
        ..proto::CreateContactRequest::default()
    };
    let created = server.client().create_contact(request).await.unwrap();
    created.into_inner().contact.unwrap()
}

/// The contact as every read shows it; all reads must agree.
async fn read_everywhere(server: &TestServer, contact: &Contact) -> Contact {
    let got = server.contact(contact).await;
    let listed = server.contacts("K-1").await;
    assert_eq!(listed.last(), Some(&got));
    // Concurrent requests share a query.
    let many = futures::future::join_all((0..8).map(|_| server.contact(contact))).await;
    assert!(many.iter().all(|other| *other == got));
    let enabled = got.invoice_email_enabled.unwrap();

    let one = server.resolve("K-1", Purpose::Invoice).await;
    let sent = proto::StreamRecipientsRequest {
        customer_numbers: vec!["K-1".into()],
        purpose: Purpose::Invoice.into(),
        ..proto::StreamRecipientsRequest::default()
    };
    let streamed = server
        .client()
        .stream_recipients(tokio_stream::iter([sent]))
        .await;
    let message = streamed
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        message.results[0].outcome,
        Some(Outcome::Resolution(one.clone()))
    );
    assert_eq!(one.delivery(), Delivery::Postal);
    let reasons: Vec<_> = one
        .exclusions
        .iter()
        .map(proto::Exclusion::reason)
        .collect();
    let reason = if enabled {
        ExclusionReason::EmailUnconfirmed
    } else {
        ExclusionReason::InvoiceEmailOff
    };
    assert_eq!(reasons, [ExclusionReason::InvoiceEmailOff, reason]);
    got
}

async fn exported(server: &TestServer) -> Contact {
    let request = proto::ExportCustomerRequest {
        customer_number: "K-1".into(),
    };
    let export = server.client().export_customer(request).await.unwrap();
    export.into_inner().contacts.pop().unwrap()
}

#[rstest]
#[tokio::test]
async fn rule_22_every_read_shows_the_lapse_immediately(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let before = prepare(&server).await;
    let expiry = server.now() + WEEK;
    server.clock.advance(WEEK - INSTANT);
    assert_eq!(read_everywhere(&server, &before).await, before);

    server.clock.advance(INSTANT);
    let lapsed = read_everywhere(&server, &before).await;
    assert_ne!(lapsed.etag, before.etag);
    let expected = Contact {
        pending_email: None,
        invoice_email_enabled: Some(false),
        invoice_email_available: false,
        etag: lapsed.etag.clone(),
        update_time: timestamp(expiry),
        ..before.clone()
    };
    assert_eq!(lapsed, expected);
    assert_eq!(exported(&server).await, expected);

    // The worker stores and records the state that reads show already.
    server.clock.advance(TimeDelta::hours(1));
    assert_eq!(server.app.clear_expired_emails().await, Ok(1));
    assert_eq!(server.app.clear_expired_emails().await, Ok(0));
    assert_eq!(read_everywhere(&server, &before).await, expected);
    assert_eq!(exported(&server).await, expected);
    let events = server.events("K-1").await;
    let recorded: Vec<_> = events
        .iter()
        .filter(|event| event.actor == "contact-service")
        .map(|event| (event.kind().as_str_name(), event.changed_fields.join(" ")))
        .collect();
    let fields = ["invoice_email_enabled", "pending_email"].map(str::to_owned);
    let [invoice, pending] = fields;
    assert_eq!(recorded, [(LAPSED, invoice), (EXPIRED, pending)]);
    assert!(
        events
            .iter()
            .all(|event| event.kind().as_str_name() != LAPSED
                || event.contact_id == before.contact_id)
    );
}

#[rstest]
#[tokio::test]
async fn rule_22_etag_from_before_the_lapse_is_stale(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(false, true)] worker_ran: bool,
) {
    let server = TestServer::start(backend).await;
    let before = prepare(&server).await;
    server.clock.advance(WEEK);
    if worker_ran {
        server.app.clear_expired_emails().await.unwrap();
    }
    let renamed = |etag: &str| Contact {
        display_name: "Rechnungen".into(),
        etag: etag.into(),
        ..only_id(&before)
    };
    let stale = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    let rejected = server.update_contact(renamed(&before.etag), &[]).await;
    assert_eq!(rejection(rejected), stale);
    let deletion = |etag: &str| proto::DeleteContactRequest {
        customer_number: "K-1".into(),
        contact_id: before.contact_id.clone(),
        etag: etag.into(),
        ..proto::DeleteContactRequest::default()
    };
    let rejected = server.client().delete_contact(deletion(&before.etag)).await;
    assert_eq!(rejection(rejected), stale);

    let shown = server.contact(&before).await;
    let checked = proto::UpdateContactRequest {
        contact: Some(renamed(&shown.etag)),
        validate_only: true,
        ..proto::UpdateContactRequest::default()
    };
    server.client().update_contact(checked).await.unwrap();
    assert_eq!(server.contact(&before).await, shown);
    let updated = server
        .update_contact(renamed(&shown.etag), &[])
        .await
        .unwrap();
    assert_eq!(updated.invoice_email_enabled, Some(false));
    // Independent of which one stores it, the lapse is recorded once, before the change.
    let kinds: Vec<_> = server
        .events("K-1")
        .await
        .into_iter()
        .map(|event| event.kind().as_str_name())
        .collect();
    assert_eq!(kinds[..3], ["EVENT_KIND_CONTACT_UPDATED", LAPSED, EXPIRED]);
    assert_eq!(kinds.iter().filter(|kind| **kind == LAPSED).count(), 1);
    let deleted = server
        .client()
        .delete_contact(deletion(&updated.etag))
        .await;
    assert!(deleted.is_ok());
}

#[rstest]
#[tokio::test]
async fn rule_22_lapsed_contact_can_be_deleted_with_its_etag(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let before = prepare(&server).await;
    server.clock.advance(WEEK);
    let etag = server.contact(&before).await.etag;
    let deletion = proto::DeleteContactRequest {
        customer_number: "K-1".into(),
        contact_id: before.contact_id.clone(),
        etag,
        ..proto::DeleteContactRequest::default()
    };
    assert!(server.client().delete_contact(deletion).await.is_ok());
}

#[rstest]
#[tokio::test]
async fn rule_22_reentered_address_enables_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(false, true)] worker_ran: bool,
) {
    let server = TestServer::start(backend).await;
    let before = prepare(&server).await;
    server.mails().await;
    server.clock.advance(WEEK);
    if worker_ran {
        server.app.clear_expired_emails().await.unwrap();
    }
    let enable = || Contact {
        invoice_email_enabled: Some(true),
        ..only_id(&before)
    };
    let rejected = server.update_contact(enable(), &[]).await;
    assert_eq!(rejection(rejected).1, "INVOICE_EMAIL_NOT_ALLOWED");

    let entered = server.change_email(&before, ADDRESS).await.unwrap();
    assert_eq!(entered.invoice_email_enabled, Some(false));
    let token = server.mailed_token(ADDRESS).await;
    server.confirm(&token).await.unwrap();
    let confirmed = server.contact(&before).await;
    assert_eq!(confirmed.email, ADDRESS);
    assert_eq!(confirmed.invoice_email_enabled, Some(false));
    let enabled = server.update_contact(enable(), &[]).await.unwrap();
    assert_eq!(enabled.invoice_email_enabled, Some(true));
    let resolution = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(resolution.recipients[0].email, ADDRESS);
}

#[rstest]
#[tokio::test]
async fn rule_22_no_lapse_while_a_current_address_remains(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = prepare(&server).await;
    server
        .confirm(&server.mailed_token(ADDRESS).await)
        .await
        .unwrap();
    let before = server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let expiry = server.now() + WEEK;
    server.clock.advance(WEEK);
    let after = server.contact(&contact).await;
    let expected = Contact {
        pending_email: None,
        etag: after.etag.clone(),
        update_time: timestamp(expiry),
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert_ne!(after.etag, before.etag);
    assert_eq!(after.invoice_email_enabled, Some(true));
    server.app.clear_expired_emails().await.unwrap();
    assert_eq!(server.contact(&contact).await, expected);
    let resolution = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(resolution.recipients[0].email, ADDRESS);
    let events = server.events("K-1").await;
    assert_eq!(events[0].kind().as_str_name(), EXPIRED);
    assert!(
        events
            .iter()
            .all(|event| event.kind().as_str_name() != LAPSED)
    );
}
