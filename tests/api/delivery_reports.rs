//! Reports about deliveries (rule 32): marks, what removes them, and the guard against bursts.

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{
    self, ContactType, DeliveryReport, DeliveryReportResult as Effect, DeliveryStatus as Status,
    EventKind, ExclusionReason, FindingKind, Purpose,
};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::timestamp,
};

const STANDARD: &[ContactType] = &[ContactType::Standard];
const ANNA: &str = "anna@k-1.example";
const DATA: &str = "info@k-1.example";

fn report(email: &str, status: Status, code: &str, time: DateTime<Utc>) -> DeliveryReport {
    DeliveryReport {
        customer_number: "K-1".into(),
        contact_id: String::new(),
        email: email.into(),
        status: status.into(),
        enhanced_status_code: code.into(),
        report_time: timestamp(time),
    }
}

async fn send(
    server: &TestServer,
    reports: Vec<DeliveryReport>,
    accept_burst: bool,
) -> Result<Vec<Effect>, tonic::Status> {
    let request = proto::ReportDeliveriesRequest {
        reports,
        accept_burst,
        validate_only: false,
    };
    let response = server
        .client()
        .report_deliveries(request)
        .await?
        .into_inner();
    Ok(response.results().collect())
}

async fn send_one(server: &TestServer, report: DeliveryReport) -> Effect {
    send(server, vec![report], false).await.unwrap()[0]
}

/// Customer K-1 with a contact and an address of its contact data.
async fn prepare(backend: Backend) -> (TestServer, proto::Contact) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    set_contact_data(&server, DATA).await;
    let anna = server.create_contact("K-1", "Anna", STANDARD, "").await;
    server.set_confirmed_email(&anna, ANNA).await;
    server.clock.advance(TimeDelta::minutes(1));
    (server, anna)
}

async fn set_contact_data(server: &TestServer, email: &str) {
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-1".into(),
            contact_data: Some(proto::ContactData {
                email: email.into(),
                ..proto::ContactData::default()
            }),
            ..proto::Customer::default()
        }),
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(request).await.unwrap();
}

async fn is_reviewed_as_bounced(server: &TestServer) -> bool {
    let request = proto::ReviewContactsRequest {
        customer_number: "K-1".into(),
    };
    let response = server.client().review_contacts(request).await;
    let findings = response.unwrap().into_inner().findings;
    let mut kinds = findings.iter().map(proto::Finding::kind);
    kinds.any(|kind| kind == FindingKind::ContactDataEmailBounced)
}

async fn resolve(server: &TestServer, purpose: Purpose) -> (Vec<String>, Vec<ExclusionReason>) {
    let request = proto::ResolveRecipientsRequest {
        customer_number: "K-1".into(),
        purpose: purpose.into(),
        attention_line_chars: 0,
    };
    let response = server.client().resolve_recipients(request).await.unwrap();
    let resolution = response.into_inner().resolution.unwrap();
    let recipients = resolution.recipients.into_iter();
    let exclusions = resolution.exclusions.iter().map(proto::Exclusion::reason);
    (
        recipients.map(|recipient| recipient.email).collect(),
        exclusions.collect(),
    )
}

#[rstest]
#[tokio::test]
async fn rule_32_reports_of_a_customer_are_applied_in_their_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let start = server.now();
    server.clock.advance(TimeDelta::hours(1));
    let at = |status, minutes| report(ANNA, status, "", start + TimeDelta::minutes(minutes));
    let (failed, delivered) = (Status::FailedPermanently, Status::Delivered);
    let reports = vec![
        at(delivered, 1),
        at(failed, 2),
        at(delivered, 3),
        at(failed, 2),
        at(failed, 4),
    ];
    let expected = [
        Effect::Unchanged,
        Effect::Marked,
        Effect::Cleared,
        Effect::IgnoredOutdated,
        Effect::Marked,
    ];
    assert_eq!(send(&server, reports, false).await.unwrap(), expected);
    let bounced = server.contact(&anna).await.email_bounce_time;
    assert_eq!(bounced, timestamp(start + TimeDelta::minutes(4)));
}

