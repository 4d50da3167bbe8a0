//! One-time codes: mailed, shown by the portal, and checked under the limits of phone passwords (rule 29).

use chrono::TimeDelta;
use contact_service::{
    api::proto::{
        self, AuthenticationMethod, CheckOneTimeCodeResponse, Contact, ContactType, EventKind,
        PhonePasswordVerdict, SendOneTimeCodeRequest,
    },
    app::CODE_ANSWER_TIME,
    crypto::random::Random,
};
use rstest::rstest;
use tempfile::tempdir;
use tonic::{Code, Status};

use crate::{
    harness::{
        Backend, Client, Options, TestServer, fresh_database, query_number, rejected_fields,
        rejection,
    },
    phone_calls::{PASSWORD, check_by, create_code},
    requests::timestamp,
};

const STANDARD: &[ContactType] = &[ContactType::Standard];
const GUESSES: usize = 60;
const EMAIL: &str = "anna@k-1.example";

/// A contact with a confirmed address.
async fn contact_with_address(server: &TestServer) -> Contact {
    server.create_customer("K-1").await;
    let anna = server.create_contact("K-1", "Anna", STANDARD, "").await;
    server.set_confirmed_email(&anna, EMAIL).await;
    server.contact(&anna).await
}

async fn check_with(
    mut client: Client,
    contact: &Contact,
    code: &str,
    call_id: &str,
) -> Result<CheckOneTimeCodeResponse, Status> {
    let request = proto::CheckOneTimeCodeRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        code: code.into(),
        call_id: call_id.into(),
    };
    Ok(client.check_one_time_code(request).await?.into_inner())
}

/// A check in a phone call of its own.
async fn verdict(server: &TestServer, contact: &Contact, code: &str) -> PhonePasswordVerdict {
    let id = Random::system().uuid_v7(server.now()).unwrap();
    let call_id = format!("call-{id}");
    let checked = check_with(server.client(), contact, code, &call_id).await;
    checked.unwrap().verdict()
}

fn request_of(contact: &Contact, call_id: &str) -> SendOneTimeCodeRequest {
    SendOneTimeCodeRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        call_id: call_id.into(),
        ..SendOneTimeCodeRequest::default()
    }
}

async fn send(server: &TestServer, contact: &Contact) -> Option<prost_types::Timestamp> {
    let request = request_of(contact, "call-1");
    let sent = server.client().send_one_time_code(request).await;
    sent.unwrap().into_inner().expire_time
}

/// The codes in the due e-mails.
async fn mailed_codes(server: &TestServer) -> Vec<String> {
    let mails = server.mails().await;
    let codes = mails.iter().map(|mail| {
        assert_eq!(mail.to, EMAIL);
        let lines = mail.text.lines().map(str::trim);
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
        let code = lines.clone().find(is_code).expect("no code").to_owned();
        assert!(mail.html.contains(&code) && !mail.subject.contains(&code));
        code
    });
    codes.collect()
}

/// A code that is not this one.
fn other_than(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

#[rstest]
#[tokio::test]
async fn rule_29_mailed_code_works_once(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let expire_time = server.now() + TimeDelta::minutes(10);
    assert_eq!(send(&server, &anna).await, timestamp(expire_time));
    let code = mailed_codes(&server).await.remove(0);

    let spoken = format!("{} {}", &code[..3], &code[3..]);
    let checked = check_with(server.client(), &anna, &spoken, "call-1").await;
    let checked = checked.unwrap();
    assert_eq!(checked.verdict(), PhonePasswordVerdict::Match);
    let grant_expiry = server.now() + TimeDelta::minutes(15);
    assert_eq!(checked.grant_expire_time, timestamp(grant_expiry));
    assert_eq!(checked.caller.unwrap().display_name, "Anna");
    let again = verdict(&server, &anna, &code).await;
    assert_eq!(again, PhonePasswordVerdict::NoMatch);

    let events = server.events("K-1").await;
    let kinds: Vec<_> = events.iter().take(3).map(proto::AuditEvent::kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::ContactOneTimeCodeFailed,
            EventKind::ContactOneTimeCodeMatched,
            EventKind::ContactOneTimeCodeRequested,
        ]
    );
    assert_eq!(events[1].details["authentication"], "CODE_BY_EMAIL");
    assert_eq!(events[2].details["mailed"], "true");
    let codes = "SELECT count(*) FROM one_time_codes WHERE code_hash IS NOT NULL";
    assert_eq!(query_number(&server.database_url, codes).await, 0);
}

