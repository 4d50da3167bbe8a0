//! Every error that this version can return: code, reason and details (AIP-193).

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use contact_service::api::{
    admission::Limits,
    proto::{self, Contact, ContactType, contact_service_client::ContactServiceClient},
};
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt};

use crate::{
    harness::{
        ALL_SCOPES, AUDIENCE, Backend, ISSUER, Options, TestServer, execute, fresh_database,
        new_contact,
    },
    held_lock::HeldLock,
    phone_calls::{check_by, verify_channel},
    proxy::Proxy,
    raw::call,
    requests::only_id,
};

/// A row of the contract's error table.
struct Case {
    code: Code,
    reason: &'static str,
    /// The field that the `BadRequest` names.
    field: Option<&'static str>,
    metadata: &'static [(&'static str, &'static str)],
    /// The complete text of an internal failure.
    text: Option<&'static str>,
}

const fn row(code: Code, reason: &'static str) -> Case {
    Case {
        code,
        reason,
        field: None,
        metadata: &[],
        text: None,
    }
}

const fn limited(reason: &'static str, metadata: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        metadata,
        ..row(Code::ResourceExhausted, reason)
    }
}

const fn bad_input(reason: &'static str, field: &'static str) -> Case {
    Case {
        field: Some(field),
        ..row(Code::InvalidArgument, reason)
    }
}

const fn failure(code: Code, reason: &'static str, text: &'static str) -> Case {
    Case {
        text: Some(text),
        ..row(code, reason)
    }
}

const TABLE: &[Case] = &[
    bad_input("INVALID_FIELD", "customer_number"),
    bad_input("REQUEST_ID_REUSED", "request_id"),
    bad_input("INVALID_PAGE_TOKEN", "page_token"),
    row(Code::FailedPrecondition, "CURSOR_EXPIRED"),
    row(Code::NotFound, "CUSTOMER_NOT_FOUND"),
    row(Code::NotFound, "CONTACT_NOT_FOUND"),
    row(Code::FailedPrecondition, "LAST_STANDARD_CONTACT"),
    row(Code::FailedPrecondition, "FIRST_CONTACT_NOT_STANDARD"),
    row(Code::FailedPrecondition, "INVOICE_EMAIL_NOT_ALLOWED"),
    row(Code::FailedPrecondition, "NO_PENDING_EMAIL"),
    row(Code::FailedPrecondition, "ORDERING_ADDRESS_NOT_ON_FILE"),
    row(Code::NotFound, "CONFIRMATION_NOT_FOUND"),
    row(Code::FailedPrecondition, "CONFIRMATION_EXPIRED"),
    row(Code::FailedPrecondition, "CONFIRMATION_SUPERSEDED"),
    limited("RESEND_LIMIT", &[("limit", "resends")]),
    limited("FIND_LIMIT", &[("limit", "channel_checks_per_agent")]),
    row(Code::FailedPrecondition, "GRANT_INVALID"),
    row(Code::NotFound, "ORDER_TYPE_NOT_FOUND"),
    limited("PHONE_CALL_ATTEMPT_LIMIT", &[("limit", "3")]),
    row(Code::ResourceExhausted, "AGENT_BLOCKED"),
    row(Code::Aborted, "ETAG_MISMATCH"),
    failure(
        Code::Aborted,
        "CONFLICT",
        "concurrent changes of the same customer got in the way; try again",
    ),
    limited("CONTACT_LIMIT", &[("limit", "100")]),
    row(Code::Unauthenticated, "TOKEN_MISSING"),
    Case {
        metadata: &[("cause", "MALFORMED")],
        ..row(Code::Unauthenticated, "TOKEN_INVALID")
    },
    row(Code::Unauthenticated, "TOKEN_EXPIRED"),
    Case {
        metadata: &[("scope", "contacts.read")],
        ..row(Code::PermissionDenied, "SCOPE_MISSING")
    },
    row(Code::PermissionDenied, "CUSTOMER_MISMATCH"),
    failure(
        Code::Unavailable,
        "DATABASE_UNAVAILABLE",
        "the database does not answer at the moment",
    ),
    failure(
        Code::Unavailable,
        "OVERLOADED",
        "too many requests are in flight",
    ),
    row(Code::Unavailable, "PEPPER_MISSING"),
    failure(
        Code::DeadlineExceeded,
        "DEADLINE",
        "the request took longer than its deadline",
    ),
    row(Code::Unimplemented, "UNIMPLEMENTED"),
    failure(
        Code::Internal,
        "INTERNAL",
        "the service failed; the failure was logged",
    ),
    failure(
        Code::DataLoss,
        "DATA_LOSS",
        "stored data cannot be read; the failure was logged",
    ),
];