/// The events of these kinds, oldest first: kind, contact and details.
async fn events(server: &TestServer) -> Vec<(EventKind, String, Vec<(String, String)>)> {
    const KINDS: [EventKind; 6] = [
        EventKind::ContactEmailBounced,
        EventKind::ContactEmailBounceCleared,
        EventKind::CustomerEmailBounced,
        EventKind::CustomerEmailBounceCleared,
        EventKind::ContactEmailComplaint,
        EventKind::CustomerEmailComplaint,
    ];
    let events = server.events("K-1").await.into_iter().rev();
    let events = events.filter(|event| KINDS.contains(&event.kind()));
    events
        .map(|event| {
            let kind = event.kind();
            let mut details: Vec<_> = event.details.into_iter().collect();
            details.sort();
            (kind, event.contact_id, details)
        })
        .collect()
}

fn code(text: &str) -> Vec<(String, String)> {
    vec![("status_code".to_owned(), text.to_owned())]
}

#[rstest]
#[tokio::test]
async fn rule_32_failed_address_of_a_contact_is_marked_until_it_is_delivered_to(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let start = server.now();
    let failed = |minutes| {
        let time = start + TimeDelta::minutes(minutes);
        report(ANNA, Status::FailedPermanently, "5.1.1", time)
    };
    let delivered = |minutes| {
        let time = start + TimeDelta::minutes(minutes);
        report(ANNA, Status::Delivered, "2.0.0", time)
    };
    server.clock.advance(TimeDelta::hours(1));
    let etag = server.contact(&anna).await.etag;
    assert_eq!(send_one(&server, delivered(1)).await, Effect::Unchanged);
    assert_eq!(send_one(&server, failed(5)).await, Effect::Marked);
    assert_eq!(
        resolve(&server, Purpose::Invoice).await,
        (vec![], vec![ExclusionReason::InvoiceEmailOff])
    );
    let bounced = server.contact(&anna).await;
    assert_eq!(
        bounced.email_bounce_time,
        timestamp(start + TimeDelta::minutes(5))
    );
    assert_eq!(bounced.etag, etag);
    // Repeated, and a delivery from before.
    assert_eq!(send_one(&server, failed(5)).await, Effect::Marked);
    assert_eq!(
        send_one(&server, delivered(5)).await,
        Effect::IgnoredOutdated
    );
    assert!(server.contact(&anna).await.email_bounce_time.is_some());

    assert_eq!(send_one(&server, delivered(6)).await, Effect::Cleared);
    assert_eq!(server.contact(&anna).await.email_bounce_time, None);
    // All of it again, in whatever order.
    assert_eq!(send_one(&server, failed(5)).await, Effect::IgnoredOutdated);
    assert_eq!(send_one(&server, delivered(6)).await, Effect::Unchanged);
    assert_eq!(server.contact(&anna).await.email_bounce_time, None);
    assert_eq!(send_one(&server, failed(7)).await, Effect::Marked);
    let of_anna = |kind, code_text| (kind, anna.contact_id.clone(), code(code_text));
    assert_eq!(
        events(&server).await,
        [
            of_anna(EventKind::ContactEmailBounced, "5.1.1"),
            of_anna(EventKind::ContactEmailBounceCleared, "2.0.0"),
            of_anna(EventKind::ContactEmailBounced, "5.1.1"),
        ]
    );
    // A confirmation proves that the address works.
    server.set_confirmed_email(&anna, ANNA).await;
    assert_eq!(server.contact(&anna).await.email_bounce_time, None);
    assert_eq!(send_one(&server, failed(59)).await, Effect::IgnoredOutdated);
}

#[rstest]
#[tokio::test]
async fn rule_32_failed_contact_data_falls_back_at_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, _) = prepare(backend).await;
    let failed = report(DATA, Status::FailedPermanently, "", server.now());
    assert_eq!(resolve(&server, Purpose::General).await.0, [DATA]);
    assert_eq!(send_one(&server, failed.clone()).await, Effect::Marked);
    let (recipients, exclusions) = resolve(&server, Purpose::General).await;
    assert_eq!(recipients, [ANNA]);
    assert_eq!(exclusions, [ExclusionReason::EmailBounced]);
    let request = proto::GetCustomerRequest {
        customer_number: "K-1".into(),
    };
    let customer = server.client().get_customer(request).await.unwrap();
    let data = customer
        .into_inner()
        .customer
        .unwrap()
        .contact_data
        .unwrap();
    assert_eq!(data.email_bounce_time, failed.report_time);
    assert!(is_reviewed_as_bounced(&server).await);
    // A newer address is not affected, and neither is the old one once it is entered again.
    server.clock.advance(TimeDelta::minutes(1));
    set_contact_data(&server, "new@k-1.example").await;
    assert!(!is_reviewed_as_bounced(&server).await);
    assert_eq!(
        send_one(&server, failed.clone()).await,
        Effect::IgnoredNotCurrent
    );
    assert_eq!(
        resolve(&server, Purpose::General).await.0,
        ["new@k-1.example"]
    );
    set_contact_data(&server, DATA).await;
    assert_eq!(send_one(&server, failed).await, Effect::IgnoredOutdated);
    assert_eq!(resolve(&server, Purpose::General).await.0, [DATA]);
    assert_eq!(
        events(&server).await,
        [(EventKind::CustomerEmailBounced, String::new(), vec![])]
    );
}

