//! Any text in any field and any bytes in any RPC are either accepted or rejected with the
//! field's name. The service never fails, and no error repeats a value.
//!
//! The fields come from the descriptor, so new ones are covered without a change here.

mod bytes;
mod texts;

use std::fmt::Debug;

use proptest::{
    prelude::{Strategy, any},
    strategy::{BoxedStrategy, ValueTree},
    test_runner::{Config, TestRunner},
};
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, Value};
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use self::texts::{MARKER, any_text, bad_texts};
use crate::{
    harness::{ALL_SCOPES, Backend, Options, TestServer, rejected_fields},
    phone_calls::{authorize_in, call_id_of},
    raw::{Leaf, call, request_type, response_type, set_if_present, wrong_request},
    rpcs::{Effect, Prepared, RPCS, Rpc, prepare, valid_request},
};

/// Number of random values per field in addition to the fixed ones.
const TEXTS: u32 = 40;
const NUMBERS: u32 = 8;
const INTEGERS: &[i32] = &[i32::MIN, -1, 0, 1, 2, 7, 8, 1_000, 1_001, i32::MAX];
const MAX_SHRINK_ITERATIONS: usize = 200;

/// Values for `leaf`, whose valid value is in `base`: a fixed set, and random ones. Empty for a
/// field that accepts every value.
struct Values {
    always: Vec<Value>,
    any: BoxedStrategy<Value>,
}

fn values(leaf: &Leaf, base: &DynamicMessage, seeds: &[String]) -> Option<Values> {
    let valid = leaf.get(base);
    let kind = leaf.field().kind();
    let values = if kind == Kind::Bool {
        return None;
    } else if kind == Kind::Int32 {
        integers(Value::I32)
    } else if matches!(kind, Kind::Enum(_)) {
        integers(Value::EnumNumber)
    } else if kind == Kind::Int64 {
        Values {
            always: vec![Value::I64(i64::MIN), Value::I64(i64::MAX)],
            any: any::<i64>().prop_map(Value::I64).boxed(),
        }
    } else {
        assert_eq!(kind, Kind::String, "add values for {}", leaf.name());
        let input = valid.as_list().unwrap_or(std::slice::from_ref(&valid));
        let input = input.iter().filter_map(Value::as_str).map(str::to_owned);
        let seeds: Vec<_> = input.chain(seeds.iter().cloned()).collect();
        Values {
            always: bad_texts(&seeds[0]).map(Value::String).collect(),
            any: any_text(seeds).prop_map(Value::String).boxed(),
        }
    };
    Some(match valid.as_list() {
        None => values,
        Some(valid) => in_lists(values, valid),
    })
}

fn integers(to_value: fn(i32) -> Value) -> Values {
    Values {
        always: INTEGERS.iter().copied().map(to_value).collect(),
        any: any::<i32>().prop_map(to_value).boxed(),
    }
}

/// As the only element, and appended to the existing ones.
fn in_lists(values: Values, valid: &[Value]) -> Values {
    let valid = valid.to_vec();
    let existing = valid.clone();
    let always = values.always.into_iter();
    let list = |mut list: Vec<Value>, value| {
        list.push(value);
        Value::List(list)
    };
    let any = (values.any, any::<bool>()).prop_map(move |(value, alone)| {
        list(if alone { Vec::new() } else { existing.clone() }, value)
    });
    Values {
        always: always.map(|value| list(valid.clone(), value)).collect(),
        any: any.boxed(),
    }
}

/// The other number is the one in the violation, and the second request finds no customer.
fn allowed_reasons_of_an_erasure(field: &str, reason: &str) -> bool {
    reason == "CUSTOMER_NOT_FOUND" || (field == "customer_number" && reason == "INVALID_FIELD")
}