#[rstest]
#[tokio::test]
async fn rule_29_portal_code_gives_the_same_grant(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    server
        .create_order_type("marker.allowed", false, true)
        .await;
    let code = create_code(&server, &anna).await;
    let checked = check_with(server.client(), &anna, &code, "call-1").await;
    let checked = checked.unwrap();
    let order = crate::phone_calls::authorize_in(&server, &anna, &checked.grant, "call-1").await;
    assert_eq!(order.authentication(), AuthenticationMethod::CodeFromPortal);
    // A phone password that is set now does not end the grant of a code.
    server.set_phone_password(&anna, PASSWORD).await.unwrap();
    crate::phone_calls::authorize_in(&server, &anna, &checked.grant, "call-1").await;
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn rule_29_code_expires_after_ten_minutes(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let almost = TimeDelta::minutes(10) - TimeDelta::milliseconds(1);
    let code = create_code(&server, &anna).await;
    server.clock.advance(almost);
    let in_time = verdict(&server, &anna, &code).await;
    assert_eq!(in_time, PhonePasswordVerdict::Match);
    let code = create_code(&server, &anna).await;
    server.clock.advance(TimeDelta::minutes(10));
    let late = verdict(&server, &anna, &code).await;
    assert_eq!(late, PhonePasswordVerdict::NoMatch);
    // Nor is it mailed late.
    send(&server, &anna).await;
    server.clock.advance(TimeDelta::minutes(10));
    assert!(server.mails().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn rule_29_three_wrong_codes_end_a_code(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let code = create_code(&server, &anna).await;
    for _ in 0..2 {
        let wrong = verdict(&server, &anna, other_than(&code)).await;
        assert_eq!(wrong, PhonePasswordVerdict::NoMatch);
    }
    let third = verdict(&server, &anna, &code).await;
    assert_eq!(third, PhonePasswordVerdict::Match);
    let code = create_code(&server, &anna).await;
    for _ in 0..3 {
        verdict(&server, &anna, other_than(&code)).await;
    }
    let fourth = verdict(&server, &anna, &code).await;
    assert_eq!(fourth, PhonePasswordVerdict::NoMatch);
}

#[rstest]
#[tokio::test]
async fn rule_29_newer_code_replaces_the_older_of_its_method(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let shown = create_code(&server, &anna).await;
    for _ in 0..2 {
        send(&server, &anna).await;
    }
    // The e-mail of the first code was obsolete before it was sent.
    let mailed = mailed_codes(&server).await;
    assert_eq!(mailed.len(), 1);
    let newer = create_code(&server, &anna).await;
    let replaced = verdict(&server, &anna, &shown).await;
    assert_eq!(replaced, PhonePasswordVerdict::NoMatch);
    for code in [&mailed[0], &newer] {
        let matched = verdict(&server, &anna, code).await;
        assert_eq!(matched, PhonePasswordVerdict::Match);
    }
}

#[rstest]
#[tokio::test]
async fn rule_29_three_codes_are_mailed_within_an_hour(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let mut mailed = 0;
    for _ in 0..5 {
        assert!(send(&server, &anna).await.is_some());
        mailed += mailed_codes(&server).await.len();
        server.clock.advance(TimeDelta::minutes(10));
    }
    assert_eq!(mailed, 3);
    assert_eq!(server.events("K-1").await[0].details["mailed"], "false");
    server.clock.advance(TimeDelta::minutes(10));
    send(&server, &anna).await;
    assert_eq!(mailed_codes(&server).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn rule_29_response_is_the_same_without_an_address_contact_or_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let options = Options {
        code_answer_time: CODE_ANSWER_TIME,
        ..Options::default()
    };
    let server = TestServer::start_with(backend, options).await;
    let anna = contact_with_address(&server).await;
    let pending = server
        .create_contact("K-1", "Berta", STANDARD, "berta@k-1.example")
        .await;
    server.mailed_token("berta@k-1.example").await;
    let without = server.create_contact("K-1", "Carla", STANDARD, "").await;
    let unknown = Contact {
        contact_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..anna.clone()
    };
    let of_unknown = Contact {
        customer_number: "K-9".into(),
        ..anna.clone()
    };
    let expected = timestamp(server.now() + TimeDelta::minutes(10));
    for contact in [&pending, &without, &unknown, &of_unknown] {
        let started = std::time::Instant::now();
        assert_eq!(send(&server, contact).await, expected);
        let no_match = verdict(&server, contact, "123456").await;
        assert_eq!(no_match, PhonePasswordVerdict::NoMatch);
        // The work for a contact with an address must not be measurable.
        assert!(started.elapsed() >= 2 * CODE_ANSWER_TIME);
    }
    assert!(server.mails().await.is_empty());
    assert_eq!(send(&server, &anna).await, expected);
    assert_eq!(mailed_codes(&server).await.len(), 1);
}

/// Wrong passwords and wrong codes of one contact, alternately and at once, over three servers on one
/// PostgreSQL, or one on SQLite: the sum is limited.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_29_five_of_60_concurrent_guesses_of_both_kinds_are_checked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let folder = tempdir().unwrap();
    let url = fresh_database(backend, folder.path().join("contacts.db")).await;
    let count = if backend == Backend::Postgres { 3 } else { 1 };
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await);
    }
    for kinds in [&["code"][..], &["code", "password"]] {
        let number = format!("R-{}", kinds.len());
        let anna = servers[0].create_customer_with_contact(&number).await;
        servers[0]
            .set_phone_password(&anna, PASSWORD)
            .await
            .unwrap();
        let code = create_code(&servers[0], &anna).await;
        let guesses = (0..GUESSES).map(|index| {
            let client = servers[index % count].client_of(&format!("agent-{number}-{index}"));
            let (anna, call_id) = (anna.clone(), format!("call-{number}-{index}"));
            let (wrong, kind) = (other_than(&code), kinds[index / count % kinds.len()]);
            tokio::spawn(async move {
                if kind == "password" {
                    let checked = check_by(client, &anna, "falsch", &call_id).await;
                    return checked.map(|checked| checked.verdict());
                }
                let checked = check_with(client, &anna, wrong, &call_id).await;
                checked.map(|checked| checked.verdict())
            })
        });
        let mut no_match = 0;
        for guess in guesses.collect::<Vec<_>>() {
            match guess.await.unwrap() {
                Ok(PhonePasswordVerdict::NoMatch) => no_match += 1,
                Ok(verdict) => assert_eq!(verdict, PhonePasswordVerdict::Locked),
                Err(status) => {
                    let rejected = rejection::<()>(Err(status));
                    assert_eq!(rejected, (Code::Unavailable, "OVERLOADED".into()));
                }
            }
        }
        assert_eq!(no_match, 5, "{kinds:?}");
        let locked = verdict(&servers[0], &anna, &code).await;
        assert_eq!(locked, PhonePasswordVerdict::Locked);
    }
}

#[rstest]
#[tokio::test]
async fn limits_of_call_and_agent_hold_for_codes_and_passwords_together(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    server.set_phone_password(&anna, PASSWORD).await.unwrap();
    let code = create_code(&server, &anna).await;
    let wrong = other_than(&code);
    let client = || server.client();
    check_with(client(), &anna, wrong, "call-1").await.unwrap();
    check_by(client(), &anna, "falsch", "call-1").await.unwrap();
    check_with(client(), &anna, wrong, "call-1").await.unwrap();
    let exhausted = (
        Code::ResourceExhausted,
        "PHONE_CALL_ATTEMPT_LIMIT".to_owned(),
    );
    let fourth = check_with(client(), &anna, &code, "call-1").await;
    assert_eq!(rejection(fourth), exhausted);
    let mut sender = client();
    let useless = sender.send_one_time_code(request_of(&anna, "call-1")).await;
    assert_eq!(rejection(useless), exhausted);
    // The failures of one agent over many contacts.
    for nth in 3..20 {
        let other = server
            .create_contact("K-1", &format!("Nr. {nth}"), STANDARD, "")
            .await;
        let failed = verdict(&server, &other, wrong).await;
        assert_eq!(failed, PhonePasswordVerdict::NoMatch);
    }
    let blocked = check_by(client(), &anna, PASSWORD, "call-2").await;
    assert_eq!(rejection(blocked).1, "AGENT_BLOCKED");
    let blocked = check_with(client(), &anna, &code, "call-2").await;
    assert_eq!(rejection(blocked).1, "AGENT_BLOCKED");
}

#[rstest]
#[tokio::test]
async fn matching_code_unlocks_nothing_that_is_revoked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    server.set_phone_password(&anna, PASSWORD).await.unwrap();
    for nth in 0..50 {
        let client = server.client_of(&format!("agent-{nth}"));
        let failed = check_by(client, &anna, "falsch", &format!("call-{nth}")).await;
        assert_eq!(failed.unwrap().verdict(), PhonePasswordVerdict::NoMatch);
        server.clock.advance(TimeDelta::days(1));
    }
    assert!(server.contact(&anna).await.phone_password.unwrap().revoked);
    let code = create_code(&server, &anna).await;
    let matched = verdict(&server, &anna, &code).await;
    assert_eq!(matched, PhonePasswordVerdict::Match);
    assert!(server.contact(&anna).await.phone_password.unwrap().revoked);
    let still = server.check_password(&anna, PASSWORD, "later").await;
    assert_eq!(still.unwrap().verdict(), PhonePasswordVerdict::Locked);
}