#[rstest]
#[tokio::test]
async fn every_error_has_its_code_reason_and_details(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let mut responses = invalid_input(&server, &anna).await;
    responses.extend(rule_violations(&server, &anna).await);
    responses.extend(dead_links(&server).await);
    responses.extend(phone_errors(&server, &anna).await);
    responses.push(missing_pepper(&server, &anna).await);
    responses.extend(rejected_callers(&server).await);
    responses.push(expired_events(&server).await);
    responses.push(overload(backend).await);
    responses.push(unreachable_database(backend).await);
    responses.extend(broken_database(&server, &anna).await);

    let mut by_reason = BTreeMap::new();
    for status in responses {
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!(info.domain, "contact.v1");
        let known = TABLE.iter().find(|row| row.reason == info.reason);
        check(
            known.unwrap_or_else(|| panic!("not in the table: {status:?}")),
            &status,
        );
        by_reason.insert(info.reason, status);
    }
    let mut expected: Vec<_> = TABLE.iter().map(|row| row.reason).collect();
    expected.sort_unstable();
    assert_eq!(
        by_reason.keys().collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
}

/// True if the error has the table's text for internal failures, without details of a database or
/// a library.
pub fn has_fixed_text(status: &Status) -> bool {
    TABLE.iter().any(|row| row.text == Some(status.message()))
}

fn check(row: &Case, status: &Status) {
    let reason = row.reason;
    assert_eq!(status.code(), row.code, "{reason}");
    let details = status.get_error_details();
    let retry_delay = details.retry_info().and_then(|retry| retry.retry_delay);
    let seconds = retry_delay.map(|delay| delay.as_secs_f64().ceil().to_string());
    let expected = row
        .metadata
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .chain(seconds.map(|seconds| ("retry_seconds".to_owned(), seconds)));
    let mut metadata = details.error_info().unwrap().metadata.clone();
    assert!(metadata.remove("trace_id").is_some(), "{reason}");
    assert_eq!(metadata, expected.collect(), "{reason}");
    let text = details.localized_message().unwrap();
    assert!(text.locale == "en" && !text.message.is_empty(), "{reason}");
    let violations = details.bad_request().map(|bad| &bad.field_violations);
    let violations = violations.map_or(&[][..], Vec::as_slice);
    let fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(
        fields,
        row.field.into_iter().collect::<Vec<_>>(),
        "{reason}"
    );
    let is_described = |v: &FieldViolation| !v.description.is_empty() && !v.reason.is_empty();
    assert!(violations.iter().all(is_described), "{reason}");
    assert_eq!(
        retry_delay.is_some(),
        row.code == Code::Unavailable
            || ["RESEND_LIMIT", "FIND_LIMIT", "AGENT_BLOCKED"].contains(&reason),
        "{reason}"
    );
    assert!(
        retry_delay.is_none_or(|delay| delay > Duration::ZERO),
        "{reason}"
    );
    assert!(!status.message().is_empty(), "{reason}");
    if let Some(text) = row.text {
        assert_eq!(status.message(), text);
    }
}

fn get_customer(number: &str) -> proto::GetCustomerRequest {
    proto::GetCustomerRequest {
        customer_number: number.into(),
    }
}

async fn invalid_input(server: &TestServer, anna: &Contact) -> Vec<Status> {
    const ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";
    let mut client = server.client();
    let change = |email: &str| proto::ChangeEmailRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        email: email.into(),
        request_id: ID.into(),
        ..proto::ChangeEmailRequest::default()
    };
    client
        .change_email(change("a@muster.example"))
        .await
        .unwrap();
    let foreign_token = proto::ListContactsRequest {
        customer_number: "K-1".into(),
        page_token: "nonsense".into(),
        ..proto::ListContactsRequest::default()
    };
    let elsewhere = proto::GetContactRequest {
        customer_number: "K-1".into(),
        contact_id: ID.into(),
    };
    vec![
        client.get_customer(get_customer("K 1")).await.unwrap_err(),
        client
            .change_email(change("b@muster.example"))
            .await
            .unwrap_err(),
        client.list_contacts(foreign_token).await.unwrap_err(),
        client.get_customer(get_customer("K-9")).await.unwrap_err(),
        client.get_contact(elsewhere).await.unwrap_err(),
        call(server, None, "Guess", Vec::new()).await.unwrap_err(),
    ]
}