/// Rejections that a well-formed value of a field may get.
fn allowed_reasons(rpc: &str, leaf: &Leaf, status: &Status, reason: &str) -> bool {
    use Code::{FailedPrecondition, NotFound, ResourceExhausted};

    let name = leaf.field().name();
    if rpc == "EraseCustomer" {
        return allowed_reasons_of_an_erasure(name, reason);
    }
    if name == "token" {
        // Almost a link token.
        return reason == "CONFIRMATION_NOT_FOUND";
    }
    matches!(
        (rpc, name, status.code(), reason),
        (_, "customer_number", NotFound, "CUSTOMER_NOT_FOUND")
            | (_, "contact_id", NotFound, "CONTACT_NOT_FOUND")
            | (_, "etag", Code::Aborted, "ETAG_MISMATCH")
            | (
                "SetAttentionLine",
                "ordered_by_email",
                FailedPrecondition,
                "ORDERING_ADDRESS_NOT_ON_FILE"
            )
            | (
                "CreateContact" | "UpdateContact",
                "types" | "email",
                FailedPrecondition,
                "INVOICE_EMAIL_NOT_ALLOWED"
            )
            | (
                "UpdateContact" | "DeleteContact",
                "contact_id",
                FailedPrecondition,
                "LAST_STANDARD_CONTACT"
            )
            | (
                "GetPhoneOrder" | "RecordPhoneOrderOutcome",
                "authorization_id",
                NotFound,
                "PHONE_ORDER_NOT_FOUND"
            )
            // The second request.
            | (
                "CancelEmailChange" | "ResendEmailConfirmation",
                _,
                FailedPrecondition,
                "NO_PENDING_EMAIL"
            )
            | (
                "CheckPhonePassword"
                | "CheckOneTimeCode"
                | "SendOneTimeCode"
                | "ResendEmailConfirmation",
                _,
                ResourceExhausted,
                "PHONE_CALL_ATTEMPT_LIMIT" | "AGENT_BLOCKED" | "RESEND_LIMIT"
            )
            | (
                "AuthorizePhoneOrder" | "WatchChanges",
                _,
                FailedPrecondition,
                "GRANT_INVALID" | "CURSOR_EXPIRED"
            )
            | (
                "AuthorizePhoneOrder" | "UpdateOrderType",
                "order_type" | "code",
                NotFound,
                "ORDER_TYPE_NOT_FOUND"
            )
    )
}

fn is_about(field: &str, leaf: &str) -> bool {
    // A time is named as a whole, and the end of a range where it is not after the start.
    let times = ["start_time", "end_time", "reports[0].report_time"];
    let is_time = |name: &str| times.iter().any(|time| name.starts_with(time));
    if is_time(field) && is_time(leaf) {
        return true;
    }
    field
        .strip_prefix(leaf)
        .is_some_and(|index| index.is_empty() || index.starts_with('['))
}

/// The whole text of a rejection.
fn error_text(status: &Status) -> String {
    let details = String::from_utf8_lossy(status.details());
    format!("{status:?} {details}").to_lowercase()
}

fn check_status(
    rpc: &str,
    leaf: &Leaf,
    response: Result<Vec<Vec<u8>>, Status>,
) -> Result<(), String> {
    let Err(status) = response else {
        return Ok(());
    };
    let error_text = error_text(&status);
    if error_text.contains(MARKER) {
        return Err(format!("the rejection repeats the value: {error_text}"));
    }
    let info = status.get_details_error_info();
    let reason = info.map(|info| info.reason).unwrap_or_default();
    if allowed_reasons(rpc, leaf, &status, &reason) {
        return Ok(());
    }
    let names_it = status.get_details_bad_request().is_some_and(|bad| {
        let about = |field: &str| is_about(field, &leaf.name());
        let violations = bad.field_violations;
        !violations.is_empty() && violations.iter().all(|violation| about(&violation.field))
    });
    if status.code() == Code::InvalidArgument && names_it {
        Ok(())
    } else {
        Err(error_text)
    }
}

/// Runs `check` over values of `strategy`; fails with the simplest value that breaks it.
async fn run<T: Debug>(
    label: &str,
    cases: u32,
    strategy: BoxedStrategy<T>,
    check: impl AsyncFn(T) -> Result<(), String>,
) {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let Err(mut error) = check(tree.current()).await else {
            continue;
        };
        let mut simplest = tree.current();
        for _ in 0..MAX_SHRINK_ITERATIONS {
            if !tree.simplify() {
                break;
            }
            match check(tree.current()).await {
                Err(simpler) => (simplest, error) = (tree.current(), simpler),
                Ok(()) if tree.complicate() => {}
                Ok(()) => break,
            }
        }
        panic!("{label} with {simplest:?}: {error}");
    }
}

/// Values that are valid in some field, as the base of near misses.
fn seeds(rpc: &str, on: &Prepared, page_token: &str) -> Vec<String> {
    let of_resource = Leaf::all_of(&request_type(rpc))
        .into_iter()
        .filter_map(|leaf| {
            let (_, path) = leaf
                .name()
                .split_once('.')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            Some(path)
        });
    let input = [
        &on.number,
        &on.anna.contact_id,
        &on.berta.contact_id,
        &on.anna.etag,
        page_token,
        "restrictions",
        "contact_data",
        "*",
        "de",
    ];
    input
        .into_iter()
        .map(str::to_owned)
        .chain(of_resource)
        .collect()
}

