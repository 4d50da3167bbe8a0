//! `validate_only` over the wire (AIP-163): the same validation and responses, nothing stored.

use contact_service::api::proto::{self, Contact, ContactType};
use rstest::rstest;
use tonic::Status;

use crate::{
    harness::{Backend, TestServer, new_contact, rejection},
    requests::only_id,
};

const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

async fn create(
    server: &TestServer,
    contact: Contact,
    request_id: &str,
    validate_only: bool,
) -> Result<Contact, Status> {
    let request = proto::CreateContactRequest {
        customer_number: contact.customer_number.clone(),
        contact: Some(contact),
        email: "neu@muster.example".into(),
        request_id: request_id.into(),
        validate_only,
        ..proto::CreateContactRequest::default()
    };
    let response = server.client().create_contact(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn update(
    server: &TestServer,
    contact: Contact,
    request_id: &str,
    validate_only: bool,
) -> Result<Contact, Status> {
    let request = proto::UpdateContactRequest {
        contact: Some(contact),
        request_id: request_id.into(),
        validate_only,
        ..proto::UpdateContactRequest::default()
    };
    let response = server.client().update_contact(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn delete(
    server: &TestServer,
    contact: &Contact,
    request_id: &str,
    validate_only: bool,
) -> Result<(), Status> {
    let request = proto::DeleteContactRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        etag: contact.etag.clone(),
        request_id: request_id.into(),
        validate_only,
        ..proto::DeleteContactRequest::default()
    };
    server.client().delete_contact(request).await.map(|_| ())
}

fn of_customer(number: &str, contact: Contact) -> Contact {
    Contact {
        customer_number: number.into(),
        ..contact
    }
}

fn renamed(contact: &Contact) -> Contact {
    Contact {
        display_name: "Umbenannt".into(),
        phone_numbers: vec!["0721 913740".into()],
        ..only_id(contact)
    }
}

#[rstest]
#[tokio::test]
async fn response_equals_the_real_one_and_nothing_is_stored(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let before = server.state("K-1").await;
    let new = of_customer("K-1", new_contact("Technik", &[ContactType::Technical]));
    let checked = create(&server, new.clone(), "", true).await.unwrap();
    assert_eq!(server.state("K-1").await, before);
    let created = create(&server, new, "", false).await.unwrap();
    // The id alone refers to a contact that does not exist.
    assert_ne!(checked.contact_id, created.contact_id);
    let with_its_id = Contact {
        contact_id: created.contact_id.clone(),
        ..checked
    };
    assert_eq!(with_its_id, created);

    let before = server.state("K-1").await;
    let checked = update(&server, renamed(&created), "", true).await.unwrap();
    assert_eq!(server.state("K-1").await, before);
    let updated = update(&server, renamed(&created), "", false).await.unwrap();
    assert_eq!(checked, updated);

    let before = server.state("K-1").await;
    delete(&server, &updated, "", true).await.unwrap();
    assert_eq!(server.state("K-1").await, before);
    delete(&server, &updated, "", false).await.unwrap();
    assert_eq!(server.contacts("K-1").await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn validation_rejects_what_the_request_would(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    server.create_customer("K-2").await;
    let technical = new_contact("Technik", &[ContactType::Technical]);
    let technical_with_invoice = Contact {
        invoice_email_enabled: Some(true),
        ..technical.clone()
    };
    let foreign = of_customer("K-2", only_id(&anna));
    let stripped = Contact {
        types: vec![ContactType::Other.into()],
        ..only_id(&anna)
    };
    let stale = Contact {
        etag: "nonsense".into(),
        ..only_id(&anna)
    };
    let with_invoice = Contact {
        invoice_email_enabled: Some(true),
        ..only_id(&anna)
    };
    for (validate_only, real) in [(true, false), (false, true)] {
        assert_eq!(validate_only, !real);
        let mut reasons = Vec::new();
        for contact in [
            of_customer("K-2", technical.clone()),
            of_customer("K-1", technical_with_invoice.clone()),
            of_customer("K-9", technical.clone()),
            of_customer("K-1", Contact::default()),
        ] {
            reasons.push(rejection(create(&server, contact, "", validate_only).await).1);
        }
        for contact in [
            &stripped,
            &stale,
            &with_invoice,
            &foreign,
            &of_customer("K-9", anna.clone()),
        ] {
            let rejected = update(&server, contact.clone(), "", validate_only).await;
            reasons.push(rejection(rejected).1);
        }
        for contact in [&anna, &stale, &foreign] {
            reasons.push(rejection(delete(&server, contact, "", validate_only).await).1);
        }
        assert_eq!(
            reasons,
            [
                "FIRST_CONTACT_NOT_STANDARD",
                "INVOICE_EMAIL_NOT_ALLOWED",
                "CUSTOMER_NOT_FOUND",
                "INVALID_FIELD",
                "LAST_STANDARD_CONTACT",
                "ETAG_MISMATCH",
                "INVOICE_EMAIL_NOT_ALLOWED",
                "CONTACT_NOT_FOUND",
                "CUSTOMER_NOT_FOUND",
                "LAST_STANDARD_CONTACT",
                "ETAG_MISMATCH",
                "CONTACT_NOT_FOUND",
            ],
            "{validate_only}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn validation_uses_no_request_id(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let new = of_customer("K-1", new_contact("Technik", &[ContactType::Technical]));
    create(&server, new.clone(), ID, true).await.unwrap();
    let created = create(&server, new, ID, false).await.unwrap();
    let id = ID.replace("55", "56");
    update(&server, renamed(&created), &id, true).await.unwrap();
    let updated = update(&server, renamed(&created), &id, false)
        .await
        .unwrap();
    let id = ID.replace("55", "57");
    delete(&server, &updated, &id, true).await.unwrap();
    delete(&server, &updated, &id, false).await.unwrap();
    assert_eq!(server.contacts("K-1").await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn validation_honors_a_used_request_id(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let new = of_customer("K-1", new_contact("Technik", &[ContactType::Technical]));
    let created = create(&server, new.clone(), ID, false).await.unwrap();
    let before = server.state("K-1").await;
    assert_eq!(create(&server, new, ID, true).await.unwrap(), created);
    let other = of_customer("K-1", new_contact("Anders", &[ContactType::Technical]));
    for rejected in [
        rejection(create(&server, other, ID, true).await),
        rejection(update(&server, renamed(&created), ID, true).await),
        rejection(delete(&server, &created, ID, true).await),
    ] {
        assert_eq!(rejected.1, "REQUEST_ID_REUSED");
    }
    assert_eq!(server.state("K-1").await, before);
}
