//! `export`, and the erasure of a customer while a mail is being written.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use contact_service::api::proto::{self, ContactType};
use rstest::rstest;
use serde_json::Value;

use crate::process::{Backend, Client, Sandbox, client};

const SCOPES: &str = "customers.write contact_data.write contacts.write privacy.erase";

/// A customer with a contact whose address is pending.
async fn put_on_file(client: &mut Client, number: &str) {
    let customer = proto::Customer {
        customer_number: number.into(),
        ..proto::Customer::default()
    };
    let request = proto::UpdateCustomerRequest {
        customer: Some(customer),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    client.update_customer(request).await.unwrap();
    let request = proto::CreateContactRequest {
        customer_number: number.into(),
        contact: Some(proto::Contact {
            display_name: "Anna Schmidt".into(),
            types: vec![ContactType::Standard.into()],
            ..proto::Contact::default()
        }),
        email: "anna@muster.example".into(),
        ..proto::CreateContactRequest::default()
    };
    client.create_contact(request).await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_is_json_on_standard_output_or_in_a_file(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let token = sandbox
        .run(&["token", "--sub", "tester", "--scope", SCOPES])
        .printed();
    put_on_file(&mut client(&address, &token), "K-1").await;
    // With and without a running server.
    let printed = sandbox.run(&["export", "K-1"]).printed();
    server.signal("TERM");
    server.wait();
    let export: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(export["customer"]["customerNumber"], "K-1");
    assert_eq!(export["contacts"][0]["displayName"], "Anna Schmidt");
    assert_eq!(
        export["contacts"][0]["types"],
        serde_json::json!(["CONTACT_TYPE_STANDARD"])
    );
    let events = export["auditEvents"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["actor"]),
        (
            &"EVENT_KIND_CUSTOMER_EXPORTED".into(),
            &"command-line".into()
        )
    );
    assert!(printed.contains("\n  \"contacts\": ["), "{printed}");

    sandbox
        .run(&["export", "K-1", "--output", "K-1.json"])
        .printed();
    let file = sandbox.path().join("K-1.json");
    let again: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let again = again["auditEvents"].as_array().unwrap();
    assert_eq!(again.len(), events.len() + 1);
    assert_eq!(again[..events.len()], events[..]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let error_line = sandbox.run(&["export", "K-2"]).error_line();
    assert_eq!(error_line, "<CUSTOMER_NUMBER>: is not on file");
    let error_line = sandbox.run(&["export", "K_1"]).error_line();
    assert!(
        error_line.starts_with("<CUSTOMER_NUMBER>: must have"),
        "{error_line}"
    );
}

/// Creates customer K-1, and returns the number of its audit events.
async fn sandbox_with_customer(backend: Backend) -> (Sandbox, usize) {
    let sandbox = Sandbox::migrated_on(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let token = sandbox.run(&["token", "--sub", "tester", "--scope", SCOPES]);
    put_on_file(&mut client(&address, &token.printed()), "K-1").await;
    server.signal("TERM");
    server.wait();
    let events = count_events(&sandbox);
    (sandbox, events)
}

/// Includes the event of the export that counts them.
fn count_events(sandbox: &Sandbox) -> usize {
    let export: Value = serde_json::from_str(&sandbox.run(&["export", "K-1"]).printed()).unwrap();
    export["auditEvents"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_file_is_readable_by_its_owner_only() {
    let (sandbox, _) = sandbox_with_customer(Backend::Sqlite).await;
    let path = |name: &str| sandbox.path().join(name);
    // An attacker with access to the folder has guessed the path.
    fs::write(path("theirs"), "theirs").unwrap();
    symlink(path("theirs"), path("linked.json.part")).unwrap();
    symlink(path("theirs"), path("linked.json")).unwrap();
    for name in ["open.json", "open.json.part"] {
        fs::write(path(name), "").unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o666)).unwrap();
    }
    for name in ["linked.json", "open.json"] {
        sandbox.run(&["export", "K-1", "--output", name]).printed();
        let metadata = path(name).symlink_metadata().unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let export: Value = serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap();
        assert_eq!(export["customer"]["customerNumber"], "K-1");
    }
    assert_eq!(fs::read_to_string(path("theirs")).unwrap(), "theirs");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_export_is_not_in_the_audit_log(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (sandbox, events) = sandbox_with_customer(backend).await;
    for (output, why) in [
        ("missing/K-1.json", "there is no such folder"),
        ("data", "is a directory"),
    ] {
        let error_line = sandbox
            .run(&["export", "K-1", "--output", output])
            .error_line();
        assert_eq!(error_line, format!("{output} cannot be written: {why}"));
    }
    assert_eq!(count_events(&sandbox), events + 1);
}

#[test]
fn unwritable_export_creates_no_database() {
    let sandbox = Sandbox::new();
    let arguments = ["export", "K-1", "--output", "missing/K-1.json"];
    sandbox.run(&arguments).error_line();
    assert!(!sandbox.path().join("data").exists());
}

/// The erasure runs between reading the row of the mail and writing its file.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_written_after_an_erasure_is_deleted(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::migrated_on(backend)
        .await
        .with("FAILPOINTS", "mail-prepared=sleep(5000)");
    let (mut server, address) = sandbox.serve(&[]);
    let token = sandbox
        .run(&["token", "--sub", "tester", "--scope", SCOPES])
        .printed();
    let mut client = client(&address, &token);
    put_on_file(&mut client, "K-1").await;
    let url = sandbox.database_url();
    while count(&url, "confirmation_tokens").await == 0 {
        tokio::task::yield_now().await;
    }
    let request = proto::EraseCustomerRequest {
        customer_number: "K-1".into(),
        confirm_customer_number: "K-1".into(),
    };
    client.erase_customer(request).await.unwrap();
    server.until(|server| {
        server
            .stderr()
            .contains("claimed by another instance before the attempt ended")
    });
    let mails = fs::read_dir(sandbox.path().join("data/mail")).unwrap();
    assert_eq!(mails.count(), 0);
    assert!(server.stderr().contains("mail sent"), "no mail was written");
}

async fn count(url: &str, table: &str) -> i64 {
    use sqlx::Connection;
    let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let counted = if url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await
    };
    counted.unwrap()
}
