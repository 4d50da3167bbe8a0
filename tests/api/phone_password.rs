//! Setting, generating, clearing and checking phone passwords (rules 13 to 17).
//! `phone_password_limits` covers the attempt limits.

use std::time::Duration;

use chrono::TimeDelta;
use contact_service::{
    api::proto::{
        self, CheckPhonePasswordResponse, Contact, ContactType, PhonePasswordVerdict,
        set_phone_password_request::Source,
    },
    app::{App, AppParts},
    crypto::{
        keyring::VersionedKeys,
        password_hasher::{HashCost, PhoneHasher},
        random::Random,
    },
};
use prost::Message;
use rstest::rstest;
use secrecy::ExposeSecret;
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, new_contact, query_number, rejected_fields, rejection},
    phone_calls::{CALL_ID, PASSWORD, create_contact_with_password},
    requests::timestamp,
};

async fn verdict(server: &TestServer, contact: &Contact, candidate: &str) -> PhonePasswordVerdict {
    // Each attempt in its own phone call.
    let call_id = format!("call-{}", server.hasher.computed());
    let checked = server.check_password(contact, candidate, &call_id).await;
    checked.unwrap().verdict()
}

#[rstest]
#[tokio::test]
async fn rule_14_equal_sounding_passwords_match(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    server
        .set_phone_password(&anna, "Müller Straße 7")
        .await
        .unwrap();
    for candidate in [
        "muellerstrasse7",
        "MÜLLER-STRASSE 7",
        "mu\u{308}ller straße ７",
    ] {
        let verdict = verdict(&server, &anna, candidate).await;
        assert_eq!(verdict, PhonePasswordVerdict::Match, "{candidate}");
    }
    for candidate in ["mullerstrasse7", "Müller Straße 8", "x"] {
        let verdict = verdict(&server, &anna, candidate).await;
        assert_eq!(verdict, PhonePasswordVerdict::NoMatch, "{candidate}");
    }
}

#[rstest]
#[tokio::test]
async fn rule_13_set_replaces_and_clear_removes_the_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let shown = anna.phone_password.unwrap();
    assert!(shown.configured && !shown.revoked);
    assert_eq!(shown.set_time, timestamp(server.now()));
    server.clock.advance(TimeDelta::hours(1));
    let changed = server
        .set_phone_password(&anna, "gelber Kranich")
        .await
        .unwrap();
    assert_ne!(changed.etag, anna.etag);
    assert_eq!(
        changed.phone_password.unwrap().set_time,
        timestamp(server.now())
    );
    assert_eq!(
        verdict(&server, &anna, PASSWORD).await,
        PhonePasswordVerdict::NoMatch
    );
    assert_eq!(
        verdict(&server, &anna, "gelber Kranich").await,
        PhonePasswordVerdict::Match
    );
    let clear = proto::ClearPhonePasswordRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        ..proto::ClearPhonePasswordRequest::default()
    };
    let cleared = server.client().clear_phone_password(clear).await.unwrap();
    let cleared = cleared.into_inner().contact.unwrap();
    assert_eq!(
        cleared.phone_password,
        Some(proto::PhonePassword::default())
    );
    assert_eq!(server.contact(&anna).await, cleared);
    let gone = verdict(&server, &anna, "gelber Kranich").await;
    assert_eq!(gone, PhonePasswordVerdict::NoMatch);
    let hashes = "SELECT count(*) FROM phone_passwords WHERE hash IS NOT NULL";
    assert_eq!(query_number(&server.database_url, hashes).await, 0);
}

#[rstest]
#[tokio::test]
async fn rule_14_generated_password_is_shown_once_and_matches(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let request = proto::SetPhonePasswordRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        source: Some(Source::Generate(true)),
        ..proto::SetPhonePasswordRequest::default()
    };
    let mut client = server.client();
    let first = client
        .set_phone_password(request.clone())
        .await
        .unwrap()
        .into_inner();
    let second = client
        .set_phone_password(request)
        .await
        .unwrap()
        .into_inner();
    let (first, second) = (
        first.generated_phone_password,
        second.generated_phone_password,
    );
    assert_ne!(first, second);
    assert_eq!(second.split(' ').count(), 3);
    assert_eq!(
        verdict(&server, &anna, &second).await,
        PhonePasswordVerdict::Match
    );
    assert_eq!(
        verdict(&server, &anna, &first).await,
        PhonePasswordVerdict::NoMatch
    );
}

