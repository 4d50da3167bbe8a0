//! The scripts that pgbench runs as the limit of an RPC contain the statements of the RPC.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use contact_service::{
    api::proto::{self, ContactType, verify_contact_channel_request::Channel},
    storage::TABLE_DISTRIBUTIONS,
};
use prost::Message;
use rstest::rstest;
use tempfile::tempdir;

use crate::{
    explain::{self, explained},
    harness::{
        ALL_SCOPES, Backend, Options, TestServer, execute, fresh_database, new_contact, query_texts,
    },
    raw::call,
    statement_form::tokens,
};

const COLUMNS: &str = "\
    SELECT DISTINCT column_name::text FROM information_schema.columns \
    WHERE table_schema = current_schema()";
const PHONE_NUMBER: &str = "+497211234567";

/// Returns the verbs of a statement that change rows, and the tables and columns that it names.
fn names(statement: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let is_verb = |token: &str| matches!(token, "insert" | "update" | "delete");
    let tokens = tokens(statement).into_iter();
    let named = tokens.filter(|token| is_verb(token) || known.contains(token));
    named.collect()
}

/// The statements of a script, with a parameter instead of each variable.
fn script_statements(script: &str) -> Vec<String> {
    let lines = script.lines().filter(|line| !line.starts_with("--"));
    let lines = lines.filter(|line| !line.starts_with("\\set"));
    let script = lines.collect::<Vec<_>>().join("\n").replace("\\gset", ";");
    let mut text = String::new();
    let mut rest = script.as_str();
    while let Some(place) = rest.find(':') {
        let is_cast = rest[place..].starts_with("::");
        let name = rest[place + 1..].trim_start_matches(':');
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        text.push_str(&rest[..place]);
        text.push_str(if is_cast { "" } else { "$1" });
        rest = &name[end.unwrap_or(name.len())..];
    }
    text.push_str(rest);
    let statements = text.split(';').map(str::trim);
    let is_step = |statement: &&str| matches!(*statement, "" | "BEGIN" | "COMMIT");
    let statements = statements.filter(|statement| !is_step(statement));
    statements.map(str::to_owned).collect()
}

fn create_contact() -> proto::CreateContactRequest {
    proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(proto::Contact {
            phone_numbers: vec![PHONE_NUMBER.into()],
            ..new_contact("Anna Schmidt", &[ContactType::Standard])
        }),
        ..proto::CreateContactRequest::default()
    }
}

fn request(rpc: &str, contact: &proto::Contact) -> Vec<u8> {
    let (customer_number, contact_id) =
        (contact.customer_number.clone(), contact.contact_id.clone());
    match rpc {
        "CreateContact" => create_contact().encode_to_vec(),
        "GetContact" => proto::GetContactRequest {
            customer_number,
            contact_id,
        }
        .encode_to_vec(),
        "UpdateContact" => proto::UpdateContactRequest {
            contact: Some(proto::Contact {
                customer_number,
                contact_id,
                display_name: "Berta Schmidt".into(),
                ..proto::Contact::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["display_name".into()],
            }),
            ..proto::UpdateContactRequest::default()
        }
        .encode_to_vec(),
        "ResolveRecipients" => proto::ResolveRecipientsRequest {
            customer_number,
            purpose: proto::Purpose::Invoice.into(),
            ..proto::ResolveRecipientsRequest::default()
        }
        .encode_to_vec(),
        _ => proto::VerifyContactChannelRequest {
            customer_number,
            channel: Some(Channel::PhoneNumber(PHONE_NUMBER.into())),
            ..proto::VerifyContactChannelRequest::default()
        }
        .encode_to_vec(),
    }
}

#[rstest]
#[case("CreateContact", include_str!("../../benches/sql/create_contact.sql"))]
#[case("GetContact", include_str!("../../benches/sql/get_contact.sql"))]
#[case("UpdateContact", include_str!("../../benches/sql/update_contact.sql"))]
#[case("ResolveRecipients", include_str!("../../benches/sql/copy.sql"))]
#[case("ResolveRecipients", include_str!("../../benches/sql/resolve.sql"))]
#[case("VerifyContactChannel", include_str!("../../benches/sql/verify_channel.sql"))]
#[tokio::test]
async fn pgbench_script_has_the_statements_of_the_rpc(#[case] rpc: &str, #[case] script: &str) {
    let _lock = explain::begin().await;
    let url = fresh_database(Backend::Postgres, "".into()).await;
    let explained = explained(&url, &[]);
    let server = TestServer::start_on(&explained, tempdir().unwrap(), Options::default()).await;
    let tables = TABLE_DISTRIBUTIONS
        .into_iter()
        .map(|(table, _)| table.to_owned());
    let mut known: BTreeSet<_> = query_texts(&url, COLUMNS).await.into_iter().collect();
    known.extend(tables);
    server.create_customer("K-1").await;
    execute(
        &url,
        "UPDATE customers SET email = 'post@example.com', email_key = 'post@example.com', \
         contact_changes = TRUE",
    )
    .await;
    let contact = server.client().create_contact(create_contact()).await;
    let contact = contact.unwrap().into_inner().contact.unwrap();

    let token = server.token(ALL_SCOPES, None);
    // The next change is in a notice of its own.
    server.clock.advance(TimeDelta::minutes(11));
    explain::discard();
    let response = call(&server, Some(&token), rpc, request(rpc, &contact)).await;
    assert!(response.is_ok(), "{response:?}");
    let plans = explain::plans().into_iter();
    let executed: BTreeSet<_> = plans.map(|(sql, _)| names(&sql, &known)).collect();
    let statements = script_statements(script);
    assert!(!statements.is_empty());
    for statement in statements {
        let named = names(&statement, &known);
        assert!(executed.contains(&named), "{statement}\nin {executed:#?}");
    }
}