/// A valid request that can be repeated any number of times.
fn repeatable(rpc: &str, on: &Prepared) -> DynamicMessage {
    let mut request = valid_request(rpc, on);
    if matches!(
        rpc,
        "CreateContact" | "DeleteContact" | "RecordPhoneOrderOutcome"
    ) {
        assert!(set_if_present(
            &mut request,
            "validate_only",
            Value::Bool(true)
        ));
    }
    request
}

/// A valid page token of the listing, if the RPC is one.
async fn page_token(server: &TestServer, token: &str, rpc: &str, on: &Prepared) -> String {
    let mut request = valid_request(rpc, on);
    if !set_if_present(&mut request, "page_size", Value::I32(1)) {
        return String::new();
    }
    if rpc == "ListPhoneOrders" {
        // The second one.
        let call_id = call_id_of(&on.number);
        authorize_in(server, &on.berta, &on.grant, &call_id).await;
    }
    let page = call(server, Some(token), rpc, request.encode_to_vec())
        .await
        .unwrap();
    let page = DynamicMessage::decode(response_type(rpc), page[0].as_slice()).unwrap();
    let next = page.get_field_by_name("next_page_token").unwrap();
    let next = next.as_str().unwrap();
    assert!(!next.is_empty(), "{rpc} has a single page");
    next.to_owned()
}

async fn fuzz_fields(server: &TestServer, token: &str, rpc: &str, on: &Prepared) {
    let base = repeatable(rpc, on);
    let seeds = seeds(rpc, on, &page_token(server, token, rpc, on).await);
    for leaf in Leaf::all_of(&request_type(rpc)) {
        let Some(values) = values(&leaf, &base, &seeds) else {
            continue;
        };
        let label = format!("{rpc} {}", leaf.name());
        let check = async |value| {
            let mut request = base.clone();
            if leaf.name().starts_with("all_customers") {
                request.clear_field_by_name("customer_numbers");
            }
            leaf.set(&mut request, value);
            let response = call(server, Some(token), rpc, request.encode_to_vec()).await;
            check_status(rpc, &leaf, response)
        };
        for value in values.always {
            if let Err(error) = check(value.clone()).await {
                panic!("{label} with {value:?}: {error}");
            }
        }
        let is_text = leaf.field().kind() == Kind::String;
        let cases = if is_text { TEXTS } else { NUMBERS };
        run(&label, cases, values.any, check).await;
    }
}

#[rstest]
#[tokio::test]
async fn every_text_is_accepted_or_rejected_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let token = server.token(ALL_SCOPES, None);
    for rpc in RPCS {
        // Otherwise earlier wrong phone passwords block the agent.
        server.clock.advance(chrono::TimeDelta::hours(1));
        // Any rejection has to name the altered field.
        let untouched = prepare(&server, &format!("B-{}", rpc.name)).await;
        let request = repeatable(rpc.name, &untouched).encode_to_vec();
        call(&server, Some(&token), rpc.name, request)
            .await
            .unwrap();

        let on = prepare(&server, &format!("F-{}", rpc.name)).await;
        fuzz_fields(&server, &token, rpc.name, &on).await;
        if rpc.effect == Effect::Erases {
            continue;
        }
        // Accepted values can be read back.
        for read in [
            "GetCustomer",
            "ListContacts",
            "ResolveRecipients",
            "ListAuditEvents",
        ] {
            let request = valid_request(read, &on).encode_to_vec();
            call(&server, Some(&token), read, request).await.unwrap();
        }
    }
}

#[rstest]
#[tokio::test]
async fn fully_invalid_request_is_rejected(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let token = server.token(ALL_SCOPES, None);
    // A wrong link token means an unknown link, a wrong cursor an expired one: neither has an
    // invalid value. A flag has none either.
    let judges_fields = |rpc: &Rpc| {
        let request = request_type(rpc.name);
        let mut fields = request.fields();
        fields
            .any(|field| !["token", "cursor"].contains(&field.name()) && field.kind() != Kind::Bool)
    };
    for rpc in RPCS.into_iter().filter(judges_fields) {
        for count in [1, 10, 100, 1_000] {
            let request = wrong_request(rpc.name, &format!("\0{MARKER}"), count);
            let response = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
            let status = response.unwrap_err();
            assert!(
                !error_text(&status).contains(MARKER),
                "{} {status:?}",
                rpc.name
            );
            assert_ne!(
                rejected_fields::<()>(Err(status)),
                [""; 0],
                "{} {count}",
                rpc.name
            );
        }
    }
}
