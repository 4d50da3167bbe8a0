//! Audit logs that are longer than one transaction handles.

use contact_service::{api::proto, domain::ids::CustomerNumber, storage::Outcome};
use rstest::rstest;

use crate::harness::{Backend, TestServer, execute, query_number};

const EVENTS: usize = 11_000;
/// Number of events that one transaction handles.
const PART: u64 = 2_000;

/// As many disclosures as a call center makes about one customer in a year.
async fn add_disclosures(server: &TestServer, number: &str) {
    let url = &server.database_url;
    let (id, time) = if url.starts_with("sqlite") {
        let id = "unhex(printf('0190d6d2000070008000%012d', n))";
        (id, "'2026-01-01 00:00:00+00:00'")
    } else {
        let id = "('0190d6d2-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid";
        (id, "'2026-01-01 00:00:00+00'::timestamptz")
    };
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
           WHERE n < {EVENTS}) \
         INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind, \
           changed_fields) \
         SELECT customer_number, write_count, {id}, {time}, 'agent', \
           'customer.channel_not_on_file', '[]' \
         FROM numbers JOIN customers ON customer_number = '{number}'"
    );
    execute(url, &sql).await;
}

fn ids(events: &[proto::AuditEvent]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

#[rstest]
#[tokio::test]
async fn long_audit_log_is_exported_and_erased(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    add_disclosures(&server, "K-1").await;

    let export = server.export("K-1").await.unwrap();
    let mut audit_log = server.paged_events("K-1", 1000).await;
    audit_log.reverse();
    assert_eq!(audit_log.len(), EVENTS + 3);
    assert!(ids(&export.audit_events) == ids(&audit_log));

    server.erase("K-1").await.unwrap();
    let sql = "SELECT count(*) FROM audit_events WHERE customer_number = 'K-1'";
    assert_eq!(query_number(&server.database_url, sql).await, 0);
    let mut after = server.paged_events("K-1", 1000).await;
    after.reverse();
    let last = after.pop().unwrap();
    assert_eq!(last.kind().as_str_name(), "EVENT_KIND_CUSTOMER_ERASED");
    assert!(ids(&after) == ids(&audit_log));
}

#[rstest]
#[tokio::test]
async fn interrupted_erasure_is_repeatable_and_loses_no_event(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // The pseudonym.
    server.create_customer("K-1").await;
    server.erase("K-1").await.unwrap();
    let pseudonym = server.events("K-1").await[0].customer_number.clone();
    server.create_customer_with_contact("K-1").await;
    add_disclosures(&server, "K-1").await;
    let before = server.paged_events("K-1", 1000).await;

    let number = CustomerNumber::parse("K-1").unwrap();
    let to = CustomerNumber::parse(&pseudonym).unwrap();
    let of = number.clone();
    let part = server
        .database
        .customer_transaction(&of, move |transaction| {
            let (number, to) = (number.clone(), to.clone());
            Box::pin(async move {
                let renamed = transaction.pseudonymize_some_events(&number, &to).await?;
                Ok(Outcome::Commit(renamed))
            })
        });
    assert_eq!(part.await.unwrap(), PART);
    assert!(ids(&server.paged_events("K-1", 1000).await) == ids(&before));

    server.erase("K-1").await.unwrap();
    let after = server.paged_events("K-1", 1000).await;
    assert_eq!(after[0].kind().as_str_name(), "EVENT_KIND_CUSTOMER_ERASED");
    assert!(ids(&after[1..]) == ids(&before));
    assert!(after.iter().all(|event| event.customer_number == pseudonym));
}
