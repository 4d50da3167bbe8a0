//! The audit log: every change records one event with field names and without values, reads
//! record none. Also its pagination.

use std::collections::BTreeSet;

use contact_service::api::proto::{self, ContactType};
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use prost_types::FieldMask;
use rstest::rstest;
use tonic::Code;

use crate::{
    harness::{ALL_SCOPES, Backend, TestServer, new_contact, rejected_fields, rejection},
    raw::{Leaf, call, set_if_present, to_dynamic},
    rpcs::{Effect, Prepared, prepare, rpcs_with, valid_request},
};

const UNKNOWN_ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c56";

/// The contact that an event is expected to name.
enum Subject {
    None,
    Known(String),
    /// The contact in the response.
    New,
}

/// A change that succeeds, a rejected one of the same RPC, and the expected event.
struct Expected {
    number: String,
    rejected: DynamicMessage,
    reason: &'static str,
    request: DynamicMessage,
    kind: &'static str,
    contact: Subject,
    fields: &'static [&'static str],
}

const ALL_CONTACT_FIELDS: &[&str] = &[
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
    "invoice_email_enabled",
    "restrictions.note",
    "restrictions.allowed_order_types",
    "restrictions.denied_order_types",
    "pending_email",
];

/// The expected audit events of every mutating RPC.
fn changes(rpc: &str, on: &Prepared) -> Vec<Expected> {
    let valid = || valid_request(rpc, on);
    let anna = || with_contact(rpc, on, &on.anna.contact_id);
    let (rejected, reason) = match rpc {
        "UpdateCustomer" => return customer_changes(on),
        "RemoveEmail" => return removals(on),
        "SetAttentionLine" => {
            let mut rejected = valid();
            let foreign = Value::String("marker.foreign@example.com".into());
            rejected.set_field_by_name("ordered_by_email", foreign);
            (rejected, "ORDERING_ADDRESS_NOT_ON_FILE")
        }
        "CreateContact" => {
            let mut rejected = valid();
            rejected.clear_field_by_name("email");
            (rejected, "INVOICE_EMAIL_NOT_ALLOWED")
        }
        "UpdateContact" => (
            to_dynamic(rpc, &strip_standard(on)),
            "LAST_STANDARD_CONTACT",
        ),
        "DeleteContact" => (anna(), "LAST_STANDARD_CONTACT"),
        "ChangeEmail"
        | "SetPhonePassword"
        | "ClearPhonePassword"
        | "CreateOneTimeCode"
        | "UnlockPhonePassword" => (with_contact(rpc, on, UNKNOWN_ID), "CONTACT_NOT_FOUND"),
        "CheckPhonePassword" | "CheckOneTimeCode" | "SendOneTimeCode" => {
            let mut rejected = valid();
            rejected.clear_field_by_name("call_id");
            (rejected, "INVALID_FIELD")
        }
        "AuthorizePhoneOrder" => (with_contact(rpc, on, UNKNOWN_ID), "GRANT_INVALID"),
        "RecordPhoneOrderOutcome" => {
            let mut rejected = valid();
            let unknown = Value::String(UNKNOWN_ID.into());
            rejected.set_field_by_name("authorization_id", unknown);
            (rejected, "PHONE_ORDER_NOT_FOUND")
        }
        "ReportDeliveries" => {
            let mut rejected = valid();
            rejected.clear_field_by_name("reports");
            (rejected, "INVALID_FIELD")
        }
        "ExportCustomer" | "MarkContactsReviewed" => {
            let mut rejected = valid();
            let unknown = Value::String("K-UNKNOWN".into());
            rejected.set_field_by_name("customer_number", unknown);
            (rejected, "CUSTOMER_NOT_FOUND")
        }
        "CancelEmailChange" | "ResendEmailConfirmation" => (anna(), "NO_PENDING_EMAIL"),
        "ConfirmEmail" => {
            let unknown = format!("{}.{}", on.number, "0".repeat(64));
            let rejected = proto::ConfirmEmailRequest { token: unknown };
            (to_dynamic(rpc, &rejected), "CONFIRMATION_NOT_FOUND")
        }
        _ => panic!("{rpc} is a mutation: add its expected event"),
    };
    let (kind, contact, fields) = expected_event(rpc, on);
    vec![Expected {
        number: on.number.clone(),
        rejected,
        reason,
        request: valid(),
        kind,
        contact,
        fields,
    }]
}