#[rstest]
#[tokio::test]
async fn rule_32_shared_address_is_marked_wherever_the_customer_has_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    set_contact_data(&server, "Anna@K-1.example").await;
    let berta = server.create_contact("K-1", "Berta", STANDARD, "").await;
    server.set_confirmed_email(&berta, ANNA).await;
    server.clock.advance(TimeDelta::minutes(1));
    let failed = DeliveryReport {
        contact_id: anna.contact_id.clone(),
        ..report(
            "ANNA@k-1.example",
            Status::FailedPermanently,
            "5.2.1",
            server.now(),
        )
    };
    assert_eq!(send_one(&server, failed).await, Effect::Marked);
    let kinds: Vec<_> = events(&server)
        .await
        .into_iter()
        .map(|event| event.0)
        .collect();
    let contact = EventKind::ContactEmailBounced;
    assert_eq!(kinds, [contact, contact, EventKind::CustomerEmailBounced]);
    assert!(resolve(&server, Purpose::General).await.0.is_empty());
    // One of them confirms the address, which proves that it works.
    server.set_confirmed_email(&berta, ANNA).await;
    assert_eq!(resolve(&server, Purpose::General).await.0.len(), 1);
}

#[rstest]
#[tokio::test]
async fn rule_32_reports_that_change_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, _) = prepare(backend).await;
    let now = server.now();
    let of = |status, code: &str| report(ANNA, status, code, now);
    let permanent = Status::FailedPermanently;
    let other = "other@k-1.example";
    let unknown = DeliveryReport {
        customer_number: "K-0".into(),
        ..of(permanent, "5.1.1")
    };
    let reports = [
        (of(permanent, "5.7.1"), Effect::IgnoredNotMailbox),
        (of(permanent, "5.2.2"), Effect::IgnoredNotMailbox),
        (of(permanent, "5.3.4"), Effect::IgnoredNotMailbox),
        (of(permanent, "4.4.7"), Effect::IgnoredNotMailbox),
        (
            of(Status::FailedTemporarily, "4.2.2"),
            Effect::IgnoredTemporary,
        ),
        (of(Status::Delivered, ""), Effect::Unchanged),
        (
            report(other, permanent, "5.1.1", now),
            Effect::IgnoredNotCurrent,
        ),
        (
            report(other, Status::Delivered, "", now),
            Effect::IgnoredNotCurrent,
        ),
        (
            report(other, Status::Complaint, "", now),
            Effect::IgnoredNotCurrent,
        ),
        (unknown, Effect::IgnoredNotCurrent),
    ];
    let (reports, expected): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
    assert_eq!(send(&server, reports, false).await.unwrap(), expected);
    assert!(events(&server).await.is_empty());
    assert_eq!(
        send_one(&server, of(permanent, "5.0.0")).await,
        Effect::Marked
    );
}

#[rstest]
#[tokio::test]
async fn rule_32_complaint_is_recorded_once_and_excludes_no_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let complaint = report(ANNA, Status::Complaint, "", server.now());
    for _ in 0..2 {
        assert_eq!(send_one(&server, complaint.clone()).await, Effect::Recorded);
    }
    server.clock.advance(TimeDelta::hours(1));
    let later = report(ANNA, Status::Complaint, "", server.now());
    assert_eq!(send_one(&server, later).await, Effect::Recorded);
    let events = events(&server).await;
    assert_eq!(events.len(), 2);
    let (kind, contact_id, details) = &events[0];
    assert_eq!(
        (*kind, contact_id),
        (EventKind::ContactEmailComplaint, &anna.contact_id)
    );
    assert_eq!(details[0].0, "report_time");
    assert!(server.contact(&anna).await.email_bounce_time.is_none());
}