async fn rule_violations(server: &TestServer, anna: &Contact) -> Vec<Status> {
    let mut client = server.client();
    server.create_customer("K-2").await;
    let creation = |number: &str, contact_type| proto::CreateContactRequest {
        customer_number: number.into(),
        contact: Some(new_contact("Bernd Maier", &[contact_type])),
        ..proto::CreateContactRequest::default()
    };
    let first = creation("K-2", ContactType::Technical);
    let first = client.create_contact(first).await.unwrap_err();
    let invoices = Contact {
        invoice_email_enabled: Some(true),
        types: vec![ContactType::Standard.into(), ContactType::Technical.into()],
        ..only_id(
            &server
                .create_contact("K-2", "A", &[ContactType::Standard], "")
                .await,
        )
    };
    let stale = Contact {
        etag: "nonsense".into(),
        ..only_id(anna)
    };
    let nothing_pending = proto::CancelEmailChangeRequest {
        customer_number: "K-2".into(),
        contact_id: invoices.contact_id.clone(),
        ..proto::CancelEmailChangeRequest::default()
    };
    let not_on_file = proto::SetAttentionLineRequest {
        customer_number: "K-1".into(),
        suppressed: true,
        ordered_by_email: "unknown@muster.example".into(),
        ..proto::SetAttentionLineRequest::default()
    };
    for _ in 1..100 {
        let contact = creation("K-2", ContactType::Standard);
        client.create_contact(contact).await.unwrap();
    }
    let one_more = creation("K-2", ContactType::Standard);
    vec![
        first,
        server.delete_contact(anna).await.unwrap_err(),
        server.update_contact(invoices, &[]).await.unwrap_err(),
        client
            .cancel_email_change(nothing_pending)
            .await
            .unwrap_err(),
        client.set_attention_line(not_on_file).await.unwrap_err(),
        server.update_contact(stale, &[]).await.unwrap_err(),
        client.create_contact(one_more).await.unwrap_err(),
    ]
}

async fn expired_events(server: &TestServer) -> Status {
    let mut client = server.client();
    let watch = client.watch_changes(proto::WatchChangesRequest::default());
    let mut watch = watch.await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    server.create_customer("K-4").await;
    // A later event is in the feed.
    watch.message().await.unwrap().unwrap();
    server.app.purge_events(TimeDelta::days(-1)).await.unwrap();
    let cursor = first.cursor;
    let watch = client.watch_changes(proto::WatchChangesRequest { cursor });
    watch.await.unwrap_err()
}

async fn dead_links(server: &TestServer) -> Vec<Status> {
    let contact = server.create_customer_with_contact("K-3").await;
    server.mails().await;
    server
        .change_email(&contact, "a@muster.example")
        .await
        .unwrap();
    let superseded = server.mailed_token("a@muster.example").await;
    server
        .change_email(&contact, "b@muster.example")
        .await
        .unwrap();
    let expired = server.mailed_token("b@muster.example").await;
    for _ in 0..3 {
        server.resend(&contact).await.unwrap();
    }
    let one_more = server.resend(&contact).await.unwrap_err();
    server.clock.advance(TimeDelta::days(7));
    let unknown = format!("K-3.{}", "0".repeat(64));
    vec![
        one_more,
        server.confirm(&superseded).await.unwrap_err(),
        server.confirm(&expired).await.unwrap_err(),
        server.confirm(&unknown).await.unwrap_err(),
    ]
}

