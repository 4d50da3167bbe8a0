//! A form's save in one RPC: fields, address and phone password of a contact together.

use contact_service::api::proto::{
    self, Contact, ContactType, PhonePasswordVerdict::Match, Purpose,
    email_change::Change as EmailEdit, phone_password_change::Change as PasswordEdit,
};
use rstest::rstest;
use tonic::Status;

use crate::{
    harness::{Backend, TestServer, new_contact, rejected_fields, rejection},
    requests::only_id,
};

const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

/// A save of these fields with further changes.
fn save(
    contact: Contact,
    email: Option<EmailEdit>,
    password: Option<PasswordEdit>,
) -> proto::UpdateContactRequest {
    proto::UpdateContactRequest {
        contact: Some(contact),
        email_change: email.map(|change| proto::EmailChange {
            change: Some(change),
        }),
        phone_password_change: password.map(|change| proto::PhonePasswordChange {
            change: Some(change),
        }),
        ..proto::UpdateContactRequest::default()
    }
}

async fn send(
    server: &TestServer,
    request: proto::UpdateContactRequest,
) -> Result<proto::UpdateContactResponse, Status> {
    let response = server.client().update_contact(request).await?;
    Ok(response.into_inner())
}

fn renamed(contact: &Contact, name: &str) -> Contact {
    Contact {
        display_name: name.into(),
        ..only_id(contact)
    }
}

fn enter(email: &str) -> Option<EmailEdit> {
    Some(EmailEdit::SetEmail(email.into()))
}

fn password(text: &str) -> Option<PasswordEdit> {
    Some(PasswordEdit::NewPhonePassword(text.into()))
}

#[rstest]
#[tokio::test]
async fn one_request_saves_fields_address_and_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let events = server.events("K-1").await.len();
    let contact = Contact {
        invoice_email_enabled: Some(true),
        ..renamed(&anna, "Anna Beck")
    };
    let request = save(
        contact,
        enter("anna@muster.example"),
        password("roter Dachs 7"),
    );
    let saved = send(&server, request).await.unwrap().contact.unwrap();
    assert_eq!(server.contact(&anna).await, saved);
    assert_eq!(saved.display_name, "Anna Beck");
    assert_eq!(
        saved.pending_email.as_ref().unwrap().email,
        "anna@muster.example"
    );
    assert!(saved.phone_password.unwrap().configured);
    // Rule 22: the address of the same request makes invoice e-mail possible.
    assert_eq!(saved.invoice_email_enabled, Some(true));
    server.mailed_token("anna@muster.example").await;
    let newest = server.events("K-1").await;
    let mut kinds: Vec<_> = newest
        .iter()
        .take(newest.len() - events)
        .map(|event| (event.kind().as_str_name(), event.changed_fields.join(" ")))
        .collect();
    kinds.sort_unstable();
    let expected = [
        ("EVENT_KIND_CONTACT_EMAIL_CHANGED", "pending_email".into()),
        (
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_SET",
            "phone_password".into(),
        ),
        (
            "EVENT_KIND_CONTACT_UPDATED",
            "display_name invoice_email_enabled".to_owned(),
        ),
    ];
    assert_eq!(kinds, expected);

    let events = server.events("K-1").await.len();
    let contact = Contact {
        invoice_email_enabled: Some(false),
        ..only_id(&anna)
    };
    let remove = Some(EmailEdit::RemoveEmail(true));
    let request = save(contact, remove, Some(PasswordEdit::Clear(true)));
    let saved = send(&server, request).await.unwrap().contact.unwrap();
    assert_eq!(saved.pending_email, None);
    assert!(!saved.phone_password.unwrap().configured);
    assert_eq!(server.events("K-1").await.len(), events + 3);
}

