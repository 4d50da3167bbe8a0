//! `ChangeEmail`, `RemoveEmail` and `CancelEmailChange` over the wire (rules 5 to 8, 12, 22).

use chrono::TimeDelta;
use contact_service::api::proto::{self, Contact, ContactType, ExclusionReason, Purpose};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::{only_id, timestamp},
};

const WEEK: TimeDelta = TimeDelta::days(7);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);
const ACCOUNTING: &[ContactType] = &[ContactType::Accounting];

async fn remove(server: &TestServer, contact: &Contact) -> Result<Contact, Status> {
    let request = proto::RemoveEmailRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::RemoveEmailRequest::default()
    };
    let response = server.client().remove_email(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn cancel(server: &TestServer, contact: &Contact) -> Result<Contact, Status> {
    let request = proto::CancelEmailChangeRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::CancelEmailChangeRequest::default()
    };
    let response = server.client().cancel_email_change(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn switch_invoices(
    server: &TestServer,
    contact: &Contact,
    on: bool,
) -> Result<Contact, Status> {
    let change = Contact {
        invoice_email_enabled: Some(on),
        ..only_id(contact)
    };
    server.update_contact(change, &[]).await
}

/// The ACCOUNTING contact of customer K-1.
async fn contact_with(server: &TestServer, confirmed: &str) -> Contact {
    server.create_customer_with_contact("K-1").await;
    let contact = server
        .create_contact("K-1", "Bernd Maier", ACCOUNTING, "")
        .await;
    if !confirmed.is_empty() {
        server.set_confirmed_email(&contact, confirmed).await;
    }
    server.contact(&contact).await
}

/// The addresses that receive a payment reminder.
async fn reminded(server: &TestServer) -> Vec<String> {
    let resolution = server.resolve("K-1", Purpose::PaymentReminder).await;
    resolution
        .recipients
        .into_iter()
        .map(|recipient| recipient.email)
        .collect()
}

fn addresses(contact: &Contact) -> (&str, Option<&str>) {
    let pending = contact.pending_email.as_ref();
    (
        &contact.email,
        pending.map(|pending| pending.email.as_str()),
    )
}

#[rstest]
#[tokio::test]
async fn rule_5_new_address_is_pending_and_current_stays_in_use(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let before = contact_with(&server, "b@muster.example").await;
    server.clock.advance(TimeDelta::hours(1));
    let changed = server
        .change_email(&before, "neu@muster.example")
        .await
        .unwrap();
    let expected = Contact {
        pending_email: Some(proto::PendingEmail {
            bounce_time: None,
            email: "neu@muster.example".into(),
            request_time: timestamp(server.now()),
            expire_time: timestamp(server.now() + WEEK),
            resends_left: 3,
            ..proto::PendingEmail::default()
        }),
        etag: changed.etag.clone(),
        update_time: timestamp(server.now()),
        ..before.clone()
    };
    assert_eq!(changed, expected);
    assert_ne!(changed.etag, before.etag);
    assert_eq!(server.contact(&before).await, changed);
    assert_eq!(server.contacts("K-1").await[1], changed);
    assert_eq!(reminded(&server).await, ["b@muster.example"]);

    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_CHANGED"
    );
    assert_eq!(event.changed_fields, ["pending_email"]);
}

#[rstest]
#[tokio::test]
async fn rule_5_pending_address_receives_no_mail(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    switch_invoices(&server, &contact, true).await.unwrap();
    for purpose in [Purpose::PaymentReminder, Purpose::Invoice] {
        let resolution = server.resolve("K-1", purpose).await;
        let written = resolution
            .recipients
            .iter()
            .any(|r| r.contact_id == contact.contact_id);
        let reasons = resolution
            .exclusions
            .iter()
            .filter(|e| e.contact_id == contact.contact_id);
        let reasons: Vec<_> = reasons.map(proto::Exclusion::reason).collect();
        assert!(!written);
        assert_eq!(reasons, [ExclusionReason::EmailUnconfirmed], "{purpose:?}");
    }
}

#[rstest]
#[tokio::test]
async fn rule_7_pending_address_expires_after_seven_days(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "b@muster.example").await;
    let changed = server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    server.clock.advance(WEEK - INSTANT);
    assert_eq!(server.contact(&contact).await, changed);

    server.clock.advance(INSTANT);
    let shown = server.contact(&contact).await;
    assert_ne!(shown.etag, changed.etag);
    let expired = Contact {
        pending_email: None,
        etag: shown.etag.clone(),
        update_time: timestamp(server.now()),
        ..changed
    };
    assert_eq!(shown, expired);
    assert_eq!(server.contacts("K-1").await[1], expired);
    let rejected = rejection(cancel(&server, &contact).await);
    assert_eq!(
        rejected,
        (Code::FailedPrecondition, "NO_PENDING_EMAIL".into())
    );
    assert_eq!(reminded(&server).await, ["b@muster.example"]);
    // It may be entered again and gets seven days of its own.
    let again = server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let expire_time = again.pending_email.unwrap().expire_time;
    assert_eq!(expire_time, timestamp(server.now() + WEEK));
}