#[rstest]
#[tokio::test]
async fn rule_14_invalid_password_is_rejected_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-100177").await;
    let anna = server
        .create_contact("K-100177", "Anna Wolfdiether", &[ContactType::Standard], "")
        .await;
    let before = server.state("K-100177").await;
    for bad in [
        "",
        "kurz",
        "Pass-Wort",
        "k 100177",
        "wolfdiether",
        "Anna Wolfdiether",
    ] {
        let rejected = server.set_phone_password(&anna, bad).await;
        assert_eq!(rejected_fields(rejected), ["phone_password"], "{bad:?}");
        let creation = proto::CreateContactRequest {
            customer_number: "K-100177".into(),
            contact: Some(new_contact("Anna Wolfdiether", &[ContactType::Other])),
            phone_password: bad.into(),
            ..proto::CreateContactRequest::default()
        };
        if !bad.is_empty() {
            let rejected = server.client().create_contact(creation).await;
            assert_eq!(rejected_fields(rejected), ["phone_password"], "{bad:?}");
        }
    }
    for source in [None, Some(Source::Generate(false))] {
        let field = if source.is_none() {
            "source"
        } else {
            "generate"
        };
        let request = proto::SetPhonePasswordRequest {
            customer_number: "K-100177".into(),
            contact_id: anna.contact_id.clone(),
            source,
            ..proto::SetPhonePasswordRequest::default()
        };
        let rejected = server.client().set_phone_password(request).await;
        assert_eq!(rejected_fields(rejected), [field]);
    }
    assert_eq!(server.state("K-100177").await, before);
}

#[rstest]
#[tokio::test]
async fn new_contact_can_be_created_with_a_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let creation = |validate_only| proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact("Anna", &[ContactType::Standard])),
        phone_password: PASSWORD.into(),
        validate_only,
        ..proto::CreateContactRequest::default()
    };
    let mut client = server.client();
    client.create_contact(creation(true)).await.unwrap();
    let rows = "SELECT count(*) FROM phone_passwords";
    assert_eq!(query_number(&server.database_url, rows).await, 0);
    let made = client.create_contact(creation(false)).await.unwrap();
    let made = made.into_inner().contact.unwrap();
    assert!(made.phone_password.unwrap().configured);
    assert_eq!(server.contact(&made).await, made);
    assert_eq!(
        verdict(&server, &made, PASSWORD).await,
        PhonePasswordVerdict::Match
    );
    let event = &server.events("K-1").await[1];
    assert!(event.changed_fields.contains(&"phone_password".to_owned()));
}

#[rstest]
#[tokio::test]
async fn rule_17_wrong_unset_and_unknown_look_identical(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let unset = server
        .create_contact("K-1", "Bernd", &[ContactType::Other], "")
        .await;
    let unknown = Contact {
        contact_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..anna.clone()
    };
    let unknown_customer = Contact {
        customer_number: "K-9".into(),
        ..anna.clone()
    };
    let no_match = CheckPhonePasswordResponse {
        verdict: PhonePasswordVerdict::NoMatch.into(),
        ..CheckPhonePasswordResponse::default()
    };
    let all_contacts = [&anna, &unset, &unknown, &unknown_customer];
    // Four attempts without a lock, a fifth that locks, and one while locked.
    for try_number in 0..6 {
        let mut responses = Vec::new();
        for (index, contact) in all_contacts.iter().enumerate() {
            let client = server.client_of(&format!("agent-{index}"));
            let call_id = format!("{index}-{try_number}");
            let computed = server.hasher.computed();
            let checked = crate::phone_calls::check_by(client, contact, "falsch", &call_id).await;
            let hashes = server.hasher.computed() - computed;
            responses.push((checked.unwrap().encode_to_vec(), hashes));
        }
        assert!(
            responses.iter().all(|response| *response == responses[0]),
            "{try_number}"
        );
        if try_number < 5 {
            assert_eq!(responses[0], (no_match.encode_to_vec(), 1));
        } else {
            assert_eq!(responses[0].1, 0);
        }
    }
}

