//! `GetCustomer` and `UpdateCustomer` over the wire (rule 24).

use contact_service::api::proto::{self, ContactData, NotificationSettings};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::{mask, timestamp},
};

fn settings(
    security_notices: impl Into<Option<bool>>,
    planned_maintenance: impl Into<Option<bool>>,
    outages: impl Into<Option<bool>>,
    contact_changes: impl Into<Option<bool>>,
) -> Option<NotificationSettings> {
    Some(NotificationSettings {
        security_notices: security_notices.into(),
        planned_maintenance: planned_maintenance.into(),
        outages: outages.into(),
        contact_changes: contact_changes.into(),
    })
}

fn contact_data(email: &str, phone_number: &str) -> Option<ContactData> {
    Some(ContactData {
        email: email.into(),
        phone_number: phone_number.into(),
        locale: "de".into(),
        ..ContactData::default()
    })
}

fn named(number: &str) -> proto::Customer {
    proto::Customer {
        customer_number: number.into(),
        ..proto::Customer::default()
    }
}

async fn update(
    server: &TestServer,
    customer: proto::Customer,
    paths: &[&str],
) -> Result<proto::Customer, Status> {
    let request = proto::UpdateCustomerRequest {
        customer: Some(customer),
        update_mask: mask(paths),
        allow_missing: false,
        ..proto::UpdateCustomerRequest::default()
    };
    let response = server.client().update_customer(request).await?;
    Ok(response.into_inner().customer.unwrap())
}

async fn create(server: &TestServer, customer: proto::Customer) -> Result<proto::Customer, Status> {
    let request = proto::UpdateCustomerRequest {
        customer: Some(customer),
        update_mask: None,
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    let response = server.client().update_customer(request).await?;
    Ok(response.into_inner().customer.unwrap())
}

async fn get(server: &TestServer, number: &str) -> Result<proto::Customer, Status> {
    let request = proto::GetCustomerRequest {
        customer_number: number.into(),
    };
    let response = server.client().get_customer(request).await?;
    Ok(response.into_inner().customer.unwrap())
}

#[rstest]
#[tokio::test]
async fn unknown_customer_is_not_found(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let made = server.create_customer("K-1").await;
    assert_eq!(get(&server, "K-1").await.unwrap(), made);
    // Customer numbers are case-sensitive.
    for missing in ["K-2", "k-1"] {
        let rejected = rejection(get(&server, missing).await);
        assert_eq!(rejected, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    }
    let too_long = "1".repeat(33);
    for bad in ["", "K 1", "K_1", "Ä", too_long.as_str()] {
        assert_eq!(
            rejected_fields(get(&server, bad).await),
            ["customer_number"],
            "{bad}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn missing_customer_is_created_only_with_allow_missing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let rejected = rejection(update(&server, named("K-1"), &[]).await);
    assert_eq!(rejected, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    assert!(get(&server, "K-1").await.is_err());

    let made = create(&server, named("K-1")).await.unwrap();
    assert!(!made.etag.is_empty());
    let expected = proto::Customer {
        contact_data: contact_data("", ""),
        notification_settings: settings(true, true, true, true),
        attention_line: Some(proto::AttentionLine::default()),
        etag: made.etag.clone(),
        create_time: timestamp(server.now()),
        update_time: timestamp(server.now()),
        ..named("K-1")
    };
    assert_eq!(made, expected);
    assert_eq!(server.customer("K-1").await, made);

    // With an existing customer, allow_missing makes no difference.
    let again = proto::Customer {
        contact_data: contact_data("info@muster.example", ""),
        ..named("K-1")
    };
    let changed = create(&server, again).await.unwrap();
    assert_eq!(
        changed.contact_data,
        contact_data("info@muster.example", "")
    );
    let kinds: Vec<_> = server
        .events("K-1")
        .await
        .into_iter()
        .map(|event| event.kind().as_str_name())
        .collect();
    assert_eq!(
        kinds,
        ["EVENT_KIND_CUSTOMER_UPDATED", "EVENT_KIND_CUSTOMER_CREATED"]
    );
}

#[rstest]
#[tokio::test]
async fn rule_24_notices_are_on_by_default(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let customer = proto::Customer {
        notification_settings: settings(None, false, None, None),
        ..named("K-1")
    };
    let made = create(&server, customer).await.unwrap();
    assert_eq!(
        made.notification_settings,
        settings(true, false, true, true)
    );
}

#[rstest]
#[tokio::test]
async fn rule_24_contact_data_language_is_stored_and_used(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let with_locale = |locale: &str| proto::Customer {
        contact_data: Some(ContactData {
            locale: locale.into(),
            ..contact_data("info@muster.example", "").unwrap()
        }),
        ..named("K-1")
    };
    for (entered, stored) in [("", "de"), ("en", "en"), ("", "en"), ("de", "de")] {
        let customer = create(&server, with_locale(entered)).await.unwrap();
        assert_eq!(customer.contact_data.unwrap().locale, stored);
        let general = server.resolve("K-1", proto::Purpose::General).await;
        assert_eq!(general.recipients[0].locale, stored);
    }
    let rejected = update(&server, with_locale("fr"), &[]).await;
    assert_eq!(rejected_fields(rejected), ["customer.contact_data.locale"]);
    // In the mask but unset: reset to the default.
    update(&server, with_locale("en"), &[]).await.unwrap();
    let reset = update(&server, with_locale(""), &["contact_data.locale"]).await;
    assert_eq!(reset.unwrap().contact_data.unwrap().locale, "de");
}

#[rstest]
#[tokio::test]
async fn concurrent_creations_create_one_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let calls = (0..8).map(|_| create(&server, named("K-1")));
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.unwrap(), server.customer("K-1").await);
    }
    // The others change nothing and record no event.
    let events = server.events("K-1").await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].kind().as_str_name(),
        "EVENT_KIND_CUSTOMER_CREATED"
    );
}