#[rstest]
#[tokio::test]
async fn refused_save_stores_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let before = server.state("K-1").await;
    let stripped = Contact {
        types: vec![ContactType::Technical.into()],
        ..renamed(&anna, "Anna Beck")
    };
    let stale = Contact {
        etag: "stale".into(),
        ..renamed(&anna, "Anna Beck")
    };
    let cancel = Some(EmailEdit::CancelPending(true));
    for (request, reason) in [
        (
            save(
                stripped,
                enter("anna@muster.example"),
                password("roter Dachs 7"),
            ),
            "LAST_STANDARD_CONTACT",
        ),
        (
            save(
                stale,
                enter("anna@muster.example"),
                password("roter Dachs 7"),
            ),
            "ETAG_MISMATCH",
        ),
        (
            save(
                renamed(&anna, "Anna Beck"),
                cancel,
                password("roter Dachs 7"),
            ),
            "NO_PENDING_EMAIL",
        ),
    ] {
        assert_eq!(rejection(send(&server, request).await).1, reason);
        assert_eq!(server.state("K-1").await, before, "{reason}");
    }
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn all_violations_of_a_save_come_at_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let wrong = Contact {
        locale: "fr".into(),
        position: "x".repeat(101),
        name: Some(proto::PersonName {
            salutation: 9,
            family_name: "y".repeat(81),
            ..proto::PersonName::default()
        }),
        phone_numbers: vec!["123".into()],
        ..only_id(&anna)
    };
    // The contact's own stored name as a password is found together with the others.
    let request = save(wrong, enter("no address"), password(&anna.display_name));
    assert_eq!(
        rejected_fields(send(&server, request).await),
        [
            "contact.name.salutation",
            "contact.name.family_name",
            "contact.position",
            "contact.locale",
            "contact.phone_numbers[0]",
            "email_change.set_email",
            "phone_password_change.new_phone_password",
        ]
    );
    // Alone it is found as well.
    let request = save(only_id(&anna), None, password(&anna.display_name));
    let fields = ["phone_password_change.new_phone_password"];
    assert_eq!(rejected_fields(send(&server, request).await), fields);
    // That of the new name, too.
    let request = save(renamed(&anna, "Roter Dachs"), None, password("Roter Dachs"));
    assert_eq!(rejected_fields(send(&server, request).await), fields);
    for (email, password, field) in [
        (Some(None), None, "email_change"),
        (
            Some(Some(EmailEdit::RemoveEmail(false))),
            None,
            "email_change.remove_email",
        ),
        (
            Some(Some(EmailEdit::CancelPending(false))),
            None,
            "email_change.cancel_pending",
        ),
        (None, Some(None), "phone_password_change"),
        (
            None,
            Some(Some(PasswordEdit::Generate(false))),
            "phone_password_change.generate",
        ),
        (
            None,
            Some(Some(PasswordEdit::Clear(false))),
            "phone_password_change.clear",
        ),
    ] {
        let request = proto::UpdateContactRequest {
            contact: Some(only_id(&anna)),
            email_change: email.map(|change| proto::EmailChange { change }),
            phone_password_change: password.map(|change| proto::PhonePasswordChange { change }),
            ..proto::UpdateContactRequest::default()
        };
        assert_eq!(rejected_fields(send(&server, request).await), [field]);
    }
}

#[rstest]
#[tokio::test]
async fn generated_password_is_returned_once_and_again_to_a_repeat(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let generate = || save(only_id(&anna), None, Some(PasswordEdit::Generate(true)));
    let validation = proto::UpdateContactRequest {
        validate_only: true,
        ..generate()
    };
    let validated = send(&server, validation).await.unwrap();
    assert_eq!(validated.generated_phone_password, "");
    assert!(
        validated
            .contact
            .unwrap()
            .phone_password
            .unwrap()
            .configured
    );
    assert!(
        !server
            .contact(&anna)
            .await
            .phone_password
            .unwrap()
            .configured
    );

    let first = send(&server, generate()).await.unwrap();
    let second = send(&server, generate()).await.unwrap();
    assert_ne!(
        first.generated_phone_password,
        second.generated_phone_password
    );
    let request = proto::UpdateContactRequest {
        request_id: ID.into(),
        ..generate()
    };
    let third = send(&server, request.clone()).await.unwrap();
    assert_ne!(
        third.generated_phone_password,
        second.generated_phone_password
    );
    assert_eq!(send(&server, request).await.unwrap(), third);
    let checked = server
        .check_password(&anna, &third.generated_phone_password, "call-1")
        .await
        .unwrap();
    assert_eq!(checked.verdict(), Match);
}

#[rstest]
#[tokio::test]
async fn password_of_a_new_contact_is_generated(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let request = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact("Bernd", &[ContactType::Technical])),
        generate_phone_password: true,
        request_id: ID.replace("55", "56"),
        ..proto::CreateContactRequest::default()
    };
    let created = server.client().create_contact(request.clone()).await;
    let created = created.unwrap().into_inner();
    let again = server.client().create_contact(request.clone()).await;
    assert_eq!(again.unwrap().into_inner(), created);
    assert_eq!(created.generated_phone_password.split(' ').count(), 3);
    let checked = server
        .check_password(
            created.contact.as_ref().unwrap(),
            &created.generated_phone_password,
            "call-2",
        )
        .await
        .unwrap();
    assert_eq!(checked.verdict(), Match);
    let both = proto::CreateContactRequest {
        phone_password: "roter Dachs 7".into(),
        request_id: String::new(),
        ..request
    };
    let rejected = server.client().create_contact(both).await;
    assert_eq!(rejected_fields(rejected), ["generate_phone_password"]);
}

