//! Every statement uses an index.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use prost::Message;
use tempfile::tempdir;

use crate::{
    explain::{self, explained, full_scans, scans_of_other_customers},
    harness::{ALL_SCOPES, Backend, Options, TestServer, fresh_database},
    raw::call,
    rpcs::{RPCS, prepare, valid_request},
};

/// Tables that have few rows regardless of the number of customers.
const SMALL: &[&str] = &[
    "change_feed",
    "order_types",
    "pg_extension",
    "seaql_migrations",
];
/// Tables that stay empty in a database of a million inactive customers.
const EMPTY: &[&str] = &["request_ids", "outbox_mails", "phone_orders"];
/// Indexes by which statements of one customer may read, as few rows have a key of theirs.
const SELECTIVE: &[&str] = &[
    "phone_orders_by_agent",
    "phone_orders_by_id",
    "phone_password_agents_pkey",
];
/// A database that `scripts/proof` filled with a million customers.
const MANY_CUSTOMERS_URL: &str = "MANY_CUSTOMERS_URL";

/// Sends each RPC once and runs the background jobs.
pub(crate) async fn run_all(server: &TestServer, prefix: &str, days: &[i64]) {
    let token = server.token(ALL_SCOPES, None);
    for (index, rpc) in RPCS.iter().enumerate() {
        let on = prepare(server, &format!("{prefix}-{index}")).await;
        let request = valid_request(rpc.name, &on).encode_to_vec();
        let response = call(server, Some(&token), rpc.name, request).await;
        assert!(response.is_ok(), "{} {response:?}", rpc.name);
    }
    server.outbox.deliver_due().await.unwrap();
    server.app.missing_pepper_versions().await.unwrap();
    for days in days {
        server.clock.advance(TimeDelta::days(*days));
        server.app.remind_of_pending_emails().await.unwrap();
        server.app.clear_expired_emails().await.unwrap();
        server.app.purge_expired_requests().await.unwrap();
        server.app.purge_confirmations().await.unwrap();
        server.app.purge_dead_letters().await.unwrap();
        server.app.purge_attempts().await.unwrap();
        server.app.purge_mail_counts().await.unwrap();
        server.app.purge_channel_checks().await.unwrap();
        server.app.count_failed_contacts().await.unwrap();
        server.app.sequence_all_events().await.unwrap();
        server.app.purge_sealed_numbers().await.unwrap();
        let year = TimeDelta::days(365);
        server.app.purge_events(year).await.unwrap();
    }
}

async fn explain_all(url: &str, prefix: &str, days: &[i64], small: &[&str]) {
    let _lock = explain::begin().await;
    let server = TestServer::start_on(url, tempdir().unwrap(), Options::default()).await;
    // Migrations scan whole tables, which are still empty then.
    explain::discard();
    run_all(&server, prefix, days).await;
    let plans: BTreeMap<_, _> = explain::plans().into_iter().collect();
    let mut offences = Vec::new();
    for (query, plan) in &plans {
        let mut found = Vec::new();
        full_scans(plan, small, &mut found);
        if query.contains("customer_number\" = $") || query.contains("customer_number = $") {
            scans_of_other_customers(plan, SELECTIVE, &mut found);
        }
        offences.extend(found.into_iter().map(|read| format!("{read}: {query}")));
    }
    println!("{} statements explained", plans.len());
    assert!(plans.len() > 60, "only {} plans", plans.len());
    assert!(offences.is_empty(), "{}", offences.join("\n\n"));
}

/// PostgreSQL prefers sequential scans on small tables. With the setting here it uses one only if
/// no index applies.
#[tokio::test]
async fn every_statement_has_a_matching_index() {
    let url = fresh_database(Backend::Postgres, "".into()).await;
    let url = explained(&url, &[("enable_seqscan", "off")]);
    explain_all(&url, "K", &[6, 2, 400], SMALL).await;
}

#[tokio::test]
#[ignore = "wants a database with a million customers: scripts/proof makes it"]
async fn proof_every_statement_uses_an_index_at_3m_contacts() {
    let url = std::env::var(MANY_CUSTOMERS_URL).expect(MANY_CUSTOMERS_URL);
    // Not so far that all of its pending addresses are due.
    let url = explained(&url, &[]);
    explain_all(&url, "PLAN", &[6, 2], &[SMALL, EMPTY].concat()).await;
}
