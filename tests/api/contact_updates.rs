//! `UpdateContact` over the wire: field masks, etags, and the limits of rule 22.

use contact_service::api::proto::{self, Contact, ContactType, PersonName, Restrictions};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::{mask, only_id, timestamp},
};

const NOT_ALLOWED: &str = "INVOICE_EMAIL_NOT_ALLOWED";

/// A contact with every field set, and one with different values in all of them.
async fn two_versions(server: &TestServer) -> (Contact, Contact) {
    server.create_customer_with_contact("K-1").await;
    for code in ["a", "b", "c", "d", "e", "f"] {
        server.create_order_type(code, false, true).await;
    }
    let request = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(Contact {
            types: vec![ContactType::Accounting.into()],
            display_name: "Buchhaltung".into(),
            name: name(1, "Dr.", "Anna", "Beck"),
            position: "Leiterin".into(),
            department: "Finanzen".into(),
            locale: "en".into(),
            phone_numbers: vec!["+49721913740".into(), "+49721913741".into()],
            invoice_email_enabled: Some(true),
            restrictions: restrictions("Nur werktags", &["a", "b"], &["c"]),
            ..Contact::default()
        }),
        email: "buchhaltung@muster.example".into(),
        ..proto::CreateContactRequest::default()
    };
    let response = server.client().create_contact(request).await.unwrap();
    let old = response.into_inner().contact.unwrap();
    let new = Contact {
        types: vec![ContactType::Technical.into(), ContactType::Other.into()],
        display_name: "Technik".into(),
        name: name(2, "Prof.", "Bernd", "Maier"),
        position: "Leiter".into(),
        department: "Betrieb".into(),
        locale: "de".into(),
        phone_numbers: vec!["+43158858".into()],
        invoice_email_enabled: Some(false),
        restrictions: restrictions("Nie", &["d"], &["e", "f"]),
        ..only_id(&old)
    };
    (old, new)
}

fn name(salutation: i32, title: &str, given_name: &str, family_name: &str) -> Option<PersonName> {
    Some(PersonName {
        salutation,
        title: title.into(),
        given_name: given_name.into(),
        family_name: family_name.into(),
    })
}

fn restrictions(note: &str, allowed: &[&str], denied: &[&str]) -> Option<Restrictions> {
    let codes = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect();
    Some(Restrictions {
        note: note.into(),
        allowed_order_types: codes(allowed),
        denied_order_types: codes(denied),
    })
}

/// The contact without the fields that change on every update or follow from others.
fn unstamped(contact: &Contact) -> Contact {
    Contact {
        etag: String::new(),
        update_time: None,
        invoice_email_available: false,
        ..contact.clone()
    }
}

/// Copies the field at `path` from `from` into `contact`.
fn copy(contact: &mut Contact, from: &Contact, path: &str) {
    let restrictions = from.restrictions.clone().unwrap_or_default();
    let kept = contact.restrictions.get_or_insert_default();
    let parts = from.name.clone().unwrap_or_default();
    match path {
        "name.salutation" => contact.name.get_or_insert_default().salutation = parts.salutation,
        "name.title" => contact.name.get_or_insert_default().title = parts.title,
        "name.given_name" => contact.name.get_or_insert_default().given_name = parts.given_name,
        "name.family_name" => contact.name.get_or_insert_default().family_name = parts.family_name,
        "position" => contact.position.clone_from(&from.position),
        "department" => contact.department.clone_from(&from.department),
        "types" => contact.types.clone_from(&from.types),
        "display_name" => contact.display_name.clone_from(&from.display_name),
        "locale" => contact.locale.clone_from(&from.locale),
        "phone_numbers" => contact.phone_numbers.clone_from(&from.phone_numbers),
        "invoice_email_enabled" => contact.invoice_email_enabled = from.invoice_email_enabled,
        "restrictions.note" => kept.note = restrictions.note,
        "restrictions.allowed_order_types" => {
            kept.allowed_order_types = restrictions.allowed_order_types;
        }
        "restrictions.denied_order_types" => {
            kept.denied_order_types = restrictions.denied_order_types;
        }
        "restrictions" => *kept = restrictions,
        other => panic!("unknown field {other}"),
    }
}

