//! `ResolveRecipients` over the wire; unit tests of the domain cover the whole table of purposes.

use contact_service::api::proto::{
    self, ContactType, Delivery, ExclusionReason, Purpose, RecipientReason,
};
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::{mask, only_id},
};

async fn resolve(
    server: &TestServer,
    number: &str,
    purpose: Purpose,
    attention_line_chars: i32,
) -> Result<proto::Resolution, tonic::Status> {
    let request = proto::ResolveRecipientsRequest {
        customer_number: number.into(),
        purpose: purpose.into(),
        attention_line_chars,
    };
    let response = server.client().resolve_recipients(request).await?;
    Ok(response.into_inner().resolution.unwrap())
}

fn written(resolution: &proto::Resolution) -> Vec<String> {
    let recipients = resolution
        .recipients
        .iter()
        .map(|recipient| format!("{} {:?}", recipient.email, recipient.reason()));
    let exclusions = resolution
        .exclusions
        .iter()
        .map(|exclusion| format!("-{:?}", exclusion.reason()));
    recipients.chain(exclusions).collect()
}

#[rstest]
#[tokio::test]
async fn samples_resolve_as_documented(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.app.load_samples().await.unwrap();
    server.app.load_samples().await.unwrap();

    let invoice = resolve(&server, "K-1001", Purpose::Invoice, 0)
        .await
        .unwrap();
    assert_eq!(
        written(&invoice),
        [
            format!(
                "anna.schmidt@muster.example {:?}",
                RecipientReason::TypeMatch
            ),
            format!(
                "buchhaltung@muster.example {:?}",
                RecipientReason::TypeMatch
            ),
            format!("-{:?}", ExclusionReason::DuplicateAddress),
        ]
    );
    assert_eq!(invoice.delivery(), Delivery::Email);
    assert_eq!(
        invoice.attention_line,
        "z.Hd. Bernd Maier, Buchhaltung Filiale Süd"
    );

    let short = resolve(&server, "K-1001", Purpose::Invoice, 20)
        .await
        .unwrap();
    assert_eq!(short.attention_line, "z.Hd. Bernd Maier");
    assert_eq!(
        short.attention_line_omitted_names,
        ["Buchhaltung Filiale Süd"]
    );

    let postal = resolve(&server, "K-1002", Purpose::Invoice, 0)
        .await
        .unwrap();
    assert_eq!(postal.delivery(), Delivery::Postal);
    assert_eq!(
        written(&postal),
        [
            format!("-{:?}", ExclusionReason::InvoiceEmailOff),
            format!("-{:?}", ExclusionReason::EmailUnconfirmed),
        ]
    );

    let notice = resolve(&server, "K-1003", Purpose::SecurityNotice, 0)
        .await
        .unwrap();
    assert_eq!(
        written(&notice),
        [format!(
            "kontakt@verein.example {:?}",
            RecipientReason::ContactDataSetting
        )]
    );
}

/// Sets the contact data and all notification settings of K-1.
async fn set_customer(server: &TestServer, email: &str, enabled: bool) {
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-1".into(),
            contact_data: Some(proto::ContactData {
                email: email.into(),
                locale: "en".into(),
                ..proto::ContactData::default()
            }),
            notification_settings: Some(proto::NotificationSettings {
                security_notices: Some(enabled),
                planned_maintenance: Some(enabled),
                outages: Some(enabled),
                ..proto::NotificationSettings::default()
            }),
            ..proto::Customer::default()
        }),
        update_mask: mask(&["*"]),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(request).await.unwrap();
}

