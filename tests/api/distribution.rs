//! Tables with rows are distributed on request only, and tables of later migrations by themselves.

use contact_service::{
    api::proto,
    storage::{Database, Distribution, TABLE_DISTRIBUTIONS},
};
use tempfile::tempdir;

use crate::{
    harness::{Options, TestServer, connect, execute},
    own_database::own_postgres_database,
};

fn all_distributed() -> Vec<String> {
    let status = TABLE_DISTRIBUTIONS.map(|(table, distribution)| match distribution {
        Distribution::ByCustomer => format!("distributed {table} by customer_number"),
        Distribution::ByKey(column) => format!("distributed {table} by {column}"),
        Distribution::Reference => format!("reference {table}"),
        Distribution::Local => format!("local {table}"),
    });
    status.to_vec()
}

async fn status(database: &Database) -> Vec<String> {
    database.distribution_status().await.unwrap()
}

#[tokio::test]
#[ignore = "needs Citus: scripts/distributed"]
async fn tables_with_rows_are_distributed_on_request() {
    let url = own_postgres_database().await;
    let options = || Options {
        migrates: false,
        ..Options::default()
    };
    let database = connect(&url).await;
    database.migrate().await.unwrap();
    let undistributed = TABLE_DISTRIBUTIONS.map(|(table, _)| format!("undistributed {table}"));
    assert_eq!(status(&database).await, undistributed);
    let mut server = TestServer::start_on(&url, tempdir().unwrap(), options()).await;
    let contact = server.create_customer_with_contact("K-1").await;
    server.stop().await.unwrap();

    let why = database.check_distributable(false).await.unwrap_err();
    let expected = "customers, contacts, audit_events";
    assert!(
        why.starts_with(expected) && why.contains("--move-rows"),
        "{why}"
    );
    assert_eq!(status(&database).await, undistributed);
    database.check_distributable(true).await.unwrap();
    // The second time changes nothing.
    for _ in 0..2 {
        database.migrate_distributed().await.unwrap();
        assert_eq!(status(&database).await, all_distributed());
    }
    // As if a later migration had created it.
    execute(&url, "SELECT undistribute_table('channel_check_customers')").await;
    database.migrate().await.unwrap();
    assert_eq!(status(&database).await, all_distributed());

    let server = TestServer::start_on(&url, tempdir().unwrap(), options()).await;
    let request = proto::GetContactRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
    };
    let found = server.client().get_contact(request).await.unwrap();
    assert_eq!(found.into_inner().contact, Some(contact));
}