// Invoice e-mail first: once it is off, the types may change.
const FIELDS: &[&str] = &[
    "invoice_email_enabled",
    "types",
    "display_name",
    "name.salutation",
    "name.title",
    "name.given_name",
    "name.family_name",
    "position",
    "department",
    "locale",
    "phone_numbers",
    "restrictions.note",
    "restrictions.allowed_order_types",
    "restrictions.denied_order_types",
];

#[rstest]
#[tokio::test]
async fn path_sets_only_its_own_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (mut expected, new) = two_versions(&server).await;
    for path in FIELDS {
        server.clock.advance(chrono::TimeDelta::seconds(1));
        let changed = server.update_contact(new.clone(), &[path]).await.unwrap();
        copy(&mut expected, &new, path);
        assert_eq!(unstamped(&changed), unstamped(&expected), "{path}");
        assert_eq!(changed.update_time, timestamp(server.now()));
        assert_eq!(server.contact(&changed).await, changed);
        let event = server.events("K-1").await.remove(0);
        assert_eq!(event.kind().as_str_name(), "EVENT_KIND_CONTACT_UPDATED");
        assert_eq!(event.changed_fields, [*path]);
        assert_eq!(event.contact_id, changed.contact_id);
    }
}

#[rstest]
#[tokio::test]
async fn path_of_an_unset_field_clears_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (named, _) = two_versions(&server).await;
    // Without parts of a name the display name is required.
    let nameless = server.update_contact(only_id(&named), &["name"]).await;
    let mut expected = nameless.unwrap();
    let empty = Contact {
        locale: "de".into(),
        invoice_email_enabled: Some(false),
        ..only_id(&expected)
    };
    for path in FIELDS.iter().filter(|path| !path.starts_with("name.")) {
        let changed = server.update_contact(only_id(&expected), &[path]).await;
        if ["types", "display_name"].contains(path) {
            assert_eq!(rejected_fields(changed), [format!("contact.{path}")]);
        } else {
            copy(&mut expected, &empty, path);
            assert_eq!(unstamped(&changed.unwrap()), unstamped(&expected), "{path}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn parent_path_covers_all_its_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (mut expected, new) = two_versions(&server).await;
    let only_note = Contact {
        restrictions: restrictions("Nie", &[], &[]),
        ..new
    };
    for contact in [only_note.clone(), only_id(&only_note)] {
        let changed = server
            .update_contact(contact.clone(), &["restrictions"])
            .await
            .unwrap();
        copy(&mut expected, &contact, "restrictions");
        assert_eq!(unstamped(&changed), unstamped(&expected));
    }
}

#[rstest]
#[tokio::test]
async fn no_mask_updates_populated_fields_and_explicit_false(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (mut expected, new) = two_versions(&server).await;
    let unchanged = server
        .update_contact(only_id(&expected), &[])
        .await
        .unwrap();
    assert_eq!(unchanged, expected);
    for path in FIELDS {
        let mut one = only_id(&expected);
        copy(&mut one, &new, path);
        // Output only: ignored.
        one.email = "not@taken.example".into();
        let changed = server.update_contact(one, &[]).await.unwrap();
        copy(&mut expected, &new, path);
        assert_eq!(unstamped(&changed), unstamped(&expected), "{path}");
    }
}

#[rstest]
#[tokio::test]
async fn star_mask_replaces_all_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (old, new) = two_versions(&server).await;
    let mut expected = old.clone();
    for path in FIELDS {
        copy(&mut expected, &new, path);
    }
    let changed = server.update_contact(new, &["*"]).await.unwrap();
    assert_eq!(unstamped(&changed), unstamped(&expected));

    let least = Contact {
        types: vec![ContactType::Other.into()],
        display_name: "Sonstige".into(),
        ..only_id(&old)
    };
    let changed = server.update_contact(least.clone(), &["*"]).await.unwrap();
    let expected = Contact {
        locale: "de".into(),
        invoice_email_enabled: Some(false),
        restrictions: Some(Restrictions::default()),
        phone_password: Some(proto::PhonePassword::default()),
        pending_email: old.pending_email.clone(),
        create_time: old.create_time,
        ..least
    };
    assert_eq!(unstamped(&changed), expected);
    let rejected = server.update_contact(only_id(&old), &["*"]).await;
    assert_eq!(
        rejected_fields(rejected),
        ["contact.types", "contact.display_name"]
    );
}

#[rstest]
#[tokio::test]
async fn unknown_or_output_only_path_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, new) = two_versions(&server).await;
    let before = server.state("K-1").await;
    for bad in [
        &["customer_number"][..],
        &["contact_id"],
        &["email"],
        &["pending_email"],
        &["pending_email.email"],
        &["phone_password"],
        &["etag"],
        &["create_time"],
        &["update_time"],
        &["type"],
        &["displayName"],
        &["restrictions.notes"],
        &["types", "nonsense"],
        &["*", "types"],
        &[""],
    ] {
        let rejected = server.update_contact(new.clone(), bad).await;
        assert_eq!(rejected_fields(rejected), ["update_mask"], "{bad:?}");
    }
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn all_violations_of_an_update_are_reported(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let all_wrong = Contact {
        customer_number: "K 1".into(),
        contact_id: "1".into(),
        types: vec![0],
        display_name: "x".repeat(201),
        locale: "DE".into(),
        phone_numbers: vec!["1".into()],
        restrictions: restrictions(&"x".repeat(1_001), &["ä"], &[""]),
        ..Contact::default()
    };
    let request = |paths: &[&str]| proto::UpdateContactRequest {
        contact: Some(all_wrong.clone()),
        update_mask: mask(paths),
        request_id: "1".into(),
        validate_only: false,
        ..proto::UpdateContactRequest::default()
    };
    let fields = [
        "contact.customer_number",
        "contact.contact_id",
        "contact.types[0]",
        "contact.display_name",
        "contact.locale",
        "contact.phone_numbers[0]",
        "contact.restrictions.note",
        "contact.restrictions.allowed_order_types[0]",
        "contact.restrictions.denied_order_types[0]",
    ];
    for paths in [&[][..], &["*"]] {
        let rejected = server.client().update_contact(request(paths)).await;
        assert_eq!(
            rejected_fields(rejected),
            [&["request_id"], &fields[..]].concat()
        );
    }
    let rejected = server
        .client()
        .update_contact(request(&["nonsense", "locale"]))
        .await;
    let expected = [&["request_id", "update_mask"], &fields[..2], &fields[4..5]].concat();
    assert_eq!(rejected_fields(rejected), expected);
}

