//! All RPCs of the contract with their expected behavior and a valid request of each. An RPC that
//! is missing here fails the walk over the descriptor in `authorization`.

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType, Purpose};
use prost_reflect::DynamicMessage;
use prost_types::FieldMask;

use crate::{
    harness::{TestServer, new_contact, start_time},
    phone_calls,
    raw::to_dynamic,
    requests::timestamp,
};

/// The effect of an RPC on stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// None, and no audit event.
    Reads,
    /// Changes something, or returns a one-time secret, and records one audit event.
    Changes,
    /// Changes data of no customer, and records one event without a customer.
    Settles,
    /// Discloses data of a customer, and records one audit event.
    Discloses,
    /// Erases the customer, and records one audit event under a pseudonym.
    Erases,
}

/// The customers that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TenantScope {
    /// The customer in this field.
    Customer(&'static str),
    /// The customer in this field; if it is empty, all customers or none: rejects tenant-scoped tokens.
    Optional(&'static str),
    /// The customers in this repeated field.
    Customers(&'static str),
    /// The customers in this field of each entry of a list.
    Entries(&'static str),
    /// The customer whose number begins this token of a confirmation link.
    Token(&'static str),
    /// No customer.
    NoTenant,
    /// All customers: rejects tenant-scoped tokens.
    AllTenants,
}

/// The expected behavior of an RPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rpc {
    pub(crate) name: &'static str,
    pub(crate) scope: &'static str,
    pub(crate) effect: Effect,
    pub(crate) tenant: TenantScope,
}

const fn rpc(name: &'static str, scope: &'static str, effect: Effect, tenant: TenantScope) -> Rpc {
    Rpc {
        name,
        scope,
        effect,
        tenant,
    }
}

use Effect::{Changes, Discloses, Erases, Reads, Settles};
use TenantScope::{AllTenants, Customers, NoTenant};

const BY_NUMBER: TenantScope = TenantScope::Customer("customer_number");
const BY_CUSTOMER: TenantScope = TenantScope::Customer("customer.customer_number");
const BY_CONTACT: TenantScope = TenantScope::Customer("contact.customer_number");

const BY_NUMBER_OR_NONE: TenantScope = TenantScope::Optional("customer_number");

pub(crate) const RPCS: [Rpc; 39] = [
    rpc("GetCustomer", "customers.read", Reads, BY_NUMBER),
    rpc("UpdateCustomer", "customers.write", Changes, BY_CUSTOMER),
    rpc("SetAttentionLine", "customers.write", Changes, BY_NUMBER),
    rpc("ReviewContacts", "contacts.read", Reads, BY_NUMBER),
    rpc("MarkContactsReviewed", "contacts.write", Changes, BY_NUMBER),
    rpc("CreateContact", "contacts.write", Changes, BY_NUMBER),
    rpc("GetContact", "contacts.read", Reads, BY_NUMBER),
    rpc("ListContacts", "contacts.read", Reads, BY_NUMBER),
    rpc("UpdateContact", "contacts.write", Changes, BY_CONTACT),
    rpc("DeleteContact", "contacts.write", Changes, BY_NUMBER),
    rpc("ChangeEmail", "contacts.write", Changes, BY_NUMBER),
    rpc("RemoveEmail", "contacts.write", Changes, BY_NUMBER),
    rpc("CancelEmailChange", "contacts.write", Changes, BY_NUMBER),
    rpc(
        "ResendEmailConfirmation",
        "contacts.write",
        Changes,
        BY_NUMBER,
    ),
    rpc(
        "InspectEmailConfirmation",
        "email.confirm",
        Reads,
        TenantScope::Token("token"),
    ),
    rpc(
        "ConfirmEmail",
        "email.confirm",
        Changes,
        TenantScope::Token("token"),
    ),
    rpc(
        "VerifyContactChannel",
        "channels.verify",
        Discloses,
        BY_NUMBER,
    ),
    rpc("FindCustomers", "customers.find", Discloses, AllTenants),
    rpc("SetPhonePassword", "contacts.write", Changes, BY_NUMBER),
    rpc("ClearPhonePassword", "contacts.write", Changes, BY_NUMBER),
    rpc(
        "CheckPhonePassword",
        "phone_password.check",
        Changes,
        BY_NUMBER,
    ),
    rpc(
        "SendOneTimeCode",
        "phone_password.check",
        Changes,
        BY_NUMBER,
    ),
    rpc("CreateOneTimeCode", "contacts.write", Changes, BY_NUMBER),
    rpc(
        "CheckOneTimeCode",
        "phone_password.check",
        Changes,
        BY_NUMBER,
    ),
    rpc(
        "UnlockPhonePassword",
        "phone_password.unlock",
        Changes,
        BY_NUMBER,
    ),
    rpc(
        "AuthorizePhoneOrder",
        "phone_orders.authorize",
        Changes,
        BY_NUMBER,
    ),
    rpc(
        "RecordPhoneOrderOutcome",
        "phone_orders.authorize",
        Changes,
        BY_NUMBER,
    ),
    rpc("GetPhoneOrder", "phone_orders.read", Reads, BY_NUMBER),
    rpc(
        "ListPhoneOrders",
        "phone_orders.read",
        Reads,
        BY_NUMBER_OR_NONE,
    ),
    rpc("ListOrderTypes", "order_types.read", Reads, NoTenant),
    rpc("UpdateOrderType", "order_types.write", Settles, AllTenants),
    rpc("ResolveRecipients", "recipients.resolve", Reads, BY_NUMBER),
    rpc(
        "BatchResolveRecipients",
        "recipients.resolve",
        Reads,
        BY_NUMBER,
    ),
    rpc(
        "StreamRecipients",
        "recipients.resolve",
        Reads,
        Customers("customer_numbers"),
    ),
    rpc(
        "ReportDeliveries",
        "deliveries.report",
        Changes,
        TenantScope::Entries("reports[0].customer_number"),
    ),
    rpc("ListAuditEvents", "audit.read", Reads, BY_NUMBER_OR_NONE),
    rpc("WatchChanges", "changes.watch", Reads, NoTenant),
    rpc("ExportCustomer", "privacy.export", Changes, BY_NUMBER),
    rpc("EraseCustomer", "privacy.erase", Erases, BY_NUMBER),
];

/// The RPCs with this effect.
pub(crate) fn rpcs_with(effect: Effect) -> impl Iterator<Item = Rpc> {
    RPCS.into_iter().filter(move |rpc| rpc.effect == effect)
}

/// A customer for which every valid request succeeds.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) number: String,
    /// The only STANDARD contact, with a confirmed address.
    pub(crate) anna: proto::Contact,
    /// ACCOUNTING, with a pending address.
    pub(crate) berta: proto::Contact,
    /// ACCOUNTING, with a pending address and invoice e-mail enabled.
    pub(crate) carla: proto::Contact,
    /// The token sent to Berta.
    pub(crate) token: String,
    /// The grant from Berta's successful check.
    pub(crate) grant: String,
    /// The id of an order of Berta.
    pub(crate) order: String,
    /// A one-time code of Berta.
    pub(crate) code: String,
}

/// An address at the customer's own domain, because e-mails to one address are limited.
pub(crate) fn address(name: &str, number: &str) -> String {
    format!("{name}@{}.example", number.to_lowercase())
}

/// Creates such a customer.
pub(crate) async fn prepare(server: &TestServer, number: &str) -> Prepared {
    server.create_customer(number).await;
    let standard = &[ContactType::Standard];
    let accounting = &[ContactType::Accounting];
    let anna = server.create_contact(number, "Anna", standard, "").await;
    let [of_anna, of_berta, of_carla] =
        ["anna", "berta", "carla"].map(|name| address(name, number));
    server.set_confirmed_email(&anna, &of_anna).await;
    let berta = server
        .create_contact(number, "Berta", accounting, &of_berta)
        .await;
    let token = server.mailed_token(&of_berta).await;
    let carla = proto::CreateContactRequest {
        customer_number: number.into(),
        contact: Some(proto::Contact {
            invoice_email_enabled: Some(true),
            ..new_contact("Carla", accounting)
        }),
        email: of_carla,
        ..proto::CreateContactRequest::default()
    };
    let carla = server
        .client()
        .create_contact(carla)
        .await
        .unwrap()
        .into_inner();
    for code in ["marker.allowed", "marker.denied"] {
        server.create_order_type(code, false, true).await;
    }
    let berta = server
        .set_phone_password(&berta, phone_calls::PASSWORD)
        .await
        .unwrap();
    let call_id = phone_calls::call_id_of(number);
    let checked = server
        .check_password(&berta, phone_calls::PASSWORD, &call_id)
        .await
        .unwrap();
    let order = phone_calls::authorize_in(server, &berta, &checked.grant, &call_id).await;
    Prepared {
        order: order.authorization_id,
        code: phone_calls::create_code(server, &berta).await,
        grant: checked.grant,
        number: number.into(),
        anna,
        berta,
        carla: carla.contact.unwrap(),
        token,
    }
}

/// A request that succeeds, with every optional field set except request ids, etags and page
/// tokens.
pub(crate) fn valid_request(rpc: &str, on: &Prepared) -> DynamicMessage {
    let customer_number = on.number.clone();
    let contact_id = on.berta.contact_id.clone();
    match rpc {
        "UpdateCustomer" => to_dynamic(rpc, &update_customer(on)),
        "CreateContact" => to_dynamic(rpc, &create_contact(on)),
        "UpdateContact" => to_dynamic(rpc, &update_contact(on)),
        "GetCustomer" | "ExportCustomer" | "ReviewContacts" | "MarkContactsReviewed" => {
            to_dynamic(rpc, &proto::GetCustomerRequest { customer_number })
        }
        "EraseCustomer" => to_dynamic(
            rpc,
            &proto::EraseCustomerRequest {
                confirm_customer_number: customer_number.clone(),
                customer_number,
            },
        ),
        "SetAttentionLine" => {
            let ordered_by_email = format!("info@{}.example", on.number.to_lowercase());
            let suppressed = true;
            to_dynamic(
                rpc,
                &proto::SetAttentionLineRequest {
                    customer_number,
                    suppressed,
                    ordered_by_email,
                    ..proto::SetAttentionLineRequest::default()
                },
            )
        }
        "ListContacts" => to_dynamic(
            rpc,
            &proto::ListContactsRequest {
                customer_number,
                page_size: 10,
                page_token: String::new(),
                types: vec![ContactType::Standard.into(), ContactType::Accounting.into()],
            },
        ),
        "ChangeEmail" => to_dynamic(
            rpc,
            &proto::ChangeEmailRequest {
                customer_number,
                contact_id,
                email: address("marker.changed", &on.number),
                request_id: String::new(),
                ..proto::ChangeEmailRequest::default()
            },
        ),
        "WatchChanges" => to_dynamic(rpc, &proto::WatchChangesRequest::default()),
        "ResolveRecipients" | "BatchResolveRecipients" | "StreamRecipients" => {
            resolve_recipients(rpc, on)
        }
        "ReportDeliveries" => to_dynamic(rpc, &report_deliveries(on)),
        "ListAuditEvents" => to_dynamic(rpc, &list_audit_events(on)),
        "InspectEmailConfirmation" | "ConfirmEmail" => {
            let token = on.token.clone();
            to_dynamic(rpc, &proto::ConfirmEmailRequest { token })
        }
        _ => phone_calls::valid_request(rpc, on).unwrap_or_else(|| only_ids(rpc, on)),
    }
}

fn report_deliveries(on: &Prepared) -> proto::ReportDeliveriesRequest {
    let report = proto::DeliveryReport {
        customer_number: on.number.clone(),
        contact_id: on.anna.contact_id.clone(),
        email: address("anna", &on.number),
        status: proto::DeliveryStatus::FailedPermanently.into(),
        enhanced_status_code: "5.1.1".into(),
        report_time: timestamp(start_time() + TimeDelta::days(365)),
    };
    proto::ReportDeliveriesRequest {
        reports: vec![report],
        accept_burst: true,
        ..proto::ReportDeliveriesRequest::default()
    }
}

fn list_audit_events(on: &Prepared) -> proto::ListAuditEventsRequest {
    proto::ListAuditEventsRequest {
        customer_number: on.number.clone(),
        page_size: 10,
        kinds: vec![
            proto::EventKind::ContactCreated.into(),
            proto::EventKind::ContactPhonePasswordSet.into(),
        ],
        actor: "tester".into(),
        start_time: timestamp(start_time()),
        end_time: timestamp(start_time() + TimeDelta::days(365)),
        ..proto::ListAuditEventsRequest::default()
    }
}

fn only_ids(rpc: &str, on: &Prepared) -> DynamicMessage {
    const RPCS: [&str; 6] = [
        "ClearPhonePassword",
        "GetContact",
        "DeleteContact",
        "RemoveEmail",
        "CancelEmailChange",
        "ResendEmailConfirmation",
    ];
    assert!(
        RPCS.contains(&rpc),
        "{rpc} has no valid request yet: add one"
    );
    let ids = proto::GetContactRequest {
        customer_number: on.number.clone(),
        contact_id: on.berta.contact_id.clone(),
    };
    to_dynamic(rpc, &ids)
}

fn resolve_recipients(rpc: &str, on: &Prepared) -> DynamicMessage {
    let (purpose, attention_line_chars) = (Purpose::Invoice.into(), 20);
    if rpc == "StreamRecipients" {
        let customer_numbers = vec![on.number.clone()];
        let request = proto::StreamRecipientsRequest {
            customer_numbers,
            purpose,
            attention_line_chars,
            ..proto::StreamRecipientsRequest::default()
        };
        return to_dynamic(rpc, &request);
    }
    let customer_number = on.number.clone();
    if rpc == "BatchResolveRecipients" {
        let purposes = vec![purpose, Purpose::General.into()];
        let request = proto::BatchResolveRecipientsRequest {
            customer_number,
            purposes,
            attention_line_chars,
        };
        return to_dynamic(rpc, &request);
    }
    let request = proto::ResolveRecipientsRequest {
        customer_number,
        purpose,
        attention_line_chars,
    };
    to_dynamic(rpc, &request)
}

fn update_customer(on: &Prepared) -> proto::UpdateCustomerRequest {
    proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: on.number.clone(),
            contact_data: Some(proto::ContactData {
                email: "marker.office@example.com".into(),
                phone_number: "+49 721 7654321".into(),
                locale: "en".into(),
                ..proto::ContactData::default()
            }),
            notification_settings: Some(proto::NotificationSettings {
                security_notices: Some(true),
                planned_maintenance: Some(true),
                outages: Some(false),
                contact_changes: Some(false),
            }),
            ..proto::Customer::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["*".into()],
        }),
        allow_missing: false,
        ..proto::UpdateCustomerRequest::default()
    }
}

