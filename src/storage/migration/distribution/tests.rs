//! The list of tables against the schema, which no database has to be distributed for.

use std::collections::BTreeSet;

use super::*;
use crate::storage::DatabaseUrl;

/// On PostgreSQL only.
const SCHEMA_LOCK: &str = "schema_lock";

async fn texts(database: &Database, sql: &str) -> Vec<(String, String)> {
    let query = Statement::from_string(DbBackend::Sqlite, sql);
    let rows = database.readers.query_all_raw(query).await.unwrap();
    let pair = |row: &QueryResult| {
        let pair = (row.try_get_by_index(0), row.try_get_by_index(1));
        (pair.0.unwrap(), pair.1.unwrap())
    };
    rows.iter().map(pair).collect()
}

async fn migrated() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::from_path(&folder.path().join("contacts.db")).unwrap();
    let database = Database::connect(&url).await.unwrap();
    database.migrate().await.unwrap();
    (folder, database)
}

fn distribution_of(table: &str) -> Distribution {
    let found = TABLE_DISTRIBUTIONS.iter().find(|(name, _)| *name == table);
    found.map(|(_, distribution)| *distribution).unwrap()
}

/// A table that is missing here would stay on the coordinator, and its statements fail.
#[tokio::test]
async fn every_table_of_the_schema_has_a_distribution() {
    let (_folder, database) = migrated().await;
    let existing = texts(
        &database,
        "SELECT name, '' FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    );
    let existing: BTreeSet<_> = existing.await.into_iter().map(|(name, _)| name).collect();
    let listed = TABLE_DISTRIBUTIONS
        .iter()
        .map(|(name, _)| (*name).to_owned());
    let listed: BTreeSet<_> = listed.filter(|name| name != SCHEMA_LOCK).collect();
    assert_eq!(listed, existing);
    assert_eq!(
        listed.len() + 1,
        TABLE_DISTRIBUTIONS.len(),
        "a table is listed twice"
    );
}

#[tokio::test]
async fn tables_with_a_customer_number_are_distributed_by_it() {
    let (_folder, database) = migrated().await;
    let columns = texts(
        &database,
        "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND c.name = 'customer_number'",
    );
    let with_customer: BTreeSet<_> = columns.await.into_iter().map(|(name, _)| name).collect();
    let by_customer = TABLE_DISTRIBUTIONS
        .iter()
        .filter(|(_, d)| *d == Distribution::ByCustomer);
    let by_customer = by_customer.map(|(name, _)| *name);
    // One order for the events of all customers.
    let expected = by_customer.chain(["feed_entries"]).map(str::to_owned);
    assert_eq!(expected.collect::<BTreeSet<_>>(), with_customer);
}

/// Citus rejects a unique key without the column by which the table is distributed.
#[tokio::test]
async fn every_unique_key_contains_the_distribution_column() {
    let (_folder, database) = migrated().await;
    for (table, distribution) in TABLE_DISTRIBUTIONS {
        let column = match distribution {
            Distribution::ByCustomer => "customer_number",
            Distribution::ByKey(column) => column,
            Distribution::Reference | Distribution::Local => continue,
        };
        let sql = format!(
            "SELECT i.name, coalesce(group_concat(c.name), '') \
             FROM pragma_index_list('{table}') i, pragma_index_info(i.name) c \
             WHERE i.\"unique\" GROUP BY i.name"
        );
        let keys = texts(&database, &sql).await;
        assert!(!keys.is_empty(), "{table} has no key");
        for (key, columns) in keys {
            let has_column = columns.split(',').any(|name| name == column);
            assert!(has_column, "{key} of {table}: {columns}");
        }
    }
}

#[tokio::test]
async fn foreign_keys_join_tables_of_one_distribution() {
    let (_folder, database) = migrated().await;
    let keys = texts(
        &database,
        "SELECT m.name, k.\"table\" FROM sqlite_schema m, pragma_foreign_key_list(m.name) k \
         WHERE m.type = 'table'",
    );
    let keys = keys.await;
    assert!(keys.len() >= 6, "only {} foreign keys", keys.len());
    let place = |table: &str| {
        TABLE_DISTRIBUTIONS
            .iter()
            .position(|(name, _)| *name == table)
    };
    for (from, to) in keys {
        assert_eq!(distribution_of(&from), distribution_of(&to), "{from}, {to}");
        assert!(place(&from) > place(&to), "{from} precedes {to}");
    }
}

#[test]
fn statement_of_each_distribution_names_table_and_column() {
    for (table, statement) in [
        (
            "customers",
            "SELECT create_distributed_table('customers', 'customer_number', \
             colocate_with => 'none')",
        ),
        (
            "outbox_mails",
            "SELECT create_distributed_table('outbox_mails', 'customer_number', \
             colocate_with => 'customers')",
        ),
        (
            "mail_recipients",
            "SELECT create_distributed_table('mail_recipients', 'recipient_hash', \
             colocate_with => 'none')",
        ),
        (
            "order_types",
            "SELECT create_reference_table('order_types')",
        ),
        (
            "change_feed",
            "SELECT citus_add_local_table_to_metadata('change_feed')",
        ),
    ] {
        assert_eq!(distribution_of(table).sql(table), statement);
    }
}

#[tokio::test]
async fn embedded_database_is_not_distributable() {
    let (_folder, database) = migrated().await;
    let why = database.check_distributable(true).await.unwrap_err();
    assert!(why.contains("CREATE EXTENSION citus"), "{why}");
    assert_eq!(database.distribution_status().await, Ok(Vec::new()));
}