/// A row of the table of purposes over the wire: the contact data, whether notifications are
/// enabled, and the expected recipients and exclusions.
type ResolutionCase<'a> = (&'a [Purpose], &'a str, bool, &'a [&'a str], Delivery);

async fn check_rows(server: &TestServer, rows: &[ResolutionCase<'_>]) {
    for &(purposes, email, enabled, expected, delivery) in rows {
        set_customer(server, email, enabled).await;
        for &purpose in purposes {
            let response = resolve(server, "K-1", purpose, 0).await.unwrap();
            let case = format!("{purpose:?} {email:?} {enabled}");
            assert_eq!(written(&response), expected, "{case}");
            assert_eq!(response.delivery(), delivery, "{case}");
            for data in response
                .recipients
                .iter()
                .filter(|r| r.contact_id.is_empty())
            {
                assert_eq!(
                    (data.locale.as_str(), data.display_name.as_str()),
                    ("en", "")
                );
            }
        }
    }
}

const NOTICES: &[Purpose] = &[Purpose::SecurityNotice, Purpose::PlannedMaintenance];
const OUTAGE: &[Purpose] = &[Purpose::Outage];
const ALL_NOTICES: &[Purpose] = &[
    Purpose::SecurityNotice,
    Purpose::PlannedMaintenance,
    Purpose::Outage,
];
const DATA: &str = "data@muster.example";

#[rstest]
#[tokio::test]
async fn all_purposes_with_a_standard_contact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    set_customer(&server, "", true).await;
    let anna = server
        .create_contact("K-1", "Anna", &[ContactType::Standard], "")
        .await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    let standard = "anna@muster.example StandardFallback";
    check_rows(
        &server,
        &[
            (
                &[Purpose::Invoice],
                DATA,
                true,
                &["-InvoiceEmailOff"],
                Delivery::Postal,
            ),
            (
                &[Purpose::PaymentReminder],
                DATA,
                true,
                &[standard],
                Delivery::Email,
            ),
            (
                ALL_NOTICES,
                DATA,
                true,
                &["data@muster.example ContactDataSetting"],
                Delivery::Email,
            ),
            (
                NOTICES,
                DATA,
                false,
                &["data@muster.example ContactDataFallback"],
                Delivery::Email,
            ),
            (
                ALL_NOTICES,
                "",
                true,
                &[standard, "-NoEmail"],
                Delivery::Email,
            ),
            (NOTICES, "", false, &[standard, "-NoEmail"], Delivery::Email),
            (OUTAGE, DATA, false, &["-NotificationsOff"], Delivery::None),
            (OUTAGE, "", false, &["-NotificationsOff"], Delivery::None),
            (
                &[Purpose::General],
                DATA,
                false,
                &["data@muster.example ContactData"],
                Delivery::Email,
            ),
            (
                &[Purpose::General],
                "",
                false,
                &[standard, "-NoEmail"],
                Delivery::Email,
            ),
        ],
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn all_purposes_with_contacts_of_each_type(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    set_customer(&server, "", true).await;
    for (name, contact_type) in [
        ("anna", ContactType::Standard),
        ("berta", ContactType::Accounting),
        ("carla", ContactType::Technical),
    ] {
        let contact = server
            .create_contact("K-1", name, &[contact_type], "")
            .await;
        let email = format!("{name}@muster.example");
        server.set_confirmed_email(&contact, &email).await;
        if contact_type != ContactType::Technical {
            let change = proto::Contact {
                invoice_email_enabled: Some(true),
                ..only_id(&contact)
            };
            server.update_contact(change, &[]).await.unwrap();
        }
    }
    let invoice = [
        "anna@muster.example TypeMatch",
        "berta@muster.example TypeMatch",
    ];
    let technical = "carla@muster.example TypeMatch";
    let setting = "data@muster.example ContactDataSetting";
    check_rows(
        &server,
        &[
            (&[Purpose::Invoice], "", true, &invoice, Delivery::Email),
            (
                &[Purpose::PaymentReminder],
                DATA,
                true,
                &invoice[1..],
                Delivery::Email,
            ),
            (
                ALL_NOTICES,
                DATA,
                true,
                &[technical, setting],
                Delivery::Email,
            ),
            (
                ALL_NOTICES,
                "",
                true,
                &[technical, "-NoEmail"],
                Delivery::Email,
            ),
            (
                ALL_NOTICES,
                DATA,
                false,
                &[technical, "-NotificationsOff"],
                Delivery::Email,
            ),
        ],
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn all_purposes_without_a_reachable_contact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    set_customer(&server, "", true).await;
    let types = [
        ContactType::Standard,
        ContactType::Accounting,
        ContactType::Technical,
    ];
    server
        .create_contact("K-1", "Anna", &types, "anna@muster.example")
        .await;
    server.create_contact("K-1", "Berta", &types, "").await;
    let unreached = ["-EmailUnconfirmed", "-NoEmail", "-NoEmail"];
    let opted_out = ["-EmailUnconfirmed", "-NoEmail", "-NotificationsOff"];
    let off = ["-InvoiceEmailOff", "-InvoiceEmailOff"];
    let others = [
        Purpose::PaymentReminder,
        Purpose::SecurityNotice,
        Purpose::PlannedMaintenance,
    ];
    check_rows(
        &server,
        &[
            (&[Purpose::Invoice], "", true, &off, Delivery::Postal),
            (&others, "", true, &unreached, Delivery::None),
            (&others, "", false, &unreached, Delivery::None),
            (OUTAGE, "", true, &unreached, Delivery::None),
            (OUTAGE, DATA, false, &opted_out, Delivery::None),
            (&[Purpose::General], "", true, &unreached, Delivery::None),
        ],
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn invalid_requests_are_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = resolve(&server, "K-9", Purpose::General, 0).await;
    assert_eq!(
        rejection(unknown),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
    let all_wrong = resolve(&server, "K 9", Purpose::Unspecified, 7).await;
    assert_eq!(
        rejected_fields(all_wrong),
        ["customer_number", "purpose", "attention_line_chars"]
    );
}
