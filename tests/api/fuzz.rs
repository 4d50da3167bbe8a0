//! Any text in any field, any bytes in any call: refused with the field's name,
//! or taken; never a failure of the service, and no refusal repeats a value.
//!
//! The fields are found by walking the descriptor, so that a new one is tried
//! without a line here.

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

use self::texts::{CANARY, any_text, bad_texts};
use crate::{
    harness::{ALL_SCOPES, Backend, Options, TestServer, refused_fields},
    raw::{Leaf, call, request_type, response_type, set_if_there, wrong_request},
    rpcs::{Effect, Prepared, RPCS, Rpc, prepare, valid_request},
};

/// How many values each field gets besides those that are always tried.
const TEXTS: u32 = 40;
const NUMBERS: u32 = 8;
const INTEGERS: &[i32] = &[i32::MIN, -1, 0, 1, 2, 7, 8, 1_000, 1_001, i32::MAX];
const MOST_SIMPLIFICATIONS: usize = 200;

/// Values for `leaf`, whose valid value stands in `base`: some that are always
/// tried, and any others. None for a field that has no wrong value.
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
        assert_eq!(kind, Kind::String, "say what may stand in {}", leaf.name());
        let given = valid.as_list().unwrap_or(std::slice::from_ref(&valid));
        let given = given.iter().filter_map(Value::as_str).map(str::to_owned);
        let seeds: Vec<_> = given.chain(seeds.iter().cloned()).collect();
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

/// Alone, and behind what is there.
fn in_lists(values: Values, valid: &[Value]) -> Values {
    let valid = valid.to_vec();
    let behind = valid.clone();
    let always = values.always.into_iter();
    let list = |mut list: Vec<Value>, value| {
        list.push(value);
        Value::List(list)
    };
    let any = (values.any, any::<bool>()).prop_map(move |(value, alone)| {
        list(if alone { Vec::new() } else { behind.clone() }, value)
    });
    Values {
        always: always.map(|value| list(valid.clone(), value)).collect(),
        any: any.boxed(),
    }
}

/// The other number is the one that is told of, and the second time there is no customer.
fn may_answer_to_an_erasure(field: &str, reason: &str) -> bool {
    reason == "CUSTOMER_NOT_FOUND" || (field == "customer_number" && reason == "INVALID_FIELD")
}

/// Refusals that a well-formed value of a field may get.
fn may_answer(rpc: &str, leaf: &Leaf, status: &Status, reason: &str) -> bool {
    use Code::{FailedPrecondition, NotFound, ResourceExhausted};

    let name = leaf.field().name();
    if rpc == "EraseCustomer" {
        return may_answer_to_an_erasure(name, reason);
    }
    if name == "token" {
        // A near miss of a link.
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
                "types",
                FailedPrecondition,
                "INVOICE_EMAIL_NOT_ALLOWED"
            )
            | (
                "CreateContact",
                "email",
                FailedPrecondition,
                "INVOICE_EMAIL_NOT_ALLOWED"
            )
            | (
                "UpdateContact" | "DeleteContact",
                "contact_id",
                FailedPrecondition,
                "LAST_STANDARD_CONTACT"
            )
            // The second time.
            | (
                "CancelEmailChange" | "ResendEmailConfirmation",
                _,
                FailedPrecondition,
                "NO_PENDING_EMAIL"
            )
            | (
                "CheckPhonePassword" | "ResendEmailConfirmation",
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
    field
        .strip_prefix(leaf)
        .is_some_and(|index| index.is_empty() || index.starts_with('['))
}

/// All that a refusal says.
fn told(status: &Status) -> String {
    let details = String::from_utf8_lossy(status.details());
    format!("{status:?} {details}").to_lowercase()
}

fn judge(rpc: &str, leaf: &Leaf, answer: Result<Vec<Vec<u8>>, Status>) -> Result<(), String> {
    let Err(status) = answer else {
        return Ok(());
    };
    let told = told(&status);
    if told.contains(CANARY) {
        return Err(format!("the refusal repeats the value: {told}"));
    }
    let info = status.get_details_error_info();
    let reason = info.map(|info| info.reason).unwrap_or_default();
    if may_answer(rpc, leaf, &status, &reason) {
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
        Err(told)
    }
}

/// Runs `check` over values of `strategy`, and fails with the simplest one that
/// is found to break it.
async fn run<T: Debug>(
    what: &str,
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
        for _ in 0..MOST_SIMPLIFICATIONS {
            if !tree.simplify() {
                break;
            }
            match check(tree.current()).await {
                Err(simpler) => (simplest, error) = (tree.current(), simpler),
                Ok(()) if tree.complicate() => {}
                Ok(()) => break,
            }
        }
        panic!("{what} with {simplest:?}: {error}");
    }
}