async fn phone_errors(server: &TestServer, anna: &Contact) -> Vec<Status> {
    let order_type = proto::UpdateOrderTypeRequest {
        order_type: Some(proto::OrderType {
            code: "unknown".into(),
            display_name: "Unknown".into(),
            ..proto::OrderType::default()
        }),
        ..proto::UpdateOrderTypeRequest::default()
    };
    let mut responses = vec![
        server
            .authorize(anna, "x", "reboot", false)
            .await
            .unwrap_err(),
        server
            .client()
            .update_order_type(order_type)
            .await
            .unwrap_err(),
    ];
    for _ in 0..=60 {
        responses.extend(verify_channel(server, anna).await.err());
    }
    // Three attempts per phone call, each on another contact, until the agent is blocked.
    for try_number in 0..21 {
        let target = Contact {
            contact_id: format!("0190d6d2-5a3c-7cc1-8f2e-{try_number:012}"),
            ..anna.clone()
        };
        let call_id = format!("call-{}", try_number / 3);
        let checked = server.check_password(&target, "x", &call_id).await;
        responses.extend(checked.err());
        if try_number == 2 {
            let again = server.check_password(&target, "x", &call_id).await;
            responses.push(again.unwrap_err());
        }
    }
    responses
}

async fn missing_pepper(server: &TestServer, anna: &Contact) -> Status {
    let anna = server.set_phone_password(anna, "Roter Dachs 7").await;
    let lacked = "UPDATE phone_passwords SET pepper_version = 9 WHERE hash IS NOT NULL";
    execute(&server.database_url, lacked).await;
    let client = server.client_of("another agent");
    let checked = check_by(client, &anna.unwrap(), "x", "another call").await;
    checked.unwrap_err()
}

async fn rejected_callers(server: &TestServer) -> Vec<Status> {
    let (ttl, now) = (TimeDelta::minutes(1), server.now());
    let short_lived = server
        .keys
        .mint(ISSUER, AUDIENCE, "tester", ALL_SCOPES, None, ttl, now)
        .unwrap();
    server.clock.advance(TimeDelta::hours(1));
    let mut responses = Vec::new();
    for token in [
        "nonsense".to_owned(),
        short_lived,
        server.token("customers.read contacts.write", None),
        server.token(ALL_SCOPES, Some("K-2")),
    ] {
        let request = proto::ListContactsRequest {
            customer_number: "K-1".into(),
            ..proto::ListContactsRequest::default()
        };
        responses.push(
            server
                .client_with(token)
                .list_contacts(request)
                .await
                .unwrap_err(),
        );
    }
    let mut anonymous = ContactServiceClient::new(server.channel.clone());
    responses.push(
        anonymous
            .get_customer(get_customer("K-1"))
            .await
            .unwrap_err(),
    );
    responses
}

async fn overload(backend: Backend) -> Status {
    let limits = Limits {
        requests: 0,
        ..Limits::default()
    };
    let full = TestServer::start_with(backend, Options::with_limits(limits)).await;
    full.client()
        .get_customer(get_customer("K-1"))
        .await
        .unwrap_err()
}

async fn unreachable_database(backend: Backend) -> Status {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    if backend == Backend::Sqlite {
        let server = TestServer::start_on(&url, folder, Options::default()).await;
        server.database.clone().close().await;
        return server
            .client()
            .get_customer(get_customer("K-1"))
            .await
            .unwrap_err();
    }
    let (proxy, url) = Proxy::in_front_of(&url).await;
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    proxy.cut();
    server
        .client()
        .get_customer(get_customer("K-1"))
        .await
        .unwrap_err()
}

/// A row locked by another transaction, an unreadable value, and a missing table.
async fn broken_database(server: &TestServer, anna: &Contact) -> Vec<Status> {
    let url = &server.database_url;
    let limits = Limits {
        request_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let hasty = TestServer::start_on(url, folder, Options::with_limits(limits)).await;
    let lock = HeldLock::take(url, "K-1").await;
    let too_late = hasty.delete_contact(anna).await.unwrap_err();
    let conflict = server.delete_contact(anna).await.unwrap_err();
    lock.release().await;
    let get_anna = || proto::GetContactRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
    };
    let spoil = "UPDATE contacts SET locale = 'xx' WHERE customer_number = 'K-1'";
    execute(url, spoil).await;
    let unreadable = server.client().get_contact(get_anna()).await.unwrap_err();
    execute(url, "ALTER TABLE contacts RENAME TO lost").await;
    let missing = server.client().get_contact(get_anna()).await.unwrap_err();
    vec![too_late, conflict, unreadable, missing]
}
