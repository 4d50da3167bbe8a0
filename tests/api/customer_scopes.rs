//! Which scopes `UpdateCustomer` requires (rule 24): the contact data is the master-data service's.

use contact_service::{
    api::proto::{self, ContactData, NotificationSettings},
    domain::{audit::Actor, customer::CustomerNumber},
};
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    calls::mask,
    harness::{Backend, TestServer, refusal, refused_fields},
};

const DATA: &str = "contact_data.write";
const RECORD: &str = "customers.write";

async fn update(
    server: &TestServer,
    scopes: &[&str],
    request: proto::UpdateCustomerRequest,
) -> Result<(), Status> {
    let token = server.token(&scopes.join(" "), None);
    let mut client = server.client_with(token);
    client.update_customer(request).await.map(|_| ())
}

/// A request about `number`, by what it sets.
fn request(number: &str, shape: &str) -> proto::UpdateCustomerRequest {
    let data = |data| {
        Some(proto::Customer {
            contact_data: Some(data),
            ..proto::Customer::default()
        })
    };
    let email = || {
        data(ContactData {
            email: "a@muster.example".into(),
            ..ContactData::default()
        })
    };
    let settings = NotificationSettings {
        outages: Some(false),
        ..NotificationSettings::default()
    };
    let (customer, paths, allow_missing) = match shape {
        "email" => (email(), &[][..], false),
        "phone number" => {
            let phone_number = "0721 913740".into();
            (
                data(ContactData {
                    phone_number,
                    ..ContactData::default()
                }),
                &[][..],
                false,
            )
        }
        "locale" => {
            let locale = "en".into();
            (
                data(ContactData {
                    locale,
                    ..ContactData::default()
                }),
                &[][..],
                false,
            )
        }
        "removal of the e-mail address" => (None, &["contact_data.email"][..], false),
        "removal of all contact data" => (None, &["contact_data"][..], false),
        "contact data and settings" => {
            let mut customer = email();
            customer.as_mut().unwrap().notification_settings = Some(settings);
            (customer, &[][..], false)
        }
        "everything" => (None, &["*"][..], false),
        "settings" | "settings by a mask" | "creation with settings" => {
            let mut customer = email();
            customer.as_mut().unwrap().notification_settings = Some(settings);
            if shape != "settings by a mask" {
                customer.as_mut().unwrap().contact_data = None;
            }
            let paths = if shape == "settings by a mask" {
                &["notification_settings.outages"][..]
            } else {
                &[]
            };
            (customer, paths, shape == "creation with settings")
        }
        "nothing" => (None, &[][..], false),
        "creation" => (None, &[][..], true),
        "creation with contact data" => (email(), &[][..], true),
        other => panic!("no shape {other}"),
    };
    proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            ..customer.unwrap_or_default()
        }),
        update_mask: mask(paths),
        allow_missing,
    }
}

fn missing_scope(answer: Result<(), Status>) -> String {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "SCOPE_MISSING");
    info.metadata["scope"].clone()
}

#[rstest]
#[tokio::test]
async fn rule_24_contact_data_has_a_scope_of_its_own(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    for (shape, required) in [
        ("email", &[DATA][..]),
        ("phone number", &[DATA]),
        ("locale", &[DATA]),
        ("removal of the e-mail address", &[DATA]),
        ("removal of all contact data", &[DATA]),
        ("creation", &[DATA]),
        ("creation with contact data", &[DATA]),
        ("settings", &[RECORD]),
        ("settings by a mask", &[RECORD]),
        ("nothing", &[RECORD]),
        ("contact data and settings", &[RECORD, DATA]),
        ("everything", &[RECORD, DATA]),
        ("creation with settings", &[RECORD, DATA]),
    ] {
        // Scope is judged before existence.
        for number in ["K-1", "K-9"] {
            for scope in required {
                let others: Vec<&str> = [RECORD, DATA, "customers.read", "contacts.write"]
                    .into_iter()
                    .filter(|other| other != scope)
                    .collect();
                let refused = update(&server, &others, request(number, shape)).await;
                assert_eq!(missing_scope(refused), *scope, "{shape} {number}");
            }
        }
        let done = update(&server, required, request("K-1", shape)).await;
        assert!(done.is_ok(), "{shape} {done:?}");
        let on_no_file = update(&server, required, request("K-9", shape)).await;
        if !shape.starts_with("creation") {
            assert_eq!(refusal(on_no_file).1, "CUSTOMER_NOT_FOUND", "{shape}");
        } else {
            assert!(on_no_file.is_ok(), "{shape} {on_no_file:?}");
            let erased = CustomerNumber::parse("K-9").unwrap();
            server
                .app
                .erase_customer(&Actor::service(), erased)
                .await
                .unwrap();
        }
    }
}

#[rstest]
#[tokio::test]
async fn scope_is_judged_before_the_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut wrong = request("K 1", "contact data and settings");
    wrong.update_mask = mask(&["contact_data.email", "nonsense"]);
    let refused = update(&server, &[RECORD], wrong.clone()).await;
    assert_eq!(missing_scope(refused), DATA);
    let refused = update(&server, &[RECORD, DATA], wrong).await;
    let fields = ["update_mask", "customer.customer_number"];
    assert_eq!(refused_fields(refused), fields);
}