#[rstest]
#[tokio::test]
async fn display_name_is_composed_and_follows_the_parts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let name = proto::PersonName {
        salutation: proto::Salutation::Frau.into(),
        title: "Dr.".into(),
        given_name: "Anna".into(),
        family_name: "Schmidt".into(),
    };
    let create = |contact: Contact| proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(contact),
        ..proto::CreateContactRequest::default()
    };
    let composed = Contact {
        name: Some(name.clone()),
        position: "Geschäftsführerin".into(),
        department: "Leitung".into(),
        ..new_contact("", &[ContactType::Standard])
    };
    let created = server.client().create_contact(create(composed)).await;
    let anna = created.unwrap().into_inner().contact.unwrap();
    assert_eq!(anna.display_name, "Dr. Anna Schmidt");
    assert_eq!(anna.name, Some(name.clone()));
    assert_eq!(anna.position, "Geschäftsführerin");
    let resolution = server.resolve("K-1", Purpose::Invoice).await;
    assert_eq!(resolution.attention_line, "z.Hd. Dr. Anna Schmidt");

    // A form sends the display name back as it was; it follows the new family name.
    let married = Contact {
        name: Some(proto::PersonName {
            family_name: "Beck".into(),
            ..name.clone()
        }),
        ..anna.clone()
    };
    let anna = server
        .update_contact(married, &["name", "display_name"])
        .await
        .unwrap();
    assert_eq!(anna.display_name, "Dr. Anna Beck");
    let given = renamed(&anna, "Anna Beck-Schmidt");
    let anna = server
        .update_contact(given, &["display_name"])
        .await
        .unwrap();
    let untitled = Contact {
        name: Some(proto::PersonName::default()),
        ..only_id(&anna)
    };
    let anna = server
        .update_contact(untitled, &["name.title"])
        .await
        .unwrap();
    assert_eq!(anna.display_name, "Anna Beck-Schmidt");
    let anna = server
        .update_contact(only_id(&anna), &["display_name"])
        .await
        .unwrap();
    assert_eq!(anna.display_name, "Anna Beck");

    // Without any part there is nothing to compose.
    let emptied = server
        .update_contact(only_id(&anna), &["display_name", "name"])
        .await;
    assert_eq!(rejected_fields(emptied), ["contact.display_name"]);
    let nameless = new_contact(" ", &[ContactType::Standard]);
    let rejected = server.client().create_contact(create(nameless)).await;
    assert_eq!(rejected_fields(rejected), ["contact.display_name"]);
    assert_eq!(server.contact(&anna).await, anna);
}

#[rstest]
#[tokio::test]
async fn resend_leaves_the_etag_alone(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let entered = server
        .change_email(&anna, "anna@muster.example")
        .await
        .unwrap();
    server.clock.advance(chrono::TimeDelta::minutes(1));
    let request = proto::ResendEmailConfirmationRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        ..proto::ResendEmailConfirmationRequest::default()
    };
    let resent = server.client().resend_email_confirmation(request).await;
    let resent = resent.unwrap().into_inner().contact.unwrap();
    assert_eq!(resent.pending_email.unwrap().resends_left, 2);
    assert_eq!(
        (&resent.etag, resent.update_time),
        (&entered.etag, entered.update_time)
    );
    // The form that was opened before the resend can be saved.
    let named = Contact {
        etag: entered.etag,
        ..renamed(&anna, "Anna Beck")
    };
    server.update_contact(named, &[]).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn validation_shows_where_invoices_go(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    server
        .set_confirmed_email(&anna, "anna@muster.example")
        .await;
    let enabled = Contact {
        invoice_email_enabled: Some(true),
        ..only_id(&anna)
    };
    let validation = proto::UpdateContactRequest {
        validate_only: true,
        ..save(enabled.clone(), None, None)
    };
    let changes = send(&server, validation).await.unwrap().recipient_changes;
    assert_eq!(changes.len(), 1);
    let before = changes[0].before.as_ref().unwrap();
    let after = changes[0].after.as_ref().unwrap();
    assert_eq!(changes[0].purpose(), Purpose::Invoice);
    assert_eq!(before.delivery(), proto::Delivery::Postal);
    assert_eq!(after.recipients[0].email, "anna@muster.example");
    assert_eq!(server.resolve("K-1", Purpose::Invoice).await, *before);
    // A save without the wish for it has none.
    let saved = send(&server, save(enabled, None, None)).await.unwrap();
    assert!(saved.recipient_changes.is_empty());
    assert_eq!(server.resolve("K-1", Purpose::Invoice).await, *after);
}
