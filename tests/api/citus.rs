//! Databases on a Citus cluster, for `scripts/distributed`.

use contact_service::{error::Result, storage::Database};
use sqlx::postgres::PgConnectOptions;

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
    let coordinator = postgres_url();
    let url = in_database(&coordinator, name);
    let workers = workers();
    if workers.is_empty() {
        execute(&coordinator, &format!("CREATE DATABASE {name}")).await;
        return url;
    }
    for server in std::iter::once(&coordinator).chain(&workers) {
        execute(server, &format!("CREATE DATABASE {name}")).await;
        execute(&in_database(server, name), "CREATE EXTENSION citus").await;
    }
    let (host, port) = address(&coordinator);
    let add = format!("SELECT citus_set_coordinator_host('{host}', {port})");
    execute(&url, &add).await;
    for worker in &workers {
        let (host, port) = address(worker);
        let add = format!("SELECT citus_add_node('{host}', {port})");
        execute(&url, &add).await;
    }
    url
}

/// The servers of the workers, in the form of `TEST_POSTGRES_URL`; empty without a cluster.
pub fn workers() -> Vec<String> {
    let workers = std::env::var("TEST_CITUS_WORKERS").unwrap_or_default();
    workers.split_whitespace().map(str::to_owned).collect()
}

fn in_database(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(name);
    url.into()
}

fn address(server: &str) -> (String, u16) {
    let options: PgConnectOptions = server.parse().unwrap();
    (options.get_host().to_owned(), options.get_port())
}
