//! The role of all servers on `PostgreSQL`: a statement fails that needs more rights than `migrate grants`
//! gives.

use contact_service::storage::grant_statements;

use crate::{citus, harness::execute};

const ROLE: &str = "contact_service_of_tests";

/// Returns false for an embedded database, for a cluster, on whose every node the role would have to
/// exist, and for `PgBouncer`, which forwards no options.
pub fn is_used_on(database_url: &str) -> bool {
    let is_embedded = database_url.starts_with("sqlite");
    !is_embedded && citus::workers().is_empty() && !database_url.contains("pgbouncer=")
}

/// Grants the rights on the schema of the URL, and returns the URL of the role.
pub async fn grant(database_url: &str) -> String {
    let schema = database_url
        .split_once("options[search_path]=")
        .map_or("public", |(_, options)| options.split('&').next().unwrap());
    let create = format!(
        "DO $$ BEGIN CREATE ROLE {ROLE};
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    );
    execute(database_url, &create).await;
    // Instances that start at once would change the rights of a table at the same time.
    let lock = "SELECT id FROM schema_lock WHERE id = 1 FOR UPDATE";
    let grants = grant_statements(schema, ROLE, None).join("; ");
    execute(database_url, &format!("BEGIN; {lock}; {grants}; COMMIT")).await;
    let separator = if database_url.contains('?') { '&' } else { '?' };
    format!("{database_url}{separator}options[role]={ROLE}")
}
