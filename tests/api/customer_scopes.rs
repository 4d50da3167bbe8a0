//! Scopes of `UpdateCustomer` (rule 24): only the master-data service may write contact data.

use contact_service::{
    api::proto::{self, ContactData, NotificationSettings},
    domain::{audit::Actor, ids::CustomerNumber},
};
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Backend, TestServer, rejected_fields, rejection},
    requests::mask,
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

/// A customer with contact data in which this field is set.
fn data(field: &str) -> proto::Customer {
    let mut data = ContactData::default();
    match field {
        "email" => data.email = "a@muster.example".into(),
        "phone_number" => data.phone_number = "0721 913740".into(),
        _ => data.locale = "en".into(),
    }
    proto::Customer {
        contact_data: Some(data),
        ..proto::Customer::default()
    }
}

/// The same customer with a notification setting.
fn with_settings(customer: proto::Customer) -> proto::Customer {
    let outages = Some(false);
    proto::Customer {
        notification_settings: Some(NotificationSettings {
            outages,
            ..NotificationSettings::default()
        }),
        ..customer
    }
}

/// A request about `number` that sets the named parts.
fn request(number: &str, shape: &str) -> proto::UpdateCustomerRequest {
    let nothing = proto::Customer::default();
    let (customer, path) = match shape {
        "email" | "creation with contact data" => (data("email"), ""),
        "phone number" => (data("phone_number"), ""),
        "locale" => (data("locale"), ""),
        "removal of the e-mail address" => (nothing, "contact_data.email"),
        "removal of all contact data" => (nothing, "contact_data"),
        "contact data and settings" => (with_settings(data("email")), ""),
        "everything" => (nothing, "*"),
        "settings" | "creation with settings" => (with_settings(nothing), ""),
        // The contact data is populated but not in the mask.
        "settings by a mask" => (with_settings(data("email")), "notification_settings"),
        "nothing" | "creation" => (nothing, ""),
        other => panic!("no shape {other}"),
    };
    proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            ..customer
        }),
        update_mask: if path.is_empty() { None } else { mask(&[path]) },
        allow_missing: shape.starts_with("creation"),
        ..proto::UpdateCustomerRequest::default()
    }
}

fn missing_scope(response: Result<(), Status>) -> String {
    let status = response.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "SCOPE_MISSING");
    info.metadata["scope"].clone()
}

#[rstest]
#[tokio::test]
async fn rule_24_contact_data_requires_its_own_scope(
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
        // Scopes are checked before existence.
        for number in ["K-1", "K-9"] {
            for scope in required {
                let others: Vec<&str> = [RECORD, DATA, "customers.read", "contacts.write"]
                    .into_iter()
                    .filter(|other| other != scope)
                    .collect();
                let rejected = update(&server, &others, request(number, shape)).await;
                assert_eq!(missing_scope(rejected), *scope, "{shape} {number}");
            }
        }
        let done = update(&server, required, request("K-1", shape)).await;
        assert!(done.is_ok(), "{shape} {done:?}");
        let on_no_file = update(&server, required, request("K-9", shape)).await;
        if shape.starts_with("creation") {
            assert!(on_no_file.is_ok(), "{shape} {on_no_file:?}");
            let created = CustomerNumber::parse("K-9").unwrap();
            let by = Actor::service();
            server.app.erase_customer(&by, created).await.unwrap();
        } else {
            assert_eq!(rejection(on_no_file).1, "CUSTOMER_NOT_FOUND", "{shape}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn scope_is_checked_before_the_fields(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut wrong = request("K 1", "contact data and settings");
    wrong.update_mask = mask(&["contact_data.email", "nonsense"]);
    let rejected = update(&server, &[RECORD], wrong.clone()).await;
    assert_eq!(missing_scope(rejected), DATA);
    let rejected = update(&server, &[RECORD, DATA], wrong).await;
    let fields = ["update_mask", "customer.customer_number"];
    assert_eq!(rejected_fields(rejected), fields);
}