#[rstest]
#[tokio::test]
async fn no_mask_updates_populated_fields_and_explicit_false(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let change = proto::Customer {
        contact_data: contact_data("neu@muster.example", ""),
        notification_settings: settings(None, false, None, None),
        // Output only: ignored.
        attention_line: Some(proto::AttentionLine {
            suppressed: true,
            ..proto::AttentionLine::default()
        }),
        ..named("K-1")
    };
    let changed = update(&server, change, &[]).await.unwrap();
    assert_eq!(
        changed.contact_data,
        contact_data("neu@muster.example", "+49721913740")
    );
    assert_eq!(
        changed.notification_settings,
        settings(true, false, true, false)
    );
    assert_eq!(
        changed.attention_line,
        Some(proto::AttentionLine::default())
    );

    let back = proto::Customer {
        notification_settings: settings(None, true, None, None),
        ..named("K-1")
    };
    let changed = update(&server, back, &[]).await.unwrap();
    assert_eq!(
        changed.notification_settings,
        settings(true, true, true, false)
    );
}

#[rstest]
#[tokio::test]
async fn path_sets_only_its_own_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let full = proto::Customer {
        contact_data: contact_data("neu@muster.example", "+49721111111"),
        notification_settings: settings(false, false, false, false),
        ..named("K-1")
    };
    for (customer, path, data, expected_settings) in [
        (
            &full,
            "contact_data.email",
            ("neu@muster.example", "+49721913740"),
            settings(true, true, true, false),
        ),
        (
            &full,
            "contact_data.phone_number",
            ("neu@muster.example", "+49721111111"),
            settings(true, true, true, false),
        ),
        // Fields in the mask that the message leaves unset are cleared.
        (
            &named("K-1"),
            "contact_data.email",
            ("", "+49721111111"),
            settings(true, true, true, false),
        ),
        (
            &full,
            "notification_settings.security_notices",
            ("", "+49721111111"),
            settings(false, true, true, false),
        ),
        (
            &full,
            "notification_settings.planned_maintenance",
            ("", "+49721111111"),
            settings(false, false, true, false),
        ),
        (
            &full,
            "notification_settings.outages",
            ("", "+49721111111"),
            settings(false, false, false, false),
        ),
        // A parent path covers all of its fields.
        (
            &named("K-1"),
            "contact_data",
            ("", ""),
            settings(false, false, false, false),
        ),
        (
            &named("K-1"),
            "notification_settings",
            ("", ""),
            settings(true, true, true, true),
        ),
    ] {
        let changed = update(&server, customer.clone(), &[path]).await.unwrap();
        assert_eq!(changed.contact_data, contact_data(data.0, data.1), "{path}");
        assert_eq!(changed.notification_settings, expected_settings, "{path}");
        assert_eq!(server.customer("K-1").await, changed);
    }
}

