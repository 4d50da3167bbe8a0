//! Notices of changes to who may act for a customer (rule 31).

use chrono::TimeDelta;
use contact_service::api::proto::{self, Contact, ContactType, phone_password_change::Change};
use rstest::rstest;

use crate::{
    harness::{Backend, TestServer, query_number},
    mail_limits::import,
    mailbox::NOTICES,
    requests::only_id,
};

const WINDOW: TimeDelta = TimeDelta::minutes(10);
const INSTANT: TimeDelta = TimeDelta::microseconds(1);
const INFO: &str = "info@k-1.example";
const BERND: &str = "bernd@muster.example";

/// A customer with the STANDARD contacts Anna, without an address, and Bernd, whose notices are sent.
async fn prepare(server: &TestServer) -> (Contact, Contact) {
    let anna = server.create_customer_with_contact("K-1").await;
    set_customer(server, None, Some(true)).await;
    let standard = &[ContactType::Standard];
    let bernd = server
        .create_contact("K-1", "Bernd Beck", standard, "")
        .await;
    server.set_confirmed_email(&bernd, BERND).await;
    server.clock.advance(WINDOW);
    server.all_mails().await;
    (anna, server.contact(&bernd).await)
}

/// The recipients and the lines about changes of the notices that are due.
async fn notices(server: &TestServer) -> Vec<(String, Vec<String>)> {
    let mails = server.all_mails().await.into_iter();
    let notices = mails.filter(|mail| NOTICES.contains(&mail.subject.as_str()));
    let mut notices: Vec<_> = notices
        .map(|mail| {
            let lines = mail.text.lines().filter(|line| line.starts_with("- "));
            let changes = lines.map(|line| line.split_once("): ").unwrap().1.to_owned());
            (mail.to, changes.collect())
        })
        .collect();
    notices.sort();
    notices
}

fn notified(recipients: &[&str], changes: &[&str]) -> Vec<(String, Vec<String>)> {
    let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
    let notified = recipients
        .iter()
        .map(|&to| (to.to_owned(), changes.clone()));
    notified.collect()
}

fn with_numbers(contact: &Contact, number: &str) -> Contact {
    Contact {
        phone_numbers: vec![number.into()],
        ..only_id(contact)
    }
}

async fn set_password(server: &TestServer, contact: &Contact, change: Change) {
    let request = proto::UpdateContactRequest {
        contact: Some(only_id(contact)),
        phone_password_change: Some(proto::PhonePasswordChange {
            change: Some(change),
        }),
        ..proto::UpdateContactRequest::default()
    };
    server.client().update_contact(request).await.unwrap();
}

async fn set_customer(server: &TestServer, email: Option<&str>, contact_changes: Option<bool>) {
    let mut paths = Vec::new();
    paths.extend(email.map(|_| "contact_data.email".to_owned()));
    paths.extend(contact_changes.map(|_| "notification_settings.contact_changes".to_owned()));
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "K-1".into(),
            contact_data: Some(proto::ContactData {
                email: email.unwrap_or_default().into(),
                ..proto::ContactData::default()
            }),
            notification_settings: Some(proto::NotificationSettings {
                contact_changes,
                ..proto::NotificationSettings::default()
            }),
            ..proto::Customer::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..proto::UpdateCustomerRequest::default()
    };
    server.client().update_customer(request).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn changes_within_ten_minutes_are_one_mail_per_recipient(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, bernd) = prepare(&server).await;
    let carla = server
        .create_contact("K-1", "Carla Cordes", &[ContactType::Technical], "")
        .await;
    server.clock.advance(WINDOW - INSTANT);
    set_password(
        &server,
        &carla,
        Change::NewPhonePassword("roter Dachs 7".into()),
    )
    .await;
    server
        .update_contact(with_numbers(&anna, "0721 913740"), &[])
        .await
        .unwrap();
    // The others are notified of his own change, he is not.
    server
        .update_contact(with_numbers(&bernd, "0721 913741"), &[])
        .await
        .unwrap();
    assert_eq!(notices(&server).await, []);
    server.clock.advance(INSTANT);
    let both = [
        "„Carla Cordes“ wurde als Ansprechpartner hinzugefügt",
        "für „Carla Cordes“ wurde ein Telefonpasswort gesetzt",
        "die Telefonnummern von „Anna Schmidt“ wurden geändert",
    ];
    let of_bernd = "die Telefonnummern von „Bernd Beck“ wurden geändert";
    let mut expected = notified(&[BERND], &both);
    expected.extend(notified(&[INFO], &[&both[..], &[of_bernd]].concat()));
    assert_eq!(notices(&server).await, expected);

    set_password(&server, &carla, Change::Clear(true)).await;
    server.delete_contact(&carla).await.unwrap();
    server.clock.advance(WINDOW);
    let removed = [
        "das Telefonpasswort von „Carla Cordes“ wurde entfernt",
        "„Carla Cordes“ ist kein Ansprechpartner mehr",
    ];
    assert_eq!(notices(&server).await, notified(&[BERND, INFO], &removed));
}