#[rstest]
#[tokio::test]
async fn rule_15_outdated_peppers_and_costs_are_upgraded(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let old = server.keys.phone_pepper().expose_secret();
    let key = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let renewed_rows = "SELECT count(*) FROM phone_passwords
        WHERE pepper_version = 2 AND hash LIKE '$argon2id$v=19$m=16,t=1,p=1$%'";
    assert_eq!(query_number(&server.database_url, renewed_rows).await, 0);
    let peppers = VersionedKeys::parse(&format!("2:{key},{old}")).unwrap();
    let cost = HashCost::unbounded(16, 1, 1).unwrap();
    let hasher = PhoneHasher::new(peppers, cost).unwrap();
    let app = App::new(AppParts {
        database: server.database.clone(),
        clock: server.clock.clone(),
        random: Random::system(),
        service_keys: VersionedKeys::parse(&format!("1:{key}")).unwrap(),
        hasher,
        channel_checks_per_minute: None,
        code_answer_time: Duration::ZERO,
        mail_folder: None,
    });
    for candidate in [PASSWORD, PASSWORD] {
        let check = contact_service::app::CallerCheck {
            contact: crate::phone_calls::contact_ref(&anna),
            candidate: contact_service::app::Candidate::Password(
                contact_service::domain::phone_password::NormalizedPassword::from_spoken(candidate)
                    .unwrap(),
            ),
            call_id: "call".into(),
        };
        let agent = contact_service::domain::audit::Actor("agent".into());
        let verdict = app.authenticate_caller(&agent, check).await.unwrap();
        assert!(matches!(
            verdict,
            contact_service::app::CallerVerdict::Match(_)
        ));
        assert_eq!(query_number(&server.database_url, renewed_rows).await, 1);
    }
}

#[rstest]
#[tokio::test]
async fn hash_moved_to_another_contact_never_matches(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_password(&server, "K-1").await;
    let bernd = server
        .create_contact("K-1", "Bernd", &[ContactType::Other], "")
        .await;
    server
        .set_phone_password(&bernd, "gelber Kranich")
        .await
        .unwrap();
    let same = "UPDATE phone_passwords SET hash = (SELECT max(hash) FROM phone_passwords)";
    crate::harness::execute(&server.database_url, same).await;
    let mut matches = 0;
    for contact in [&anna, &bernd] {
        for candidate in [PASSWORD, "gelber Kranich"] {
            let is_match =
                verdict(&server, contact, candidate).await == PhonePasswordVerdict::Match;
            matches += usize::from(is_match);
        }
    }
    assert_eq!(matches, 1);
}

#[rstest]
#[tokio::test]
async fn missing_fields_of_a_check_are_named(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = Contact::default();
    let rejected = server.check_password(&unknown, "", " \n").await;
    let fields = ["customer_number", "contact_id", "phone_password", "call_id"];
    assert_eq!(rejected_fields(rejected), fields);
    let anna = create_contact_with_password(&server, "K-1").await;
    let rejected = server
        .check_password(&anna, &"x".repeat(257), CALL_ID)
        .await;
    assert_eq!(rejected_fields(rejected), ["phone_password"]);
    let unlock = proto::UnlockPhonePasswordRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        reason: String::new(),
        ..proto::UnlockPhonePasswordRequest::default()
    };
    let rejected = server.client().unlock_phone_password(unlock).await;
    assert_eq!(rejected_fields(rejected), ["reason"]);
    let elsewhere = Contact {
        customer_number: "K-9".into(),
        ..anna
    };
    let unknown = rejection(server.set_phone_password(&elsewhere, PASSWORD).await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
}
