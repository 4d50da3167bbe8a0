//! `CreateContact`, `GetContact` and `DeleteContact` over the wire (rules 1 to 4, 20, 22).

use contact_service::api::proto::{self, ContactType, CreateContactRequest, Restrictions};
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Backend, TestServer, new_contact, rejected_fields, rejection},
    requests::{only_id, timestamp},
};

const STANDARD: &[ContactType] = &[ContactType::Standard];
const ACCOUNTING: &[ContactType] = &[ContactType::Accounting];
const TECHNICAL: &[ContactType] = &[ContactType::Technical];
const UNKNOWN_ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

async fn create(
    server: &TestServer,
    request: CreateContactRequest,
) -> Result<proto::Contact, Status> {
    let response = server.client().create_contact(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

fn creation(contact: proto::Contact) -> CreateContactRequest {
    CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(contact),
        ..CreateContactRequest::default()
    }
}

async fn get(server: &TestServer, number: &str, id: &str) -> Result<proto::Contact, Status> {
    let request = proto::GetContactRequest {
        customer_number: number.into(),
        contact_id: id.into(),
    };
    let response = server.client().get_contact(request).await?;
    Ok(response.into_inner().contact.unwrap())
}

async fn delete(server: &TestServer, contact: &proto::Contact, etag: &str) -> Result<(), Status> {
    let request = proto::DeleteContactRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        etag: etag.into(),
        ..proto::DeleteContactRequest::default()
    };
    server.client().delete_contact(request).await.map(|_| ())
}

#[rstest]
#[tokio::test]
async fn new_contact_is_stored_as_entered(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    for code in ["server_reboot", "a", "domain.transfer"] {
        server.create_order_type(code, false, true).await;
    }
    let entered = proto::Contact {
        types: vec![3, 1, 1, 7],
        display_name: " Anna Schmidt ".into(),
        locale: "en".into(),
        phone_numbers: vec!["+43 1 58858".into()],
        invoice_email_enabled: Some(true),
        restrictions: Some(Restrictions {
            note: "Nur werktags\nund nie freitags".into(),
            allowed_order_types: vec!["server_reboot".into(), "a".into(), "a".into()],
            denied_order_types: vec!["domain.transfer".into()],
        }),
        // Set by the service, whatever the request contains.
        contact_id: UNKNOWN_ID.into(),
        email: "not@taken.example".into(),
        etag: "nonsense".into(),
        ..proto::Contact::default()
    };
    let mut request = creation(entered.clone());
    request.email = "anna@muster.example".into();
    let made = create(&server, request).await.unwrap();
    assert_ne!(made.contact_id, UNKNOWN_ID);
    assert_eq!(
        uuid::Uuid::parse_str(&made.contact_id)
            .unwrap()
            .get_version_num(),
        7
    );
    let pending = made.pending_email.clone().unwrap();
    assert_eq!(pending.email, "anna@muster.example");
    let expected = proto::Contact {
        customer_number: "K-1".into(),
        contact_id: made.contact_id.clone(),
        types: vec![1, 3, 7],
        display_name: "Anna Schmidt".into(),
        email: String::new(),
        pending_email: Some(pending),
        phone_numbers: vec!["+43158858".into()],
        restrictions: Some(Restrictions {
            allowed_order_types: vec!["server_reboot".into(), "a".into()],
            ..entered.restrictions.clone().unwrap()
        }),
        phone_password: Some(proto::PhonePassword::default()),
        etag: made.etag.clone(),
        create_time: timestamp(server.now()),
        update_time: timestamp(server.now()),
        last_standard_contact: true,
        invoice_email_available: true,
        ..entered
    };
    assert_eq!(made, expected);
    assert_eq!(server.contact(&made).await, made);
    assert_eq!(server.contacts("K-1").await, [made]);
}