#[rstest]
#[tokio::test]
async fn rule_8_newer_address_replaces_the_pending_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    server
        .change_email(&contact, "alt@muster.example")
        .await
        .unwrap();
    server.clock.advance(TimeDelta::days(6));
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    server.clock.advance(WEEK - INSTANT);
    let changed = server.contact(&contact).await;
    assert_eq!(addresses(&changed), ("", Some("neu@muster.example")));
    assert_eq!(changed.pending_email.unwrap().resends_left, 3);
}

#[rstest]
#[tokio::test]
async fn rules_7_and_11_reentry_does_not_extend_the_deadline(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    let first = server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    server.clock.advance(TimeDelta::days(6));
    let again = server
        .change_email(&contact, "NEU@Muster.example")
        .await
        .unwrap();
    assert_eq!(again, first);
    server.clock.advance(TimeDelta::days(1));
    assert_eq!(server.contact(&contact).await.pending_email, None);
}

#[rstest]
#[tokio::test]
async fn choosing_the_current_address_drops_the_pending_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "b@muster.example").await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let back = server
        .change_email(&contact, "B@Muster.EXAMPLE")
        .await
        .unwrap();
    assert_eq!(addresses(&back), ("b@muster.example", None));
    assert_eq!(server.contact(&contact).await, back);
    // With nothing pending, nothing changes.
    let same = server
        .change_email(&contact, "b@muster.example")
        .await
        .unwrap();
    assert_eq!(same, back);
    assert_eq!(reminded(&server).await, ["b@muster.example"]);
}

#[rstest]
#[tokio::test]
async fn rule_6_cancellation_keeps_the_current_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "b@muster.example").await;
    let nothing = (Code::FailedPrecondition, "NO_PENDING_EMAIL".to_owned());
    assert_eq!(rejection(cancel(&server, &contact).await), nothing);
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let cancelled = cancel(&server, &contact).await.unwrap();
    assert_eq!(addresses(&cancelled), ("b@muster.example", None));
    assert_eq!(server.contact(&contact).await, cancelled);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_CHANGE_CANCELLED"
    );
    assert_eq!(event.changed_fields, ["pending_email"]);
    assert_eq!(rejection(cancel(&server, &contact).await), nothing);
    assert_eq!(server.events("K-1").await[0], event);
}

#[rstest]
#[tokio::test]
async fn removal_clears_confirmed_and_pending_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "b@muster.example").await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let removed = remove(&server, &contact).await.unwrap();
    assert_eq!(addresses(&removed), ("", None));
    assert_eq!(server.contact(&contact).await, removed);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_EMAIL_REMOVED"
    );
    assert_eq!(event.changed_fields, ["email", "pending_email"]);
    assert_eq!(reminded(&server).await, ["info@k-1.example"]);
    assert_eq!(remove(&server, &contact).await.unwrap(), removed);

    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    let removed = remove(&server, &contact).await.unwrap();
    assert_eq!(addresses(&removed), ("", None));
}

#[rstest]
#[tokio::test]
async fn rule_12_domain_is_stored_in_lower_case_ascii(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    let changed = server
        .change_email(&contact, " Anna.Schmidt@MÜLLER.Example ")
        .await
        .unwrap();
    assert_eq!(
        addresses(&changed),
        ("", Some("Anna.Schmidt@xn--mller-kva.example"))
    );
    assert_eq!(server.contact(&contact).await, changed);
}

