//! Rule 15: no table contains a phone password, normalized or not. tests/cli covers logs with the
//! binary.

use std::fs;

use contact_service::api::proto::{
    self, ContactType, PhonePasswordVerdict, set_phone_password_request::Source,
};
use rstest::rstest;

use crate::harness::{Backend, TestServer, execute, new_contact, query_number};

const FIRST: &str = "Kanarien-Vogel Größe 77";
const SECOND: &str = "Zweiter Kanarienvogel 88";
const WRONG: &str = "Falscher Kanarienvogel 99";

/// The password as entered, normalized, and the forms in between.
fn traces_of(password: &str) -> Vec<String> {
    let small = password.to_lowercase();
    let umlauts = small.replace('ö', "oe").replace('ß', "ss");
    let bare = |text: &str| text.replace([' ', '-'], "");
    vec![bare(&umlauts), bare(&small), umlauts.clone(), small]
}

/// True if the database contains the lower-case text.
async fn database_contains(server: &TestServer, backend: Backend, text: &str) -> bool {
    match backend {
        Backend::Sqlite => {
            execute(&server.database_url, "PRAGMA wal_checkpoint(TRUNCATE)").await;
            let bytes = fs::read(server.folder.path().join("contacts.db")).unwrap();
            let all = String::from_utf8_lossy(&bytes).to_lowercase();
            all.contains(text)
        }
        Backend::Postgres => {
            let search = format!(
                "SELECT count(*) FROM (
                   SELECT lower(schema_to_xml(current_schema(), true, false, '')::text) AS dump
                 ) AS all_tables WHERE dump LIKE '%{text}%'"
            );
            query_number(&server.database_url, &search).await > 0
        }
    }
}

#[rstest]
#[tokio::test]
async fn rule_15_no_table_contains_a_phone_password(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    let mut client = server.client();
    // With a request id, so that the response is stored for replay.
    let creation = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact("Anna Sichtbar", &[ContactType::Standard])),
        phone_password: FIRST.into(),
        request_id: "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55".into(),
        ..proto::CreateContactRequest::default()
    };
    let anna = client.create_contact(creation).await.unwrap().into_inner();
    let anna = anna.contact.unwrap();
    for (candidate, nth) in [(FIRST, 0), (WRONG, 1)] {
        let call_id = format!("call-{nth}");
        server
            .check_password(&anna, candidate, &call_id)
            .await
            .unwrap();
    }
    server.set_phone_password(&anna, SECOND).await.unwrap();
    let generate = proto::SetPhonePasswordRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        source: Some(Source::Generate(true)),
        ..proto::SetPhonePasswordRequest::default()
    };
    let generated = client.set_phone_password(generate).await.unwrap();
    let generated = generated.into_inner().generated_phone_password;
    let checked = server.check_password(&anna, &generated, "call-2").await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    for nth in 3..9 {
        let call_id = format!("call-{nth}");
        server.check_password(&anna, WRONG, &call_id).await.unwrap();
    }
    // A text that is stored is found.
    assert!(database_contains(&server, backend, "anna sichtbar").await);
    for password in [FIRST, SECOND, WRONG, &generated] {
        for trace in traces_of(password) {
            assert!(
                !database_contains(&server, backend, &trace).await,
                "{trace}"
            );
        }
    }
}