fn create_contact(on: &Prepared) -> proto::CreateContactRequest {
    proto::CreateContactRequest {
        customer_number: on.number.clone(),
        contact: Some(full_contact("Marker Dora")),
        email: address("marker.dora", &on.number),
        ..proto::CreateContactRequest::default()
    }
}

fn update_contact(on: &Prepared) -> proto::UpdateContactRequest {
    proto::UpdateContactRequest {
        contact: Some(proto::Contact {
            customer_number: on.number.clone(),
            contact_id: on.berta.contact_id.clone(),
            ..full_contact("Marker Berta")
        }),
        update_mask: Some(FieldMask {
            paths: vec!["*".into()],
        }),
        ..proto::UpdateContactRequest::default()
    }
}

/// A contact with every field set to a non-default value.
fn full_contact(name: &str) -> proto::Contact {
    proto::Contact {
        name: Some(proto::PersonName {
            salutation: proto::Salutation::Frau.into(),
            title: "Dr. marker".into(),
            given_name: "Marker-Maria".into(),
            family_name: "Marker-Mai".into(),
        }),
        position: "Marker of the board".into(),
        department: "Marker sales".into(),
        locale: "en".into(),
        phone_numbers: vec!["+49 721 7654321".into(), "0721 7654322".into()],
        invoice_email_enabled: Some(true),
        restrictions: Some(proto::Restrictions {
            note: "Marker: asks twice.".into(),
            allowed_order_types: vec!["marker.allowed".into()],
            denied_order_types: vec!["marker.denied".into()],
        }),
        ..new_contact(name, &[ContactType::Accounting, ContactType::Owner])
    }
}
