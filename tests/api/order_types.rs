//! Updates of order types: names by language, and masks (AIP-134).

use std::collections::HashMap;

use contact_service::api::proto::{self, EventKind, OrderType};
use rstest::rstest;
use tonic::Status;

use crate::{
    harness::{Backend, TestServer, rejected_fields},
    requests::mask,
};

async fn update(
    server: &TestServer,
    order_type: OrderType,
    paths: Option<&[&str]>,
    allow_missing: bool,
) -> Result<OrderType, Status> {
    let request = proto::UpdateOrderTypeRequest {
        order_type: Some(order_type),
        update_mask: paths.and_then(mask),
        allow_missing,
        ..proto::UpdateOrderTypeRequest::default()
    };
    let updated = server.client().update_order_type(request).await?;
    Ok(updated.into_inner().order_type.unwrap())
}

fn names(german: &str, english: &str) -> HashMap<String, String> {
    let names = [("de", german), ("en", english)];
    names
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(language, name)| (language.to_owned(), name.to_owned()))
        .collect()
}

fn reboot() -> OrderType {
    OrderType {
        code: "reboot".into(),
        display_name: "Neustart".into(),
        display_names: names("Neustart", "Reboot"),
        system_management: true,
        offered_by_phone: true,
        requires_verified_channel: true,
        retired: false,
    }
}

#[rstest]
#[tokio::test]
async fn mask_names_the_fields_that_are_set(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // One that is created takes all fields, whatever the mask.
    let created = update(&server, reboot(), Some(&["retired"]), true).await;
    assert_eq!(created.unwrap(), reboot());
    let other = OrderType {
        code: "reboot".into(),
        display_name: "Reset".into(),
        ..OrderType::default()
    };
    let named = update(&server, other.clone(), Some(&["display_name"]), false).await;
    let expected = OrderType {
        display_name: "Reset".into(),
        ..reboot()
    };
    assert_eq!(named.unwrap(), expected);
    // Without a mask, every populated field.
    let populated = OrderType {
        code: "reboot".into(),
        display_names: names("Zurücksetzen", ""),
        retired: true,
        ..OrderType::default()
    };
    let expected = OrderType {
        display_names: names("Zurücksetzen", ""),
        retired: true,
        ..expected
    };
    let updated = update(&server, populated, None, false).await;
    assert_eq!(updated.unwrap(), expected);
    let flags = &["requires_verified_channel", "system_management", "retired"];
    let cleared = update(&server, other.clone(), Some(flags), false).await;
    let expected = OrderType {
        requires_verified_channel: false,
        system_management: false,
        retired: false,
        ..expected
    };
    assert_eq!(cleared.unwrap(), expected);
    let all = update(&server, other.clone(), Some(&["*"]), false).await;
    assert_eq!(all.unwrap(), other);

    let request = proto::ListAuditEventsRequest {
        kinds: vec![EventKind::OrderTypeUpdated.into()],
        ..proto::ListAuditEventsRequest::default()
    };
    let listed = server.client().list_audit_events(request).await;
    let events = listed.unwrap().into_inner().events;
    let mut fields: Vec<_> = events
        .iter()
        .map(|event| event.changed_fields.len())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, [1, 2, 2, 3, 7]);
}

#[rstest]
#[tokio::test]
async fn names_and_masks_are_checked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut bad = reboot();
    bad.display_names = [("fr", "Redémarrage"), ("", "x"), ("de", "a\nb")]
        .map(|(language, name)| (language.to_owned(), name.to_owned()))
        .into();
    let mut fields = rejected_fields(update(&server, bad, Some(&["nonsense"]), true).await);
    fields.sort();
    assert_eq!(
        fields,
        [
            "order_type.display_names",
            "order_type.display_names",
            "order_type.display_names[de]",
            "update_mask",
        ]
    );
    let nameless = OrderType {
        display_name: String::new(),
        ..reboot()
    };
    let rejected = update(&server, nameless.clone(), Some(&["display_name"]), false).await;
    assert_eq!(rejected_fields(rejected), ["order_type.display_name"]);
    let rejected = update(&server, nameless, Some(&["retired"]), true).await;
    assert_eq!(rejected_fields(rejected), ["order_type.display_name"]);
}