/// Kind, contact and fields of the event that a valid request records.
fn expected_event(rpc: &str, on: &Prepared) -> (&'static str, Subject, &'static [&'static str]) {
    let berta = Subject::Known(on.berta.contact_id.clone());
    match rpc {
        "SetAttentionLine" => {
            let kind = "EVENT_KIND_CUSTOMER_ATTENTION_LINE_SET";
            let fields = &[
                "attention_line.suppressed",
                "attention_line.ordered_by_email",
            ];
            (kind, Subject::None, fields)
        }
        "MarkContactsReviewed" => (
            "EVENT_KIND_CUSTOMER_CONTACTS_REVIEWED",
            Subject::None,
            &["contacts_review"],
        ),
        "CreateContact" => (
            "EVENT_KIND_CONTACT_CREATED",
            Subject::New,
            ALL_CONTACT_FIELDS,
        ),
        "UpdateContact" => (
            "EVENT_KIND_CONTACT_UPDATED",
            berta,
            &ALL_CONTACT_FIELDS[..14],
        ),
        "DeleteContact" => ("EVENT_KIND_CONTACT_DELETED", berta, &[]),
        "ChangeEmail" => (
            "EVENT_KIND_CONTACT_EMAIL_CHANGED",
            berta,
            &["pending_email"],
        ),
        "ReportDeliveries" => {
            let anna = Subject::Known(on.anna.contact_id.clone());
            ("EVENT_KIND_CONTACT_EMAIL_BOUNCED", anna, &["email"])
        }
        "ResendEmailConfirmation" => {
            let kind = "EVENT_KIND_CONTACT_EMAIL_CONFIRMATION_RESENT";
            (kind, berta, &["pending_email"])
        }
        "ConfirmEmail" => (
            "EVENT_KIND_CONTACT_EMAIL_CONFIRMED",
            berta,
            &["email", "pending_email"],
        ),
        "ExportCustomer" => ("EVENT_KIND_CUSTOMER_EXPORTED", Subject::None, &[]),
        "CancelEmailChange" => (
            "EVENT_KIND_CONTACT_EMAIL_CHANGE_CANCELLED",
            berta,
            &["pending_email"],
        ),
        _ => expected_event_of_a_call(rpc, on),
    }
}

fn expected_event_of_a_call(
    rpc: &str,
    on: &Prepared,
) -> (&'static str, Subject, &'static [&'static str]) {
    let berta = Subject::Known(on.berta.contact_id.clone());
    match rpc {
        "SetPhonePassword" => (
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_SET",
            berta,
            &["phone_password"],
        ),
        "ClearPhonePassword" => (
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_CLEARED",
            berta,
            &["phone_password"],
        ),
        "UnlockPhonePassword" => (
            "EVENT_KIND_CONTACT_PHONE_PASSWORD_UNLOCKED",
            berta,
            &["phone_password"],
        ),
        "CheckPhonePassword" => ("EVENT_KIND_CONTACT_PHONE_PASSWORD_MATCHED", berta, &[]),
        "SendOneTimeCode" => {
            let anna = Subject::Known(on.anna.contact_id.clone());
            ("EVENT_KIND_CONTACT_ONE_TIME_CODE_REQUESTED", anna, &[])
        }
        "CreateOneTimeCode" => ("EVENT_KIND_CONTACT_ONE_TIME_CODE_CREATED", berta, &[]),
        "CheckOneTimeCode" => ("EVENT_KIND_CONTACT_ONE_TIME_CODE_MATCHED", berta, &[]),
        "RecordPhoneOrderOutcome" => {
            let kind = "EVENT_KIND_CONTACT_PHONE_ORDER_OUTCOME_RECORDED";
            (kind, berta, &[])
        }
        _ => ("EVENT_KIND_CONTACT_PHONE_ORDER_DECIDED", berta, &[]),
    }
}

fn customer_changes(on: &Prepared) -> Vec<Expected> {
    const RPC: &str = "UpdateCustomer";
    let create = |etag: &str| proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: "N-1".into(),
            contact_data: Some(proto::ContactData {
                email: "marker.new@example.com".into(),
                ..proto::ContactData::default()
            }),
            etag: etag.into(),
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    let stale = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: on.number.clone(),
            ..create("1-1").customer.unwrap()
        }),
        ..create("")
    };
    vec![
        Expected {
            number: "N-1".into(),
            rejected: to_dynamic(RPC, &create("1-1")),
            reason: "ETAG_MISMATCH",
            request: to_dynamic(RPC, &create("")),
            kind: "EVENT_KIND_CUSTOMER_CREATED",
            contact: Subject::None,
            fields: &["contact_data.email"],
        },
        Expected {
            number: on.number.clone(),
            rejected: to_dynamic(RPC, &stale),
            reason: "ETAG_MISMATCH",
            request: valid_request(RPC, on),
            kind: "EVENT_KIND_CUSTOMER_UPDATED",
            contact: Subject::None,
            fields: &[
                "contact_data.email",
                "contact_data.phone_number",
                "contact_data.locale",
                "notification_settings.outages",
            ],
        },
    ]
}

