//! `export`, and what an erasure leaves of a mail that is just being written.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use contact_service::api::proto::{self, ContactType};
use rstest::rstest;
use serde_json::Value;

use crate::process::{Backend, Client, Place, client};

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
async fn an_export_is_json_on_standard_output_or_in_a_file(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend).await.with("LISTEN_ADDR", "127.0.0.1:0");
    place.run(&["migrate", "up"]).printed();
    let (server, address) = place.serve(&[]);
    let token = place
        .run(&["token", "--sub", "tester", "--scope", SCOPES])
        .printed();
    put_on_file(&mut client(&address, &token), "K-1").await;
    // Beside the server as well as without it.
    let printed = place.run(&["export", "K-1"]).printed();
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

    place
        .run(&["export", "K-1", "--output", "K-1.json"])
        .printed();
    let file = place.path().join("K-1.json");
    let again: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let again = again["auditEvents"].as_array().unwrap();
    assert_eq!(again.len(), events.len() + 1);
    assert_eq!(again[..events.len()], events[..]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let complaint = place.run(&["export", "K-2"]).complaint();
    assert_eq!(complaint, "<CUSTOMER_NUMBER>: is not on file");
    let complaint = place.run(&["export", "K_1"]).complaint();
    assert!(
        complaint.starts_with("<CUSTOMER_NUMBER>: must have"),
        "{complaint}"
    );
}

/// The customer K-1 on file, and how many events its trail has.
async fn place_with_a_customer(backend: Backend) -> (Place, usize) {
    let place = Place::on(backend).await.with("LISTEN_ADDR", "127.0.0.1:0");
    place.run(&["migrate", "up"]).printed();
    let (server, address) = place.serve(&[]);
    let token = place.run(&["token", "--sub", "tester", "--scope", SCOPES]);
    put_on_file(&mut client(&address, &token.printed()), "K-1").await;
    server.signal("TERM");
    server.wait();
    let events = count_events(&place);
    (place, events)
}

/// With the event of the export by which they are counted.
fn count_events(place: &Place) -> usize {
    let export: Value = serde_json::from_str(&place.run(&["export", "K-1"]).printed()).unwrap();
    export["auditEvents"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_for_its_owner_only_whatever_lies_in_its_way() {
    let (place, _) = place_with_a_customer(Backend::Sqlite).await;
    let path = |name: &str| place.path().join(name);
    // Somebody who may write to the folder has foreseen where it will be written.
    fs::write(path("theirs"), "theirs").unwrap();
    symlink(path("theirs"), path("linked.json.part")).unwrap();
    symlink(path("theirs"), path("linked.json")).unwrap();
    for name in ["open.json", "open.json.part"] {
        fs::write(path(name), "").unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o666)).unwrap();
    }
    for name in ["linked.json", "open.json"] {
        place.run(&["export", "K-1", "--output", name]).printed();
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
async fn what_could_not_be_given_out_is_not_in_the_trail(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let (place, events) = place_with_a_customer(backend).await;
    for (output, why) in [
        ("missing/K-1.json", "there is no such folder"),
        ("data", "is a directory"),
    ] {
        let complaint = place
            .run(&["export", "K-1", "--output", output])
            .complaint();
        assert_eq!(complaint, format!("{output} cannot be written: {why}"));
    }
    assert_eq!(count_events(&place), events + 1);
}

#[test]
fn nothing_is_made_for_an_export_that_cannot_be_written() {
    let place = Place::new();
    let arguments = ["export", "K-1", "--output", "missing/K-1.json"];
    place.run(&arguments).complaint();
    assert!(!place.path().join("data").exists());
}

/// Between the look at its row and its file.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_written_after_the_erasure_is_deleted_again(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = Place::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("FAILPOINTS", "mail-prepared=sleep(5000)");
    place.run(&["migrate", "up"]).printed();
    let (mut server, address) = place.serve(&[]);
    let token = place
        .run(&["token", "--sub", "tester", "--scope", SCOPES])
        .printed();
    let mut client = client(&address, &token);
    put_on_file(&mut client, "K-1").await;
    let url = place.database_url();
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
            .contains("taken over before its attempt ended")
    });
    let mails = fs::read_dir(place.path().join("data/mail")).unwrap();
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