/// What is valid in some field or other, to make near misses of.
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
    let given = [
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
    given
        .into_iter()
        .map(str::to_owned)
        .chain(of_resource)
        .collect()
}

/// A valid request that can be sent again and again.
fn repeatable(rpc: &str, on: &Prepared) -> DynamicMessage {
    let mut request = valid_request(rpc, on);
    if matches!(rpc, "CreateContact" | "DeleteContact") {
        assert!(set_if_there(
            &mut request,
            "validate_only",
            Value::Bool(true)
        ));
    }
    request
}

/// A page token that is good for the listing, if it is one.
async fn page_token(server: &TestServer, token: &str, rpc: &str, on: &Prepared) -> String {
    let mut request = valid_request(rpc, on);
    if !set_if_there(&mut request, "page_size", Value::I32(1)) {
        return String::new();
    }
    let page = call(server, Some(token), rpc, request.encode_to_vec())
        .await
        .unwrap();
    let page = DynamicMessage::decode(response_type(rpc), page[0].as_slice()).unwrap();
    let next = page.get_field_by_name("next_page_token").unwrap();
    let next = next.as_str().unwrap();
    assert!(!next.is_empty(), "{rpc} has one page");
    next.to_owned()
}

async fn fuzz_fields(server: &TestServer, token: &str, rpc: &str, on: &Prepared) {
    let base = repeatable(rpc, on);
    let seeds = seeds(rpc, on, &page_token(server, token, rpc, on).await);
    for leaf in Leaf::all_of(&request_type(rpc)) {
        let Some(values) = values(&leaf, &base, &seeds) else {
            continue;
        };
        let what = format!("{rpc} {}", leaf.name());
        let check = async |value| {
            let mut request = base.clone();
            leaf.set(&mut request, value);
            let answer = call(server, Some(token), rpc, request.encode_to_vec()).await;
            judge(rpc, &leaf, answer)
        };
        for value in values.always {
            if let Err(error) = check(value.clone()).await {
                panic!("{what} with {value:?}: {error}");
            }
        }
        let is_text = leaf.field().kind() == Kind::String;
        let cases = if is_text { TEXTS } else { NUMBERS };
        run(&what, cases, values.any, check).await;
    }
}

#[rstest]
#[tokio::test]
async fn any_text_in_any_field_is_taken_or_refused_by_the_name_of_the_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let token = server.token(ALL_SCOPES, None);
    for rpc in RPCS {
        // No wrong phone password of before blocks the agent.
        server.clock.advance(chrono::TimeDelta::hours(1));
        // Whatever is refused later is refused for the field that was altered.
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
        // What was taken can be read back.
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
async fn a_request_that_is_wrong_all_over_is_refused_like_any_other(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let token = server.token(ALL_SCOPES, None);
    // No text is a wrong token of a link: it is one of no link. A wrong cursor has expired.
    let judges_fields = |rpc: &Rpc| {
        let request = request_type(rpc.name);
        let mut fields = request.fields();
        fields.any(|field| !["token", "cursor"].contains(&field.name()))
    };
    for rpc in RPCS.into_iter().filter(judges_fields) {
        for count in [1, 10, 100, 1_000] {
            let request = wrong_request(rpc.name, &format!("\0{CANARY}"), count);
            let answer = call(&server, Some(&token), rpc.name, request.encode_to_vec()).await;
            let status = answer.unwrap_err();
            assert!(!told(&status).contains(CANARY), "{} {status:?}", rpc.name);
            assert_ne!(
                refused_fields::<()>(Err(status)),
                [""; 0],
                "{} {count}",
                rpc.name
            );
        }
    }
}