#[rstest]
#[tokio::test]
async fn unset_fields_of_a_new_contact_get_defaults(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let made = server.create_customer_with_contact("K-1").await;
    assert_eq!(made.locale, "de");
    assert_eq!(made.invoice_email_enabled, Some(false));
    assert_eq!(made.restrictions, Some(Restrictions::default()));
    assert_eq!((made.email.as_str(), &made.pending_email), ("", &None));
    assert_eq!(made.phone_numbers, [""; 0]);
}

#[rstest]
#[tokio::test]
async fn all_violations_of_a_new_contact_are_reported(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let all_wrong = proto::Contact {
        customer_number: "K-2".into(),
        types: vec![1, 0, 99],
        display_name: "Anna\nSchmidt".into(),
        locale: "fr".into(),
        phone_numbers: vec!["0721 913740".into(), "110".into()],
        restrictions: Some(Restrictions {
            note: "\0".into(),
            allowed_order_types: vec!["a b".into()],
            denied_order_types: vec!["a".into(), String::new()],
        }),
        ..proto::Contact::default()
    };
    let request = CreateContactRequest {
        customer_number: "K 1".into(),
        contact: Some(all_wrong),
        email: "muster.example".into(),
        phone_password: "pass wort".into(),
        request_id: "1".into(),
        ..CreateContactRequest::default()
    };
    assert_eq!(
        rejected_fields(create(&server, request).await),
        [
            "request_id",
            "customer_number",
            "contact.customer_number",
            "contact.types[1]",
            "contact.types[2]",
            "contact.display_name",
            "contact.locale",
            "contact.phone_numbers[1]",
            "contact.restrictions.note",
            "contact.restrictions.allowed_order_types[0]",
            "contact.restrictions.denied_order_types[1]",
            "contact.restrictions.denied_order_types[0]",
            "email",
            "phone_password",
        ]
    );
    let empty = create(&server, CreateContactRequest::default()).await;
    assert_eq!(
        rejected_fields(empty),
        ["customer_number", "contact.types", "contact.display_name"]
    );
}

#[rstest]
#[tokio::test]
async fn stateful_violations_are_reported_with_the_others(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_order_type("known", false, true).await;
    let many = |count: usize| {
        let codes = (0..count).map(|nth| format!("unknown-{nth}"));
        ["known".to_owned(), "known".to_owned()]
            .into_iter()
            .chain(codes)
            .collect()
    };
    let request = |count| CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(proto::Contact {
            types: vec![ContactType::Standard.into()],
            display_name: "Kunibert".into(),
            locale: "fr".into(),
            restrictions: Some(Restrictions {
                denied_order_types: many(count),
                ..Restrictions::default()
            }),
            ..proto::Contact::default()
        }),
        phone_password: "kuni-bert".into(),
        ..CreateContactRequest::default()
    };
    let expected = [
        "contact.locale",
        "contact.restrictions.denied_order_types[2]",
        "phone_password",
    ];
    assert_eq!(rejected_fields(create(&server, request(1)).await), expected);
    // Larger than the trailers that clients accept: every field is listed, with only some of its
    // list elements.
    let reported = rejected_fields(create(&server, request(98)).await);
    assert!((20..90).contains(&reported.len()), "{reported:?}");
    assert!(
        expected
            .iter()
            .all(|field| reported.iter().any(|found| found == field))
    );
}

