//! The rights that the database's role needs, checked before the lack of one fails a request.
//!
//! `docs/operations/databases.md` has the statements that grant them.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use super::Database;
use crate::storage::error::Failure;

/// How many tables that lack the same rights are named.
const MOST_NAMED: usize = 3;
const OF_SCHEMA: &str = "SELECT current_schema()::text AS schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
        coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
            WHERE oid = to_regclass('seaql_migrations')), true) AS is_owner";
/// The tables of this service are those that were made with the table of the migrations.
const MISSING: &str = "SELECT c.relname::text AS name,
        string_agg(needed, ', ' ORDER BY position) AS missing
    FROM pg_class m
    JOIN pg_class c ON c.relnamespace = m.relnamespace AND c.relowner = m.relowner
        AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_lock'
    CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'))
        AS r (position, needed)
    WHERE m.oid = to_regclass('seaql_migrations')
        AND (c.oid <> m.oid OR needed = 'SELECT')
        AND NOT has_table_privilege(c.oid, needed)
    GROUP BY c.relname ORDER BY c.relname";

impl Database {
    /// Checks that the role may read and write all tables; an embedded database has no roles.
    ///
    /// # Errors
    /// A line that names the missing right, and on what.
    pub async fn check_rights_to_serve(&self) -> Result<(), String> {
        let Some(schema) = self.rows_about_rights(OF_SCHEMA).await?.pop() else {
            return Ok(());
        };
        let name: Option<String> = column(&schema, "schema")?;
        name.ok_or_else(|| no_schema("USAGE"))?;
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for row in self.rows_about_rights(MISSING).await? {
            let name = column(&row, "name")?;
            tables
                .entry(column(&row, "missing")?)
                .or_default()
                .push(name);
        }
        if tables.is_empty() {
            return Ok(());
        }
        let of_tables = |(rights, names): (&String, &Vec<String>)| {
            let named: Vec<_> = names.iter().take(MOST_NAMED).map(String::as_str).collect();
            let more = match names.len().saturating_sub(MOST_NAMED) {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            format!("{rights} on {}{more}", named.join(", "))
        };
        let missing: Vec<_> = tables.iter().map(of_tables).collect();
        Err(lacks(&missing.join("; ")))
    }

    /// Checks that the role may create tables, and owns those that there are; an embedded
    /// database has no roles.
    ///
    /// # Errors
    /// A line that names the missing right, and on what.
    pub async fn check_rights_to_migrate(&self) -> Result<(), String> {
        let Some(schema) = self.rows_about_rights(OF_SCHEMA).await?.pop() else {
            return Ok(());
        };
        let name: Option<String> = column(&schema, "schema")?;
        let name = name.ok_or_else(|| no_schema("USAGE, CREATE"))?;
        if !column::<bool>(&schema, "may_create")? {
            return Err(lacks(&format!("CREATE on the schema {name}")));
        }
        if !column::<bool>(&schema, "is_owner")? {
            return Err(lacks("the ownership of the tables that are there"));
        }
        Ok(())
    }

    async fn rows_about_rights(&self, query: &str) -> Result<Vec<QueryResult>, String> {
        if self.is_embedded() {
            return Ok(Vec::new());
        }
        let query = Statement::from_string(DbBackend::Postgres, query);
        let rows = self.readers.query_all_raw(query).await;
        rows.map_err(|error| Failure::from(error).to_string())
    }
}

fn column<T: sea_orm::TryGetable>(row: &QueryResult, name: &str) -> Result<T, String> {
    row.try_get("", name)
        .map_err(|error| Failure::from(error).to_string())
}

fn lacks(what: &str) -> String {
    format!("its role lacks {what}: grant it as docs/operations/databases.md shows")
}

fn no_schema(rights: &str) -> String {
    lacks(&format!("{rights} on any schema of its search_path"))
}