#[rstest]
#[tokio::test]
async fn stale_etag_is_rejected_and_changes_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (first, new) = two_versions(&server).await;
    let with_etag = |etag: &str, name: &str| Contact {
        etag: etag.into(),
        display_name: name.into(),
        ..only_id(&new)
    };
    let second = server
        .update_contact(with_etag(&first.etag, "B"), &[])
        .await
        .unwrap();
    assert_ne!(second.etag, first.etag);
    // A change of the e-mail address is a change of the contact.
    let third = server
        .change_email(&first, "c@muster.example")
        .await
        .unwrap();
    let before = server.state("K-1").await;
    for stale in [first.etag.as_str(), second.etag.as_str(), "nonsense"] {
        let rejected = rejection(server.update_contact(with_etag(stale, "C"), &[]).await);
        assert_eq!(rejected, (Code::Aborted, "ETAG_MISMATCH".into()));
    }
    assert_eq!(server.state("K-1").await, before);
    let fourth = server
        .update_contact(with_etag(&third.etag, "D"), &[])
        .await
        .unwrap();
    // A request that changes nothing keeps the etag.
    let same = server
        .update_contact(with_etag(&fourth.etag, "D"), &[])
        .await
        .unwrap();
    assert_eq!(same, fourth);
}

#[rstest]
#[tokio::test]
async fn contact_of_another_customer_is_not_changed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, _) = two_versions(&server).await;
    server.create_customer("K-2").await;
    for (number, reason) in [("K-2", "CONTACT_NOT_FOUND"), ("K-9", "CUSTOMER_NOT_FOUND")] {
        let elsewhere = Contact {
            customer_number: number.into(),
            ..contact.clone()
        };
        let rejected = rejection(server.update_contact(elsewhere, &[]).await);
        assert_eq!(rejected, (Code::NotFound, reason.into()));
    }
}