/// Removals of a pending and of a confirmed address.
fn removals(on: &Prepared) -> Vec<Expected> {
    const RPC: &str = "RemoveEmail";
    let removal = |contact: &proto::Contact, fields| Expected {
        number: on.number.clone(),
        rejected: with_contact(RPC, on, &on.carla.contact_id),
        reason: "INVOICE_EMAIL_NOT_ALLOWED",
        request: with_contact(RPC, on, &contact.contact_id),
        kind: "EVENT_KIND_CONTACT_EMAIL_REMOVED",
        contact: Subject::Known(contact.contact_id.clone()),
        fields,
    };
    vec![
        removal(&on.berta, &["pending_email"]),
        removal(&on.anna, &["email"]),
    ]
}

fn strip_standard(on: &Prepared) -> proto::UpdateContactRequest {
    proto::UpdateContactRequest {
        contact: Some(proto::Contact {
            customer_number: on.number.clone(),
            contact_id: on.anna.contact_id.clone(),
            ..new_contact("Marker Anna", &[ContactType::Other])
        }),
        update_mask: Some(FieldMask {
            paths: vec!["types".into()],
        }),
        ..proto::UpdateContactRequest::default()
    }
}

fn with_contact(rpc: &str, on: &Prepared, contact_id: &str) -> DynamicMessage {
    let mut request = valid_request(rpc, on);
    request.set_field_by_name("contact_id", Value::String(contact_id.into()));
    request
}

fn with_field(request: &DynamicMessage, field: &str, value: Value) -> Option<DynamicMessage> {
    let mut request = request.clone();
    set_if_present(&mut request, field, value).then_some(request)
}

/// All events except denials, which are written asynchronously. Empty if the customer does not
/// exist.
async fn events(server: &TestServer, number: &str) -> Vec<proto::AuditEvent> {
    let request = proto::ListAuditEventsRequest {
        customer_number: number.into(),
        page_size: 1000,
        ..proto::ListAuditEventsRequest::default()
    };
    match server.client().list_audit_events(request).await {
        Ok(response) => {
            let mut events = response.into_inner().events;
            events
                .retain(|event| event.kind().as_str_name() != "EVENT_KIND_CUSTOMER_ACCESS_DENIED");
            events
        }
        Err(status) if status.code() == Code::NotFound => Vec::new(),
        Err(status) => panic!("{status:?}"),
    }
}

fn check_event(server: &TestServer, event: &proto::AuditEvent, change: &Expected, response: &[u8]) {
    let contact_id = match &change.contact {
        Subject::None => String::new(),
        Subject::Known(id) => id.clone(),
        Subject::New => {
            let response = proto::CreateContactResponse::decode(response).unwrap();
            response.contact.unwrap().contact_id
        }
    };
    assert_eq!(event.kind().as_str_name(), change.kind);
    assert_eq!(event.actor, "tester");
    assert_eq!(event.customer_number, change.number);
    assert_eq!(event.contact_id, contact_id, "{}", change.kind);
    let named: BTreeSet<_> = event.changed_fields.iter().map(String::as_str).collect();
    assert_eq!(event.changed_fields.len(), named.len());
    let expected = change.fields.iter().copied().collect();
    assert_eq!(named, expected, "{}", change.kind);
    assert_eq!(event.event_time, crate::requests::timestamp(server.now()));
    let id = uuid::Uuid::parse_str(&event.event_id).unwrap();
    assert_eq!(id.get_version_num(), 7);
    // The code of an order type is no personal data.
    let mut event = event.clone();
    event.details.remove("order_type");
    let whole = format!("{event:?}").to_lowercase();
    for value in ["marker", "7654321", "example.com"] {
        assert!(!whole.contains(value), "{whole}");
    }
}