#[rstest]
#[tokio::test]
async fn rule_12_two_contacts_may_share_an_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let one = contact_with(&server, "shared@muster.example").await;
    let two = server
        .create_contact("K-1", "Carla", ACCOUNTING, "Shared@Muster.example")
        .await;
    assert_eq!(addresses(&two), ("", Some("Shared@muster.example")));
    let three = server.create_contact("K-1", "Dora", ACCOUNTING, "").await;
    server
        .change_email(&three, "shared@muster.example")
        .await
        .unwrap();
    server
        .set_confirmed_email(&two, "Shared@Muster.example")
        .await;
    assert_eq!(
        addresses(&server.contact(&one).await),
        ("shared@muster.example", None)
    );
    assert_eq!(
        addresses(&server.contact(&two).await),
        ("Shared@muster.example", None)
    );
    // No address receives an e-mail twice.
    assert_eq!(reminded(&server).await, ["shared@muster.example"]);
}

#[rstest]
#[tokio::test]
async fn rule_22_last_address_is_kept_while_invoice_email_is_on(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let rejected = (
        Code::FailedPrecondition,
        "INVOICE_EMAIL_NOT_ALLOWED".to_owned(),
    );
    let contact = contact_with(&server, "").await;

    // Pending only: can be neither removed nor cancelled.
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    switch_invoices(&server, &contact, true).await.unwrap();
    let before = server.state("K-1").await;
    assert_eq!(rejection(remove(&server, &contact).await), rejected);
    assert_eq!(rejection(cancel(&server, &contact).await), rejected);
    assert_eq!(server.state("K-1").await, before);

    // With a current address the pending one may be cancelled, the current one may not be
    // removed.
    server
        .set_confirmed_email(&contact, "b@muster.example")
        .await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    cancel(&server, &contact).await.unwrap();
    assert_eq!(rejection(remove(&server, &contact).await), rejected);
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    assert_eq!(rejection(remove(&server, &contact).await), rejected);

    // Once invoice e-mail is off, the address may be removed.
    switch_invoices(&server, &contact, false).await.unwrap();
    let removed = remove(&server, &contact).await.unwrap();
    assert_eq!(addresses(&removed), ("", None));
}

#[rstest]
#[tokio::test]
async fn rule_22_expired_address_cannot_enable_invoice_email(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    server
        .change_email(&contact, "neu@muster.example")
        .await
        .unwrap();
    switch_invoices(&server, &contact, true).await.unwrap();
    server.clock.advance(WEEK);

    // Invoice e-mail lapsed with it, so other changes are not blocked.
    let renamed = Contact {
        display_name: "Bernd Maier-Schmidt".into(),
        ..only_id(&contact)
    };
    let renamed = server.update_contact(renamed, &[]).await.unwrap();
    assert_eq!(renamed.invoice_email_enabled, Some(false));
    remove(&server, &contact).await.unwrap();
    let invoice = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(invoice.delivery(), proto::Delivery::Postal);

    let rejected = rejection(switch_invoices(&server, &contact, true).await);
    assert_eq!(
        rejected,
        (Code::FailedPrecondition, "INVOICE_EMAIL_NOT_ALLOWED".into())
    );
}

#[rstest]
#[tokio::test]
async fn unknown_contact_is_not_found(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contact = contact_with(&server, "").await;
    server.create_customer("K-2").await;
    for (number, reason) in [("K-2", "CONTACT_NOT_FOUND"), ("K-9", "CUSTOMER_NOT_FOUND")] {
        let elsewhere = Contact {
            customer_number: number.into(),
            ..contact.clone()
        };
        let changed = server.change_email(&elsewhere, "neu@muster.example").await;
        for rejected in [
            changed,
            remove(&server, &elsewhere).await,
            cancel(&server, &elsewhere).await,
        ] {
            assert_eq!(rejection(rejected), (Code::NotFound, reason.into()));
        }
    }
    for bad in [
        "",
        "muster.example",
        "a@b@muster.example",
        "\"a\"@muster.example",
        "a@localhost",
    ] {
        let rejected = server.change_email(&contact, bad).await;
        assert_eq!(rejected_fields(rejected), ["email"], "{bad}");
    }
    let unknown = Contact::default();
    let rejected = server.change_email(&unknown, "").await;
    assert_eq!(
        rejected_fields(rejected),
        ["customer_number", "contact_id", "email"]
    );
    for rejected in [
        remove(&server, &unknown).await,
        cancel(&server, &unknown).await,
    ] {
        assert_eq!(rejected_fields(rejected), ["customer_number", "contact_id"]);
    }
}