async fn set_types(
    server: &TestServer,
    contact: &Contact,
    types: &[ContactType],
    invoice_email_enabled: Option<bool>,
) -> Result<Contact, Status> {
    let change = Contact {
        types: types.iter().map(|&held| held.into()).collect(),
        invoice_email_enabled,
        ..only_id(contact)
    };
    server.update_contact(change, &[]).await
}

async fn switch(server: &TestServer, contact: &Contact, on: bool) -> Result<Contact, Status> {
    set_types(server, contact, &[], Some(on)).await
}

#[rstest]
#[tokio::test]
async fn rule_22_invoice_email_requires_type_and_address(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let expected = (Code::FailedPrecondition, NOT_ALLOWED.to_owned());
    for (contact_type, fits) in [
        (ContactType::Standard, true),
        (ContactType::Accounting, true),
        (ContactType::Technical, false),
        (ContactType::Owner, false),
    ] {
        let contact = server.create_contact("K-1", "B", &[contact_type], "").await;
        assert_eq!(rejection(switch(&server, &contact, true).await), expected);
        for confirmed in [false, true] {
            if confirmed {
                server
                    .set_confirmed_email(&contact, "b@muster.example")
                    .await;
            } else {
                server
                    .change_email(&contact, "b@muster.example")
                    .await
                    .unwrap();
            }
            let switched = switch(&server, &contact, true).await;
            if fits {
                assert_eq!(switched.unwrap().invoice_email_enabled, Some(true));
                switch(&server, &contact, false).await.unwrap();
            } else {
                assert_eq!(rejection(switched), expected);
            }
        }
        // A type and the invoice e-mail switch in one update are checked together.
        let both = set_types(&server, &contact, &[ContactType::Accounting], Some(true)).await;
        assert_eq!(both.unwrap().invoice_email_enabled, Some(true));
    }
}

#[rstest]
#[tokio::test]
async fn rule_22_type_is_kept_while_invoice_email_is_on(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, _) = two_versions(&server).await;
    let technical = &[ContactType::Technical];
    let before = server.state("K-1").await;
    for keeps_it_on in [None, Some(true)] {
        let rejected = rejection(set_types(&server, &contact, technical, keeps_it_on).await);
        assert_eq!(rejected, (Code::FailedPrecondition, NOT_ALLOWED.into()));
    }
    assert_eq!(server.state("K-1").await, before);

    // It stays on when one suitable type replaces the other.
    let standard = set_types(&server, &contact, &[ContactType::Standard], None)
        .await
        .unwrap();
    assert_eq!(standard.invoice_email_enabled, Some(true));
    let stripped = set_types(&server, &contact, technical, Some(false))
        .await
        .unwrap();
    assert_eq!(stripped.types, [i32::from(ContactType::Technical)]);
    assert_eq!(stripped.invoice_email_enabled, Some(false));
}