#[rstest]
#[tokio::test]
async fn rules_4_and_20_lengths_and_counts_are_limited(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let numbers = |count: usize| (0..count).map(|n| format!("+4972191374{n:02}")).collect();
    let codes = |count: usize| (0..count).map(|n| format!("code-{n}")).collect::<Vec<_>>();
    let contact = |chars: usize, phones: usize, length: usize, types: usize| proto::Contact {
        display_name: "ä".repeat(chars),
        types: vec![1],
        phone_numbers: numbers(phones),
        restrictions: Some(Restrictions {
            note: "ß".repeat(length),
            allowed_order_types: codes(types),
            denied_order_types: codes(types),
        }),
        ..proto::Contact::default()
    };
    let too_much = create(&server, creation(contact(201, 11, 1_001, 101))).await;
    assert_eq!(
        rejected_fields(too_much),
        [
            "contact.display_name",
            "contact.phone_numbers",
            "contact.restrictions.note",
            "contact.restrictions.allowed_order_types",
            "contact.restrictions.denied_order_types",
        ]
    );
    for code in codes(100) {
        server.create_order_type(&code, false, true).await;
    }
    let most = contact(200, 10, 1_000, 100);
    let made = create(&server, creation(most.clone())).await.unwrap();
    assert_eq!(made.display_name, most.display_name);
    assert_eq!(made.phone_numbers, most.phone_numbers);
    assert_eq!(made.restrictions, most.restrictions);
    assert_eq!(server.contact(&made).await, made);
}

#[rstest]
#[tokio::test]
async fn phone_numbers_are_stored_as_e164_without_duplicates(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let contact = proto::Contact {
        phone_numbers: [
            "0721 91374-0",
            "+43 1 58858",
            "+49 (0)721 / 913740",
            "0151 23456789",
        ]
        .map(String::from)
        .into(),
        ..new_contact("Anna Schmidt", STANDARD)
    };
    let made = create(&server, creation(contact)).await.unwrap();
    let kept = ["+49721913740", "+43158858", "+4915123456789"];
    assert_eq!(made.phone_numbers, kept);
    assert_eq!(server.contact(&made).await.phone_numbers, kept);
}

#[rstest]
#[tokio::test]
async fn rule_2_first_contact_is_standard(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let technical = creation(new_contact("Technik", TECHNICAL));
    let rejected = rejection(create(&server, technical.clone()).await);
    assert_eq!(
        rejected,
        (
            Code::FailedPrecondition,
            "FIRST_CONTACT_NOT_STANDARD".into()
        )
    );
    assert_eq!(server.contacts("K-1").await, []);
    server
        .create_contact("K-1", "Anna Schmidt", STANDARD, "")
        .await;
    create(&server, technical).await.unwrap();
    assert_eq!(server.contacts("K-1").await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn rule_2_last_standard_contact_is_protected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let technical = server.create_contact("K-1", "Technik", TECHNICAL, "").await;
    let strip = |contact: &proto::Contact| proto::Contact {
        types: vec![ContactType::Owner.into()],
        ..only_id(contact)
    };
    let expected = (Code::FailedPrecondition, "LAST_STANDARD_CONTACT".to_owned());
    let before = server.state("K-1").await;
    assert_eq!(rejection(server.delete_contact(&anna).await), expected);
    assert_eq!(
        rejection(server.update_contact(strip(&anna), &[]).await),
        expected
    );
    assert_eq!(server.state("K-1").await, before);

    // With a second one on file either may be deleted; the other is then the last.
    let bernd = server
        .create_contact(
            "K-1",
            "Bernd",
            &[ContactType::Standard, ContactType::Other],
            "",
        )
        .await;
    server.update_contact(strip(&anna), &[]).await.unwrap();
    assert_eq!(rejection(server.delete_contact(&bernd).await), expected);
    server.delete_contact(&anna).await.unwrap();
    server.delete_contact(&technical).await.unwrap();
    assert_eq!(rejection(server.delete_contact(&bernd).await), expected);
    let last = proto::Contact {
        last_standard_contact: true,
        ..bernd
    };
    assert_eq!(server.contacts("K-1").await, [last]);
}

#[rstest]
#[tokio::test]
async fn rule_4_customer_has_at_most_100_contacts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    for index in 0..99 {
        server
            .create_contact("K-1", &format!("Nr. {index}"), STANDARD, "")
            .await;
    }
    let last = server.create_contact("K-1", "Nr. 99", STANDARD, "").await;
    let one_more = creation(new_contact("Nr. 100", STANDARD));
    let status = create(&server, one_more.clone()).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (Code::ResourceExhausted, "CONTACT_LIMIT")
    );
    assert_eq!(info.metadata.get("limit").map(String::as_str), Some("100"));
    assert_eq!(server.contacts("K-1").await.len(), 100);
    server.delete_contact(&last).await.unwrap();
    create(&server, one_more).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn rule_22_new_invoice_contact_requires_type_and_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let with_invoice = |types, email: &str| CreateContactRequest {
        email: email.into(),
        ..creation(proto::Contact {
            invoice_email_enabled: Some(true),
            ..new_contact("Bernd Maier", types)
        })
    };
    for (types, email) in [
        (STANDARD, ""),
        (ACCOUNTING, ""),
        (TECHNICAL, "b@muster.example"),
    ] {
        let rejected = rejection(create(&server, with_invoice(types, email)).await);
        let expected = (Code::FailedPrecondition, "INVOICE_EMAIL_NOT_ALLOWED".into());
        assert_eq!(rejected, expected, "{types:?} {email}");
    }
    for types in [STANDARD, ACCOUNTING] {
        let made = create(&server, with_invoice(types, "b@muster.example"))
            .await
            .unwrap();
        assert_eq!(made.invoice_email_enabled, Some(true));
    }
}