#[rstest]
#[tokio::test]
async fn other_changes_cause_no_notice(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = prepare(&server).await;
    let renamed = Contact {
        display_name: "Anna Beck".into(),
        locale: "en".into(),
        ..only_id(&anna)
    };
    server.update_contact(renamed, &[]).await.unwrap();
    server
        .change_email(&anna, "anna@muster.example")
        .await
        .unwrap();
    // Nothing differs, or nothing is stored.
    set_password(&server, &anna, Change::Clear(true)).await;
    let validation = proto::UpdateContactRequest {
        contact: Some(with_numbers(&anna, "0721 913740")),
        validate_only: true,
        ..proto::UpdateContactRequest::default()
    };
    server.client().update_contact(validation).await.unwrap();
    import(&server, "K-1", 3, "import@muster.example").await;
    server.clock.advance(WINDOW);
    assert_eq!(notices(&server).await, []);
}

#[rstest]
#[tokio::test]
async fn setting_switches_notices_off_but_for_a_replaced_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = prepare(&server).await;
    let replaced = ["die E-Mail-Adresse in Ihren Kontaktdaten wurde ersetzt oder entfernt"];
    set_customer(&server, Some("neu@k-1.example"), None).await;
    server.clock.advance(WINDOW);
    assert_eq!(notices(&server).await, notified(&[BERND, INFO], &replaced));
    // Another spelling of the address is the same one.
    set_customer(&server, Some("NEU@k-1.example"), Some(false)).await;
    server
        .update_contact(with_numbers(&anna, "0721 913740"), &[])
        .await
        .unwrap();
    server.clock.advance(WINDOW);
    assert_eq!(notices(&server).await, []);
    set_customer(&server, Some(""), None).await;
    server.clock.advance(WINDOW);
    assert_eq!(
        notices(&server).await,
        notified(&["NEU@k-1.example"], &replaced)
    );
}

#[rstest]
#[tokio::test]
async fn lapse_of_invoice_email_causes_a_notice(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = prepare(&server).await;
    server
        .change_email(&anna, "anna@muster.example")
        .await
        .unwrap();
    let enabled = Contact {
        invoice_email_enabled: Some(true),
        ..only_id(&anna)
    };
    server.update_contact(enabled, &[]).await.unwrap();
    server.clock.advance(TimeDelta::days(7));
    server.app.clear_expired_emails().await.unwrap();
    server.clock.advance(WINDOW);
    let notices = notices(&server).await;
    let recipients: Vec<_> = notices.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(recipients, [BERND, INFO]);
    let change = &notices[0].1[0];
    assert!(
        change.starts_with("Rechnungen kommen nicht mehr per E-Mail an „Anna Schmidt“"),
        "{change}"
    );
}

#[rstest]
#[tokio::test]
async fn thousand_changes_are_one_mail_and_no_values(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = prepare(&server).await;
    let contact = |nth: usize| with_numbers(&anna, &format!("+49721{:06}", 100_000 + nth));
    for nth in 0..1_000 {
        server.update_contact(contact(nth), &[]).await.unwrap();
    }
    let queued = "SELECT count(*) FROM outbox_mails WHERE kind = 'contacts_changed'";
    assert_eq!(query_number(&server.database_url, queued).await, 2);
    server.clock.advance(WINDOW);
    let mails = server.all_mails().await;
    assert_eq!(mails.len(), 2);
    for mail in mails {
        assert_eq!(mail.text.matches("Anna Schmidt").count(), 1);
        assert!(!mail.text.contains("721"), "{}", mail.text);
        assert!(!mail.has_link(), "{}", mail.html);
    }
}

#[rstest]
#[tokio::test]
async fn deleted_contact_learns_nothing_more(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, bernd) = prepare(&server).await;
    server
        .update_contact(with_numbers(&anna, "0721 913740"), &[])
        .await
        .unwrap();
    server.delete_contact(&bernd).await.unwrap();
    server.clock.advance(WINDOW);
    let notices = notices(&server).await;
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].0.as_str(), notices[0].1.len()), (INFO, 2));
}

#[rstest]
#[tokio::test]
async fn notice_is_in_the_language_of_its_recipient(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, bernd) = prepare(&server).await;
    let english = Contact {
        locale: "en".into(),
        ..only_id(&bernd)
    };
    server.update_contact(english, &[]).await.unwrap();
    server
        .update_contact(with_numbers(&anna, "0721 913740"), &[])
        .await
        .unwrap();
    server.clock.advance(WINDOW);
    let mails = server.all_mails().await;
    let of_bernd = mails.iter().find(|mail| mail.to == BERND).unwrap();
    assert_eq!(of_bernd.subject, NOTICES[1]);
    assert!(
        of_bernd
            .text
            .contains("the phone numbers of “Anna Schmidt” were changed")
    );
    assert!(of_bernd.text.starts_with("Hello Bernd Beck,"));
}