/// A different valid request of the same RPC and customer; `None` if only the customer could differ.
fn altered(request: &DynamicMessage) -> Option<DynamicMessage> {
    let leaves = Leaf::all_of(&request.descriptor());
    let find = |name: &str| leaves.iter().find(|leaf| leaf.name() == name);
    let (leaf, value) = [
        ("contact.etag", "1-1"),
        ("customer.etag", "1-1"),
        ("etag", "1-1"),
        ("contact_id", UNKNOWN_ID),
    ]
    .into_iter()
    .find_map(|(name, value)| Some((find(name)?, value)))?;
    let mut request = request.clone();
    leaf.set(&mut request, Value::String(value.into()));
    Some(request)
}

async fn check_change(server: &TestServer, rpc: &str, change: &Expected, request_id: String) {
    let token = server.token(ALL_SCOPES, None);
    let send = |request: &DynamicMessage| call(server, Some(&token), rpc, request.encode_to_vec());
    let before = events(server, &change.number).await;

    let (_, reason) = rejection(send(&change.rejected).await);
    assert_eq!(reason, change.reason, "{rpc}");
    assert_eq!(
        events(server, &change.number).await,
        before,
        "{rpc} rejected"
    );

    if let Some(only) = with_field(&change.request, "validate_only", Value::Bool(true)) {
        send(&only).await.unwrap();
        assert_eq!(
            events(server, &change.number).await,
            before,
            "{rpc} validate_only"
        );
    }

    let with_id = with_field(&change.request, "request_id", Value::String(request_id));
    let response = send(with_id.as_ref().unwrap_or(&change.request))
        .await
        .unwrap();
    let after = events(server, &change.number).await;
    assert_eq!(after.len(), before.len() + 1, "{rpc}");
    assert_eq!(after[1..], before, "{rpc}");
    check_event(server, &after[0], change, &response[0]);

    if let Some(with_id) = with_id {
        assert_eq!(send(&with_id).await.unwrap(), response, "{rpc} replayed");
        if let Some(other) = altered(&with_id) {
            assert_eq!(rejected_fields(send(&other).await), ["request_id"], "{rpc}");
        }
        assert_eq!(
            events(server, &change.number).await,
            after,
            "{rpc} replayed"
        );
    }
}

#[rstest]
#[tokio::test]
async fn rule_25_every_change_records_exactly_one_event(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let mut count = 0;
    for rpc in rpcs_with(Effect::Changes) {
        let template = prepare(&server, &format!("T-{}", rpc.name)).await;
        for index in 0..changes(rpc.name, &template).len() {
            // Stays within the limit of e-mails to the contacts' addresses.
            server.clock.advance(chrono::TimeDelta::hours(4));
            let on = prepare(&server, &format!("{}-{index}", rpc.name)).await;
            let request_id = format!("0190d6d2-5a3c-7cc1-8f2e-{count:012}");
            check_change(
                &server,
                rpc.name,
                &changes(rpc.name, &on)[index],
                request_id,
            )
            .await;
            count += 1;
        }
    }
    assert!(count >= 10);
}

#[rstest]
#[tokio::test]
async fn read_rpcs_record_no_event(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let server = TestServer::start(backend).await;
    let on = prepare(&server, "K-1").await;
    let token = server.token(ALL_SCOPES, None);
    let before = events(&server, &on.number).await;
    for rpc in rpcs_with(Effect::Reads) {
        let request = valid_request(rpc.name, &on).encode_to_vec();
        call(&server, Some(&token), rpc.name, request)
            .await
            .unwrap();
        assert_eq!(events(&server, &on.number).await, before, "{}", rpc.name);
    }
}
