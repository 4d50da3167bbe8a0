//! Databases on a Citus cluster, for `scripts/distributed`.

use contact_service::{error::Result, storage::Database};

use crate::harness::{execute, postgres_url};

/// Creates the schema; on a cluster its tables are distributed.
pub async fn migrate(database: &Database) -> Result<()> {
    if database.is_embedded() || workers().is_empty() {
        database.migrate().await
    } else {
        database.migrate_distributed().await
    }
}

/// Creates a database, on all nodes if the tests run on a cluster, and returns its URL.
pub async fn create_database(name: &str) -> String {
    let server = postgres_url();
    let workers = workers();
    // `scripts/distributed` has prepared it: the extension, and the nodes that know each other.
    let template = if workers.is_empty() {
        ""
    } else {
        "TEMPLATE citus_template"
    };
    for node in std::iter::once(&server).chain(&workers) {
        execute(node, &format!("CREATE DATABASE {name} {template}")).await;
    }
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(name);
    url.into()
}

/// The servers of the workers, in the form of `TEST_POSTGRES_URL`; empty without a cluster.
pub fn workers() -> Vec<String> {
    let workers = std::env::var("TEST_CITUS_WORKERS").unwrap_or_default();
    workers.split_whitespace().map(str::to_owned).collect()
}
