//! The privileges of the database role, which are checked before a missing one fails a request.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use super::{database::Database, error::StorageError, grants};

/// Tables with the same missing privileges that are named.
const MAX_NAMED: usize = 3;
const SCHEMA: &str = "SELECT current_schema()::text AS schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
        coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
            WHERE oid = to_regclass('seaql_migrations')), true) AS is_owner";

impl Database {
    /// Checks that the role may read and write all tables; an embedded database has no roles.
    ///
    /// # Errors
    /// The missing privilege and its object, in one line.
    pub async fn check_serve_privileges(&self) -> Result<(), String> {
        let Some(schema) = self.query_privileges(SCHEMA).await?.pop() else {
            return Ok(());
        };
        let name: Option<String> = column(&schema, "schema")?;
        name.ok_or_else(|| no_schema("USAGE"))?;
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for row in self.query_privileges(&missing_privileges()).await? {
            let name = column(&row, "name")?;
            tables
                .entry(column(&row, "missing")?)
                .or_default()
                .push(name);
        }
        if tables.is_empty() {
            return Ok(());
        }
        let describe = |(rights, names): (&String, &Vec<String>)| {
            let named: Vec<_> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = match names.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            format!("{rights} on {}{more}", named.join(", "))
        };
        let missing: Vec<_> = tables.iter().map(describe).collect();
        Err(lacks(&missing.join("; ")))
    }

    /// Checks that the role may create tables and owns the existing ones; an embedded database has
    /// no roles.
    ///
    /// # Errors
    /// The missing privilege and its object, in one line.
    pub async fn check_migrate_privileges(&self) -> Result<(), String> {
        let Some(schema) = self.query_privileges(SCHEMA).await?.pop() else {
            return Ok(());
        };
        let name: Option<String> = column(&schema, "schema")?;
        let name = name.ok_or_else(|| no_schema("USAGE, CREATE"))?;
        if !column::<bool>(&schema, "may_create")? {
            return Err(lacks(&format!("CREATE on the schema {name}")));
        }
        if !column::<bool>(&schema, "is_owner")? {
            return Err(lacks("the ownership of the existing tables"));
        }
        Ok(())
    }

    async fn query_privileges(&self, query: &str) -> Result<Vec<QueryResult>, String> {
        if self.is_embedded() {
            return Ok(Vec::new());
        }
        let query = Statement::from_string(DbBackend::Postgres, query);
        let rows = self.readers.query_all_raw(query).await;
        rows.map_err(|error| StorageError::from(error).to_string())
    }
}

/// The tables of this service are in the schema of the table of migrations. Those that do not exist yet
/// are missing migrations.
fn missing_privileges() -> String {
    let needed = grants::TABLES.iter().map(|rights| {
        let (table, rights) = (rights.table, rights.service);
        format!("('{table}', '{rights}')")
    });
    let needed: Vec<_> = needed.collect();
    let needed = needed.join(", ");
    format!(
        "SELECT c.relname::text AS name, string_agg(needed, ', ' ORDER BY position) AS missing
        FROM pg_class m
        JOIN pg_class c ON c.relnamespace = m.relnamespace AND c.relkind IN ('r', 'p')
        JOIN (VALUES {needed}) AS t (name, rights) ON t.name = c.relname
        CROSS JOIN unnest(string_to_array(t.rights, ', ')) WITH ORDINALITY AS r (needed, position)
        WHERE m.oid = to_regclass('seaql_migrations') AND NOT has_table_privilege(c.oid, needed)
        GROUP BY c.relname ORDER BY c.relname"
    )
}

fn column<T: sea_orm::TryGetable>(row: &QueryResult, name: &str) -> Result<T, String> {
    row.try_get("", name)
        .map_err(|error| StorageError::from(error).to_string())
}

fn lacks(privileges: &str) -> String {
    format!("its role lacks {privileges}: grant it with contact-service migrate grants")
}

fn no_schema(privileges: &str) -> String {
    lacks(&format!("{privileges} on any schema of its search_path"))
}