#[rstest]
#[tokio::test]
async fn star_mask_replaces_all_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let full = proto::Customer {
        contact_data: contact_data("neu@muster.example", ""),
        notification_settings: settings(true, false, false, false),
        ..named("K-1")
    };
    let changed = update(&server, full.clone(), &["*"]).await.unwrap();
    assert_eq!(changed.contact_data, full.contact_data);
    assert_eq!(changed.notification_settings, full.notification_settings);

    // Unset fields are reset to their defaults.
    let one_setting = proto::Customer {
        notification_settings: settings(None, false, None, None),
        ..named("K-1")
    };
    let changed = update(&server, one_setting, &["*"]).await.unwrap();
    assert_eq!(
        changed.notification_settings,
        settings(true, false, true, true)
    );
    let emptied = update(&server, named("K-1"), &["*"]).await.unwrap();
    assert_eq!(emptied.contact_data, contact_data("", ""));
    assert_eq!(
        emptied.notification_settings,
        settings(true, true, true, true)
    );
}

#[rstest]
#[tokio::test]
async fn unknown_or_output_only_path_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let before = server.state("K-1").await;
    for bad in [
        &["customer_number"][..],
        &["attention_line"],
        &["attention_line.suppressed"],
        &["etag"],
        &["create_time"],
        &["update_time"],
        &["contact_data.fax"],
        &["contact_data."],
        &["contactData.email"],
        &["notification_settings.*"],
        &["*", "contact_data"],
        &["contact_data.email", "nonsense"],
        &[""],
    ] {
        let change = proto::Customer {
            contact_data: contact_data("neu@muster.example", ""),
            ..named("K-1")
        };
        let rejected = update(&server, change, bad).await;
        assert_eq!(rejected_fields(rejected), ["update_mask"], "{bad:?}");
    }
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn stale_etag_is_rejected_and_changes_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let first = server.create_customer("K-1").await;
    let with_etag = |etag: &str, email: &str| proto::Customer {
        contact_data: contact_data(email, ""),
        etag: etag.into(),
        ..named("K-1")
    };
    let second = update(&server, with_etag(&first.etag, "b@muster.example"), &[])
        .await
        .unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(server.customer("K-1").await.etag, second.etag);

    let before = server.state("K-1").await;
    for stale in [first.etag.as_str(), "nonsense", "*"] {
        let rejected = rejection(update(&server, with_etag(stale, "c@muster.example"), &[]).await);
        assert_eq!(rejected, (Code::Aborted, "ETAG_MISMATCH".into()), "{stale}");
    }
    // An etag states that the caller has read the record, so it never matches a missing one.
    let seen = proto::Customer {
        customer_number: "K-2".into(),
        ..second.clone()
    };
    let rejected = rejection(create(&server, seen).await);
    assert_eq!(rejected, (Code::Aborted, "ETAG_MISMATCH".into()));
    assert!(get(&server, "K-2").await.is_err());
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn contact_data_is_normalized(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let written = |email, phone| proto::Customer {
        contact_data: contact_data(email, phone),
        ..named("K-1")
    };
    let entered = written(" Info@MÜLLER.Example ", "(0721) 91374-99");
    let stored = update(&server, entered, &[]).await.unwrap();
    let normal = contact_data("Info@xn--mller-kva.example", "+497219137499");
    assert_eq!(stored.contact_data, normal);

    let same = written("Info@müller.example", "0049 721 9137499");
    let unchanged = update(&server, same, &[]).await.unwrap();
    assert_eq!(unchanged, stored);
}

#[rstest]
#[tokio::test]
async fn all_violations_of_an_update_are_reported(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let all_wrong = proto::Customer {
        contact_data: contact_data("muster.example", "110"),
        ..named("K 1")
    };
    let rejected = update(&server, all_wrong, &["contact_data", "etag"]).await;
    assert_eq!(
        rejected_fields(rejected),
        [
            "update_mask",
            "customer.customer_number",
            "customer.contact_data.email",
            "customer.contact_data.phone_number",
        ]
    );
    let empty = server
        .client()
        .update_customer(proto::UpdateCustomerRequest::default())
        .await;
    assert_eq!(rejected_fields(empty), ["customer.customer_number"]);
}

#[rstest]
#[tokio::test]
async fn rule_25_update_event_names_the_changed_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    server.clock.advance(chrono::TimeDelta::hours(1));
    let change = proto::Customer {
        contact_data: contact_data("neu@muster.example", "+49721913740"),
        notification_settings: settings(true, true, false, None),
        ..named("K-1")
    };
    let changed = update(&server, change, &[]).await.unwrap();
    assert_eq!(changed.update_time, timestamp(server.now()));
    assert_ne!(changed.update_time, changed.create_time);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.kind().as_str_name(), "EVENT_KIND_CUSTOMER_UPDATED");
    assert_eq!(
        event.changed_fields,
        ["contact_data.email", "notification_settings.outages"]
    );
    assert_eq!(
        (event.contact_id.as_str(), event.event_time),
        ("", changed.update_time)
    );
}
