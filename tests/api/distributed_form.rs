//! The statements have the form that a distributed database requires, although none is at hand: each
//! names one customer, no update sets a key, and no lock spans customers. Each exception states its
//! reason and fails once it is obsolete.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use contact_service::storage::{Distribution, TABLE_DISTRIBUTIONS};
use prost::Message;
use rstest::rstest;
use sqlx::{Connection, PgConnection};
use tempfile::tempdir;

use crate::{
    explain::{self, explained},
    harness::{ALL_SCOPES, Backend, Options, TestServer, fresh_database},
    raw::call,
    rpcs::{RPCS, prepare, valid_request},
    statement_form::Form,
};

/// Statements of RPCs and of the outbox for which the rules do not hold, by a part of their text.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "FROM outbox_mails WHERE state = 'queued'",
        "due e-mails of all customers, read without a lock",
    ),
    (
        "WHERE contacts.email_key IN ($1)",
        "a search over all customers, without a lock (rule 30)",
    ),
];
/// Statements that the form is not required of, as they belong to no customer.
const WITHOUT_CUSTOMER: &[(&str, &str)] = &[
    ("pg_catalog.", "foreign keys, which join tables of a node"),
    (
        "write_count = write_count",
        "the trigger of rule 2, in its row's node",
    ),
    (
        "FOUND AND NOT EXISTS (",
        "the trigger of rule 2, in its row's node",
    ),
    ("FROM feed_inbox WHERE customer_number >= ", "the sequencer"),
    ("DELETE FROM feed_inbox WHERE (", "the sequencer"),
    (" >= $1 AND ", "retention, of all customers"),
    (
        "FROM email_confirmations WHERE state",
        "expiry, of all customers",
    ),
    ("pepper_version IS NOT NULL", "versions of all hashes"),
    ("GROUP BY failed_by", "failures of all customers"),
];
const PRIMARY_KEYS: &str = "\
    SELECT c.conrelid::regclass::text, a.attname::text FROM pg_constraint c \
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) \
    WHERE c.contype = 'p' AND c.connamespace = current_schema()::regnamespace";

type Keys = BTreeMap<String, BTreeSet<String>>;

fn of_customers() -> BTreeSet<&'static str> {
    let tables = TABLE_DISTRIBUTIONS.into_iter();
    let tables = tables.filter(|(_, distribution)| *distribution == Distribution::ByCustomer);
    tables.map(|(table, _)| table).collect()
}

async fn primary_keys(url: &str) -> Keys {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as(PRIMARY_KEYS)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut keys = Keys::new();
    for (table, column) in rows {
        keys.entry(table).or_default().insert(column);
    }
    keys
}

/// Lists the rules that a statement violates.
fn offences(sql: &str, keys: &Keys) -> Vec<String> {
    let form = Form::of(sql, &of_customers());
    let mut offences: Vec<String> = Vec::new();
    for table in form.unbound() {
        let kind = if form.locks { "locks" } else { "reads" };
        offences.push(format!("{kind} {table} of several customers"));
    }
    for (table, columns) in &form.sets {
        let keys = keys.get(table);
        let set = columns
            .iter()
            .filter(|column| keys.is_some_and(|keys| keys.contains(*column)));
        offences.extend(set.map(|column| format!("sets the key {column} of {table}")));
    }
    offences
}

fn matching<'e>(sql: &str, exceptions: &'e [(&str, &str)]) -> Option<&'e str> {
    let found = exceptions.iter().find(|(part, _)| sql.contains(part));
    found.map(|(part, _)| *part)
}

/// The statements of every RPC, of the outbox and of the jobs of a server.
async fn statements(server: &TestServer) -> BTreeSet<String> {
    explain::discard();
    let token = server.token(ALL_SCOPES, None);
    for (index, rpc) in RPCS.iter().enumerate() {
        let on = prepare(server, &format!("K-{index}")).await;
        let request = valid_request(rpc.name, &on).encode_to_vec();
        let response = call(server, Some(&token), rpc.name, request).await;
        assert!(response.is_ok(), "{} {response:?}", rpc.name);
    }
    server.outbox.deliver_due().await.unwrap();
    explain::plans().into_iter().map(|(sql, _)| sql).collect()
}

