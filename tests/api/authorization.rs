//! Authorization of every RPC in the contract.

use std::collections::BTreeSet;

use contact_service::api::{
    auth::{self, Scope},
    proto::{CheckOneTimeCodeResponse, CheckPhonePasswordResponse, PhonePasswordVerdict},
};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use prost_types::method_options::IdempotencyLevel;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    forged_tokens::{controls, forgeries},
    harness::{ALL_SCOPES, AUDIENCE, Backend, ISSUER, TestServer, rejected_fields, rejection},
    raw::{
        self, Leaf, call, call_with_headers, empty_request, methods, request_type, wrong_request,
    },
    rpcs::{Effect, RPCS, Rpc, TenantScope, prepare, rpcs_with, valid_request},
};

const NO_MESSAGE: &[u8] = &[0xff];

/// The customer of the tenant-scoped tokens in these tests, and a foreign one.
const OWN: &str = "K-1";
const OTHER: &str = "K-2";

#[test]
fn every_rpc_requires_a_scope_and_is_covered_here() {
    let in_contract: BTreeSet<_> = methods().map(|method| method.name().to_owned()).collect();
    let expected: BTreeSet<_> = RPCS.iter().map(|rpc| rpc.name.to_owned()).collect();
    assert_eq!(in_contract, expected);
    assert_eq!(in_contract.len(), RPCS.len());
    for rpc in RPCS {
        assert!(
            auth::Rpc::at(&raw::path(rpc.name)).is_some(),
            "{} requires no scope",
            rpc.name
        );
    }
    assert!(auth::Rpc::at("/contact.v1.ContactService/Nonsense").is_none());
}

#[test]
fn harness_tokens_have_all_scopes() {
    let known: Vec<_> = Scope::ALL.into_iter().map(Scope::as_str).collect();
    let in_harness: Vec<_> = ALL_SCOPES.split_whitespace().collect();
    assert_eq!(in_harness, known);
}

#[test]
fn contract_marks_reads_and_tenant_scoped_rpcs() {
    for rpc in RPCS {
        let is_read = raw::idempotency_level(rpc.name) == IdempotencyLevel::NoSideEffects;
        assert_eq!(is_read, rpc.effect == Effect::Reads, "{}", rpc.name);
        // A watch names no customer, and yields the changes of the token's customer.
        let of_a_customer = rpc.name == "WatchChanges"
            || matches!(
                rpc.tenant,
                TenantScope::Customer(_)
                    | TenantScope::Optional(_)
                    | TenantScope::Customers(_)
                    | TenantScope::Entries(_)
                    | TenantScope::Token(_)
            );
        let tenant_scoped =
            raw::option(rpc.name, "tenant_scoped").and_then(|value| value.as_bool());
        assert_eq!(tenant_scoped, Some(of_a_customer), "{}", rpc.name);
        let scope = raw::option(rpc.name, "required_scope");
        let scope = scope.as_ref().and_then(|value| value.as_str());
        assert_eq!(scope, Some(rpc.scope), "{}", rpc.name);
    }
}

#[test]
fn service_config_retries_every_read() {
    let config = include_str!("../../proto/contact/v1/service_config.json");
    for rpc in RPCS.iter().filter(|rpc| rpc.effect == Effect::Reads) {
        let entry = format!("\"method\": \"{}\"", rpc.name);
        assert!(config.contains(&entry), "{}", rpc.name);
    }
}