#[rstest]
#[tokio::test]
async fn rule_32_pending_address_that_fails_is_shown(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let anna = server
        .change_email(&anna, "typo@k-1.example")
        .await
        .unwrap();
    let before = server.now() - TimeDelta::seconds(1);
    let address = "typo@k-1.example";
    let failed = |time| report(address, Status::FailedPermanently, "5.1.1", time);
    assert_eq!(
        send_one(&server, failed(before)).await,
        Effect::IgnoredNotCurrent
    );
    assert_eq!(
        send_one(&server, failed(server.now())).await,
        Effect::Marked
    );
    let pending = server.contact(&anna).await.pending_email.unwrap();
    assert_eq!(pending.bounce_time, timestamp(server.now()));
}

#[rstest]
#[tokio::test]
async fn rule_32_burst_of_failures_marks_no_further_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let now = server.now();
    let other = |status| report("other@k-1.example", status, "5.1.1", now);
    let failed = report(ANNA, Status::FailedPermanently, "5.1.1", now);
    let mut reports = vec![other(Status::Delivered); 100];
    reports.extend(vec![other(Status::FailedPermanently); 5]);
    let results = send(&server, reports, false).await.unwrap();
    assert!(
        results
            .iter()
            .all(|result| *result == Effect::IgnoredNotCurrent)
    );
    assert!(!server.app.has_burst_of_failures());
    // The sixth of 106, and a repetition of it.
    assert_eq!(send_one(&server, failed.clone()).await, Effect::Held);
    assert_eq!(send_one(&server, failed.clone()).await, Effect::Held);
    assert!(server.app.has_burst_of_failures());
    assert!(server.contact(&anna).await.email_bounce_time.is_none());
    assert!(events(&server).await.is_empty());
    // Marks are still removed, and other codes are recognized.
    let policy = report(ANNA, Status::FailedPermanently, "5.7.1", now);
    assert_eq!(send_one(&server, policy).await, Effect::IgnoredNotMailbox);

    // An operator says so.
    let accepted = send(&server, vec![failed.clone()], true).await.unwrap();
    assert_eq!(accepted, [Effect::Marked]);
    server.clock.advance(TimeDelta::seconds(1));
    let delivered = report(ANNA, Status::Delivered, "", server.now());
    assert_eq!(send_one(&server, delivered).await, Effect::Cleared);

    // Ten minutes later the share has fallen.
    server.clock.advance(TimeDelta::minutes(10));
    assert!(!server.app.has_burst_of_failures());
    let failed = report(ANNA, Status::FailedPermanently, "5.1.1", server.now());
    assert_eq!(send_one(&server, failed).await, Effect::Marked);
}

#[rstest]
#[tokio::test]
async fn invalid_reports_name_their_fields_and_change_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (server, anna) = prepare(backend).await;
    let now = server.now();
    let valid = report(ANNA, Status::FailedPermanently, "5.1.1", now);
    let invalid = DeliveryReport {
        customer_number: "no number".into(),
        contact_id: "no id".into(),
        email: "no address".into(),
        status: 99,
        enhanced_status_code: "550".into(),
        report_time: None,
    };
    let rejected = send(&server, vec![valid.clone(), invalid], false).await;
    assert_eq!(
        rejected_fields(rejected),
        [
            "reports[1].customer_number",
            "reports[1].contact_id",
            "reports[1].email",
            "reports[1].status",
            "reports[1].enhanced_status_code",
        ]
    );
    assert!(server.contact(&anna).await.email_bounce_time.is_none());
    assert_eq!(
        rejected_fields(send(&server, vec![], false).await),
        ["reports"]
    );
    let many = vec![valid.clone(); 1_001];
    assert_eq!(
        rejected_fields(send(&server, many, false).await),
        ["reports"]
    );
    let most = send(&server, vec![valid.clone(); 1_000], true)
        .await
        .unwrap();
    assert_eq!(most, [Effect::Marked; 1_000]);
    assert_eq!(events(&server).await.len(), 1);

    // A token of another customer reports nothing about this one.
    let token = server.token("deliveries.report", Some("K-2"));
    let request = proto::ReportDeliveriesRequest {
        reports: vec![valid],
        ..proto::ReportDeliveriesRequest::default()
    };
    let rejected = server.client_with(token).report_deliveries(request).await;
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    assert_eq!(rejection(rejected), mismatch);
}