#[rstest]
#[tokio::test]
async fn code_ends_with_its_contact_and_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = contact_with_address(&server).await;
    let berta = server.create_contact("K-1", "Berta", STANDARD, "").await;
    create_code(&server, &berta).await;
    send(&server, &anna).await;
    let rows = "SELECT count(*) FROM one_time_codes";
    assert_eq!(query_number(&server.database_url, rows).await, 2);
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.one_time_codes.len(), 2);
    assert!(!format!("{export:?}").contains(&mailed_codes(&server).await[0]));
    server.delete_contact(&berta).await.unwrap();
    assert_eq!(query_number(&server.database_url, rows).await, 1);
    server.clock.advance(TimeDelta::minutes(70));
    assert_eq!(server.app.purge_one_time_codes().await.unwrap(), 1);
}

#[rstest]
#[tokio::test]
async fn fields_of_the_requests_are_checked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let no_contact = Contact::default();
    for bad in ["", "12345", "1234567", "12345x", "１２３４５６"] {
        let rejected = check_with(server.client(), &no_contact, bad, "").await;
        let fields = ["customer_number", "contact_id", "code", "call_id"];
        assert_eq!(rejected_fields(rejected), fields, "{bad}");
    }
    let mut client = server.client();
    let rejected = client.send_one_time_code(request_of(&no_contact, "")).await;
    let fields = ["customer_number", "contact_id", "call_id"];
    assert_eq!(rejected_fields(rejected), fields);
    server.create_customer("K-1").await;
    let unknown = proto::CreateOneTimeCodeRequest {
        customer_number: "K-1".into(),
        contact_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..proto::CreateOneTimeCodeRequest::default()
    };
    let rejected = rejection(client.create_one_time_code(unknown).await);
    assert_eq!(rejected, (Code::NotFound, "CONTACT_NOT_FOUND".into()));
}