#[test]
fn tenant_of_a_request_is_read_from_its_fields() {
    for rpc in RPCS {
        let leaves = Leaf::all_of(&request_type(rpc.name));
        let find = |names: &[&'static str]| {
            let is_there = |name: &&&str| leaves.iter().any(|leaf| leaf.name() == **name);
            names.iter().find(is_there).copied()
        };
        let one = [
            "customer_number",
            "customer.customer_number",
            "contact.customer_number",
        ];
        let named = match (find(&one), find(&["customer_numbers"])) {
            (Some(field), None) => Some(TenantScope::Customer(field)),
            (None, Some(field)) => Some(TenantScope::Customers(field)),
            (None, None) => find(&["reports[0].customer_number"])
                .map(TenantScope::Entries)
                .or_else(|| find(&["token"]).map(TenantScope::Token)),
            (Some(_), Some(_)) => panic!("{} names two customers", rpc.name),
        };
        match rpc.tenant {
            TenantScope::Customer(_)
            | TenantScope::Customers(_)
            | TenantScope::Entries(_)
            | TenantScope::Token(_) => {
                assert_eq!(named, Some(rpc.tenant), "{}", rpc.name);
            }
            TenantScope::Optional(field) => {
                assert_eq!(named, Some(TenantScope::Customer(field)), "{}", rpc.name);
            }
            TenantScope::NoTenant | TenantScope::AllTenants => {
                assert_eq!(named, None, "{}", rpc.name);
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_rejects_requests_without_a_token(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in RPCS {
        for body in [empty_request(rpc.name).encode_to_vec(), NO_MESSAGE.to_vec()] {
            let rejected = rejection(call(&server, None, rpc.name, body).await);
            assert_eq!(
                rejected,
                (Code::Unauthenticated, "TOKEN_MISSING".into()),
                "{}",
                rpc.name
            );
        }
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_rejects_forged_tokens_with_their_reason(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let forgeries = forgeries(&server.keys, ISSUER, AUDIENCE, server.now());
    let names: BTreeSet<_> = forgeries.iter().map(|forgery| forgery.name).collect();
    assert_eq!(names.len(), forgeries.len(), "duplicate names");
    assert!(names.len() >= 40, "{} kinds", names.len());
    for forgery in &forgeries {
        for rpc in RPCS {
            let bodies = vec![empty_request(rpc.name).encode_to_vec()];
            let response = call_with_headers(&server, &forgery.headers, rpc.name, bodies).await;
            let rejected = (Code::Unauthenticated, forgery.reason.to_owned());
            assert_eq!(
                rejection(response),
                rejected,
                "{} in {}",
                forgery.name,
                rpc.name
            );
        }
    }
    for (name, headers) in controls(&server.keys, ISSUER, AUDIENCE, server.now()) {
        for rpc in RPCS {
            let bodies = vec![empty_request(rpc.name).encode_to_vec()];
            let response = call_with_headers(&server, &headers, rpc.name, bodies).await;
            let code = response.err().map(|status| status.code());
            assert_ne!(code, Some(Code::Unauthenticated), "{name} in {}", rpc.name);
        }
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_requires_exactly_its_own_scope(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for rpc in RPCS {
        let others = ALL_SCOPES
            .split_whitespace()
            .filter(|scope| *scope != rpc.scope);
        let others = others.collect::<Vec<_>>().join(" ");
        assert!(
            others.len() < ALL_SCOPES.len(),
            "{} is missing from the harness's scopes",
            rpc.scope
        );
        let (longer, shorter) = (format!("{}s", rpc.scope), &rpc.scope[1..]);
        let unlike = format!("{longer} {shorter} {}", rpc.scope.to_uppercase());
        for scopes in [others.as_str(), &unlike, ""] {
            let token = server.token(scopes, None);
            let mut bodies = vec![empty_request(rpc.name).encode_to_vec()];
            // Where several scopes are accepted, the message decides which one is required.
            let in_contract = auth::Rpc::at(&raw::path(rpc.name)).unwrap();
            let alternative = in_contract.alternative_scope.map(Scope::as_str);
            if !alternative.is_some_and(|scope| scopes.contains(scope)) {
                bodies.push(NO_MESSAGE.to_vec());
            }
            for body in bodies {
                let status = call(&server, Some(&token), rpc.name, body)
                    .await
                    .unwrap_err();
                assert_eq!(
                    status.code(),
                    Code::PermissionDenied,
                    "{} {status:?}",
                    rpc.name
                );
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.reason, "SCOPE_MISSING", "{}", rpc.name);
                let named = info.metadata.get("scope").map(String::as_str);
                assert_eq!(named, Some(rpc.scope), "{}", rpc.name);
            }
        }
        let token = server.token(rpc.scope, None);
        let body = empty_request(rpc.name).encode_to_vec();
        let response = call(&server, Some(&token), rpc.name, body).await;
        assert!(is_admitted(&response), "{} {response:?}", rpc.name);
    }
}

/// Two requests in which `rpc` names `number`: one with no other field, one with all other fields
/// invalid.
fn naming(rpc: &Rpc, numbers: &[&str]) -> Vec<DynamicMessage> {
    let leaves = Leaf::all_of(&request_type(rpc.name));
    let (TenantScope::Customer(field)
    | TenantScope::Optional(field)
    | TenantScope::Customers(field)
    | TenantScope::Entries(field)
    | TenantScope::Token(field)) = rpc.tenant
    else {
        return Vec::new();
    };
    let is_token = matches!(rpc.tenant, TenantScope::Token(_));
    let naming = leaves.iter().find(|leaf| leaf.name() == field).unwrap();
    let wrong = wrong_request(rpc.name, "\0 not one of ours", 1);
    let text = |number: &&str| {
        let number = (*number).to_owned();
        let is_named = !number.is_empty();
        Value::String(if is_token && is_named {
            format!("{number}.0123")
        } else {
            number
        })
    };
    [empty_request(rpc.name), wrong]
        .into_iter()
        .map(|mut request| {
            let value = if naming.field().is_list() {
                Value::List(numbers.iter().map(text).collect())
            } else {
                text(&numbers[0])
            };
            naming.set(&mut request, value);
            request
        })
        .collect()
}

fn is_admitted(response: &Result<Vec<Vec<u8>>, Status>) -> bool {
    let code = response.as_ref().err().map(Status::code);
    !matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied))
}

#[rstest]
#[tokio::test]
async fn every_rpc_rejects_tokens_of_another_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer(OWN).await;
    server.create_customer(OTHER).await;
    let token = server.token(ALL_SCOPES, Some(OWN));
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    for rpc in &RPCS {
        let not_on_file = "K-9";
        let similar = ["k-1", "K-11", "K-", "K-1 ", " K-1", "K-1\0", "K 1", "*"];
        for number in [OTHER, not_on_file].into_iter().chain(similar) {
            // Whitespace and punctuation around a link token are ignored: these requests name the
            // caller's own customer, or none.
            if matches!(rpc.tenant, TenantScope::Token(_)) && [" K-1", "*"].contains(&number) {
                continue;
            }
            for request in naming(rpc, &[number]) {
                let rejected = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
                assert_eq!(rejection(rejected), mismatch, "{} {number:?}", rpc.name);
            }
        }
        for request in naming(rpc, &[OWN]) {
            let response = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
            assert!(is_admitted(&response), "{} {response:?}", rpc.name);
        }
        if let TenantScope::Customers(_) = rpc.tenant {
            for numbers in [[OWN, OTHER], [OTHER, OWN]] {
                for request in naming(rpc, &numbers) {
                    let response =
                        call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
                    assert_eq!(rejection(response), mismatch, "{}", rpc.name);
                }
            }
        }
    }
}

/// The tenant is taken from the link token, wherever the text contains it.
#[rstest]
#[tokio::test]
async fn tenant_check_applies_to_recovered_link_tokens(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer(OWN).await;
    server.create_customer(OTHER).await;
    let token = server.token(ALL_SCOPES, Some(OWN));
    let digits = "0123456789abcdef".repeat(4);
    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
    let not_found = (Code::NotFound, "CONFIRMATION_NOT_FOUND".to_owned());
    for rpc in RPCS
        .iter()
        .filter(|rpc| matches!(rpc.tenant, TenantScope::Token(_)))
    {
        let field = Leaf::all_of(&request_type(rpc.name))
            .into_iter()
            .find(|leaf| leaf.name() == "token")
            .unwrap();
        for form in [
            "https://x.example/confirm#NUMBER.DIGITS",
            "%2523NUMBER.DIGITS",
            "token=NUMBER.DIGITS&utm_source=x",
            "NUMBER%2EDIGITS",
            "K-1.0123 NUMBER.DIGITS",
            "K-2.0123 NUMBER.DIGITS",
            "NUMBER.\r\nDIGITS",
        ] {
            for (number, expected) in [(OWN, &not_found), (OTHER, &mismatch)] {
                let text = form.replace("NUMBER", number).replace("DIGITS", &digits);
                let mut request = empty_request(rpc.name);
                field.set(&mut request, Value::String(text));
                let response = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
                assert_eq!(
                    &rejection(response),
                    expected,
                    "{} {form} {number}",
                    rpc.name
                );
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn tenant_scoped_token_is_rejected_where_no_customer_is_named(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let token = server.token(ALL_SCOPES, Some(OWN));
    for rpc in &RPCS {
        let nothing = vec![empty_request(rpc.name)];
        for request in nothing.into_iter().chain(naming(rpc, &[""])) {
            let response = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
            match rpc.tenant {
                TenantScope::AllTenants | TenantScope::Optional(_) => {
                    let mismatch = (Code::PermissionDenied, "CUSTOMER_MISMATCH".to_owned());
                    assert_eq!(rejection(response), mismatch, "{}", rpc.name);
                }
                TenantScope::Customer(field) | TenantScope::Token(field) => {
                    let fields = rejected_fields(response);
                    assert!(
                        fields.iter().any(|name| name == field),
                        "{} {fields:?}",
                        rpc.name
                    );
                }
                TenantScope::Customers(_) | TenantScope::Entries(_) | TenantScope::NoTenant => {
                    assert!(is_admitted(&response), "{} {response:?}", rpc.name);
                }
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn every_rpc_hides_contacts_of_other_customers(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let own = prepare(&server, OWN).await;
    let other = prepare(&server, OTHER).await;
    let events = server.events(OTHER).await;
    let token = server.token(ALL_SCOPES, Some(OWN));
    let mut sent = 0;
    for rpc in rpcs_with(Effect::Reads).chain(rpcs_with(Effect::Changes)) {
        let leaves = Leaf::all_of(&request_type(rpc.name));
        let by_id = ["contact_id", "contact.contact_id"];
        let Some(leaf) = leaves
            .iter()
            .find(|leaf| by_id.contains(&leaf.name().as_str()))
        else {
            continue;
        };
        if rpc.name == "CreateContact" {
            continue;
        }
        let mut request = valid_request(rpc.name, &own);
        leaf.set(&mut request, Value::String(other.berta.contact_id.clone()));
        let response = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
        match rpc.name {
            // Rule 17: an unknown contact gets the same response as a wrong password.
            "CheckPhonePassword" => {
                let response = CheckPhonePasswordResponse::decode(&*response.unwrap()[0]).unwrap();
                assert_eq!(response.verdict(), PhonePasswordVerdict::NoMatch);
            }
            "CheckOneTimeCode" => {
                let response = CheckOneTimeCodeResponse::decode(&*response.unwrap()[0]).unwrap();
                assert_eq!(response.verdict(), PhonePasswordVerdict::NoMatch);
            }
            // Rule 29: the response is the same whether or not an e-mail leaves.
            "SendOneTimeCode" => drop(response.unwrap()),
            "AuthorizePhoneOrder" => assert_eq!(rejection(response).1, "GRANT_INVALID"),
            "ListAuditEvents" | "ListPhoneOrders" => {
                assert_eq!(response.unwrap(), [[0u8; 0]], "{}", rpc.name);
            }
            name => {
                let not_there = (Code::NotFound, "CONTACT_NOT_FOUND".to_owned());
                assert_eq!(rejection(response), not_there, "{name}");
            }
        }
        sent += 1;
    }
    assert!(sent >= 6);
    assert_eq!(server.events(OTHER).await, events);
}