#[rstest]
#[tokio::test]
async fn contact_of_another_customer_is_not_found(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let foreign = server.create_customer_with_contact("K-2").await;
    for (number, id, reason) in [
        ("K-9", UNKNOWN_ID, "CUSTOMER_NOT_FOUND"),
        ("K-1", UNKNOWN_ID, "CONTACT_NOT_FOUND"),
        ("K-1", foreign.contact_id.as_str(), "CONTACT_NOT_FOUND"),
    ] {
        let expected = (Code::NotFound, reason.to_owned());
        assert_eq!(rejection(get(&server, number, id).await), expected);
        let contact = proto::Contact {
            customer_number: number.into(),
            contact_id: id.into(),
            ..proto::Contact::default()
        };
        assert_eq!(rejection(delete(&server, &contact, "").await), expected);
    }
    let into_nothing = CreateContactRequest {
        customer_number: "K-9".into(),
        ..creation(new_contact("Anna Schmidt", STANDARD))
    };
    let rejected = rejection(create(&server, into_nothing).await);
    assert_eq!(rejected, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
    for bad in ["", "1", "0190d6d25a3c7cc18f2e3d1f0a9b7c55"] {
        let rejected = get(&server, "K 1", bad).await;
        assert_eq!(rejected_fields(rejected), ["customer_number", "contact_id"]);
    }
    let rejected = delete(&server, &proto::Contact::default(), "").await;
    assert_eq!(rejected_fields(rejected), ["customer_number", "contact_id"]);
}

#[rstest]
#[tokio::test]
async fn delete_requires_the_current_etag(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let first = server.create_contact("K-1", "Technik", TECHNICAL, "").await;
    let renamed = new_contact("Technik Süd", &[]);
    let renamed = proto::Contact {
        contact_id: first.contact_id.clone(),
        customer_number: "K-1".into(),
        ..renamed
    };
    let second = server.update_contact(renamed, &[]).await.unwrap();
    let before = server.state("K-1").await;
    for stale in [first.etag.as_str(), "nonsense"] {
        let rejected = rejection(delete(&server, &first, stale).await);
        assert_eq!(rejected, (Code::Aborted, "ETAG_MISMATCH".into()));
    }
    assert_eq!(server.state("K-1").await, before);

    delete(&server, &first, &second.etag).await.unwrap();
    let gone = rejection(get(&server, "K-1", &first.contact_id).await);
    assert_eq!(gone, (Code::NotFound, "CONTACT_NOT_FOUND".into()));
    let again = rejection(delete(&server, &first, "").await);
    assert_eq!(again, (Code::NotFound, "CONTACT_NOT_FOUND".into()));
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        (event.kind().as_str_name(), event.contact_id),
        ("EVENT_KIND_CONTACT_DELETED", first.contact_id)
    );
}