#[tokio::test]
async fn every_statement_of_an_rpc_names_one_customer() {
    let _lock = explain::begin().await;
    let url = fresh_database(Backend::Postgres, PathBuf::new()).await;
    let url = explained(&url, &[]);
    let server = TestServer::start_on(&url, tempdir().unwrap(), Options::default()).await;
    let keys = primary_keys(&server.database_url).await;
    let statements = statements(&server).await;
    assert!(
        statements.len() > 60,
        "only {} statements",
        statements.len()
    );

    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for sql in &statements {
        if matching(sql, WITHOUT_CUSTOMER).is_some() {
            continue;
        }
        let offences = offences(sql, &keys);
        match matching(sql, EXCEPTIONS) {
            Some(exception) if !offences.is_empty() => {
                used.insert(exception);
            }
            _ => found.extend(offences.iter().map(|offence| format!("{offence}: {sql}"))),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    // Exactly these, so that obsolete exceptions are removed.
    let listed: BTreeSet<_> = EXCEPTIONS.iter().map(|(part, _)| *part).collect();
    assert_eq!(used, listed);
}

fn known_keys() -> Keys {
    let key = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
    Keys::from([
        ("customers".to_owned(), key(&["customer_number"])),
        (
            "contacts".to_owned(),
            key(&["customer_number", "contact_id"]),
        ),
    ])
}

#[rstest]
#[case("SELECT * FROM contacts WHERE contact_id = $1")]
#[case("SELECT * FROM \"contacts\" WHERE \"contacts\".\"customer_number\" IN ($1, $2)")]
#[case(
    "SELECT * FROM contacts WHERE (customer_number, contact_id) IN (SELECT * FROM unnest($1, $2))"
)]
#[case("SELECT * FROM r JOIN customers ON customers.customer_number = r.number")]
#[case(
    "SELECT * FROM customers LEFT JOIN contacts ON contacts.contact_id = customers.id \
     WHERE customers.customer_number = ANY($1)"
)]
#[case("SELECT (SELECT 1 FROM contacts LIMIT 1) FROM customers WHERE customer_number = $1")]
#[case(
    "SELECT NOT EXISTS (SELECT 1 FROM contacts other \
     WHERE other.customer_number = contacts.customer_number) \
     FROM contacts WHERE contacts.customer_number = $1"
)]
#[case("UPDATE contacts SET types = 1 WHERE contact_id = $1")]
#[case("UPDATE contacts SET customer_number = $2 WHERE customer_number = $1")]
#[case(
    "UPDATE \"contacts\" SET \"types\" = $1, \"contact_id\" = $2 WHERE \"customer_number\" = $3"
)]
#[case(
    "INSERT INTO contacts (contact_id, customer_number) VALUES ($1, $2) \
     ON CONFLICT (contact_id) DO UPDATE SET types = 1, customer_number = excluded.customer_number"
)]
#[case("INSERT INTO contacts (contact_id, customer_number) SELECT id, number FROM unnest($1, $2)")]
#[case("SELECT * FROM outbox_mails WHERE due_time < $1 LIMIT 20 FOR UPDATE SKIP LOCKED")]
#[case("DELETE FROM request_ids WHERE expire_time < $1")]
fn statement_of_the_wrong_form_is_found(#[case] sql: &str) {
    assert_ne!(offences(sql, &known_keys()), [""; 0], "{sql}");
}

#[rstest]
#[case("SELECT * FROM contacts WHERE customer_number = $1 AND contact_id = $2")]
#[case("SELECT * FROM customers WHERE customers.customer_number = ANY($1::text[])")]
#[case(
    "SELECT * FROM \"contacts\" LEFT JOIN \"contact_phone_numbers\" AS \"p\" \
     ON \"p\".\"customer_number\" = \"contacts\".\"customer_number\" \
     WHERE \"contacts\".\"customer_number\" = $1"
)]
#[case(
    "SELECT NOT EXISTS (SELECT 1 FROM contacts other \
     WHERE other.customer_number = contacts.customer_number AND other.customer_number = $1) \
     FROM contacts WHERE contacts.customer_number = $1"
)]
#[case("UPDATE contacts SET types = $1 WHERE (customer_number = $2) AND version = $3")]
#[case(
    "WITH a AS (UPDATE phone_password_calls SET attempts = $1 WHERE customer_number = $2) \
     UPDATE phone_passwords SET is_revoked = $3 WHERE customer_number = $2"
)]
#[case("INSERT INTO contacts (contact_id, customer_number) SELECT $1, $2 FROM earlier")]
#[case(
    "INSERT INTO audit_events (customer_number, kind) \
     SELECT customers.customer_number, $2 FROM customers WHERE customers.customer_number = ANY($1)"
)]
#[case("SELECT * FROM contacts WHERE customer_number = $1 FOR UPDATE")]
#[case("SELECT * FROM order_types")]
fn statement_of_the_right_form_passes(#[case] sql: &str) {
    assert_eq!(offences(sql, &known_keys()), [""; 0], "{sql}");
}
