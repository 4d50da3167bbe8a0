//! How each table is distributed on PostgreSQL with Citus. Without Citus there is nothing to do.
//!
//! A customer's rows are on one node: a change, its event, its e-mail and its cached response are one
//! commit of one node.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use crate::storage::{
    database::Database,
    error::StorageError,
    tables::{Distribution, TABLE_DISTRIBUTIONS},
};

/// The table that the others are colocated with.
const CUSTOMERS: &str = "customers";

/// The triggers of rule 2 read and write rows of their own customer only, which are on the same
/// node. One node after another, as tables refer to each other.
const SETTINGS: &str = "\
    SET LOCAL citus.enable_unsafe_triggers = on; \
    SET LOCAL citus.multi_shard_modify_mode = 'sequential'";
const HAS_CITUS: &str = "SELECT 1 FROM pg_extension WHERE extname = 'citus'";
/// Distributed tables by hash, reference tables and local ones that Citus knows.
const PLACED: &str = "\
    SELECT c.relname::text, CASE WHEN p.partmethod = 'h' THEN \
        'distributed ' || c.relname || ' by ' || column_to_column_name(c.oid, p.partkey) \
      WHEN p.repmodel = 't' THEN 'reference ' || c.relname ELSE 'local ' || c.relname END \
    FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid \
    WHERE c.relnamespace = current_schema()::regnamespace";
const EXISTING: &str = "\
    SELECT relname::text, '' FROM pg_class \
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')";

/// A fact about each of some tables.
type ByTable = BTreeMap<String, String>;

impl Database {
    /// Checks that the tables can be distributed: the database has Citus, and the tables to distribute
    /// have no rows, unless `moves_rows`.
    ///
    /// # Errors
    /// The cause and the remedy, in one line.
    pub async fn check_distributable(&self, moves_rows: bool) -> Result<(), String> {
        self.find_obstacle(moves_rows)
            .await
            .map_err(|error| StorageError::from(error).to_string())?
            .map_or(Ok(()), Err)
    }

    async fn find_obstacle(&self, moves_rows: bool) -> Result<Option<String>, DbErr> {
        if !self.is_distributed() {
            let missing = "it has no Citus: run CREATE EXTENSION citus in it, on every node";
            return Ok(Some(missing.to_owned()));
        }
        if moves_rows {
            return Ok(None);
        }
        let with_rows = tables_with_rows(&self.writers).await?;
        Ok((!with_rows.is_empty()).then(|| {
            let tables = with_rows.join(", ");
            format!("{tables} have rows: stop all instances, then add --move-rows")
        }))
    }

    /// Describes how each table is distributed; empty without Citus. A table that is missing in Citus
    /// is `undistributed`.
    pub async fn distribution_status(&self) -> crate::error::Result<Vec<String>> {
        Ok(distribution_status(&self.readers)
            .await
            .map_err(StorageError::from)?)
    }
}

/// Distributes the tables that are not distributed yet: if the operator asks for it, or if customers
/// are distributed already.
pub(super) async fn distribute(
    connection: &impl ConnectionTrait,
    is_requested: bool,
) -> Result<(), DbErr> {
    if !has_citus(connection).await? {
        return Ok(());
    }
    let placed = read(connection, PLACED).await?;
    if !is_requested && !placed.contains_key(CUSTOMERS) {
        return Ok(());
    }
    connection.execute_unprepared(SETTINGS).await?;
    let mut moved = Vec::new();
    for (table, distribution) in TABLE_DISTRIBUTIONS {
        if placed.contains_key(table) {
            continue;
        }
        if distribution.moves_rows() && has_rows(connection, table).await? {
            moved.push(table);
        }
        let sql = distribution.sql(table);
        connection.execute_unprepared(&sql).await?;
    }
    // The coordinator would keep hidden copies, which an erasure does not reach. At the end, when no
    // local table refers to them.
    for table in moved {
        let truncate = format!("SELECT truncate_local_data_after_distributing_table('{table}')");
        connection.execute_unprepared(&truncate).await?;
    }
    Ok(())
}

impl Distribution {
    /// Returns the statement that distributes a table.
    fn sql(self, table: &str) -> String {
        match self {
            Self::ByCustomer if table == CUSTOMERS => Self::ByKey("customer_number").sql(table),
            Self::ByCustomer => format!(
                "SELECT create_distributed_table('{table}', 'customer_number', \
                 colocate_with => '{CUSTOMERS}')"
            ),
            Self::ByKey(column) => format!(
                "SELECT create_distributed_table('{table}', '{column}', colocate_with => 'none')"
            ),
            Self::Reference => format!("SELECT create_reference_table('{table}')"),
            Self::Local => format!("SELECT citus_add_local_table_to_metadata('{table}')"),
        }
    }

    /// Returns true if the rows leave the coordinator.
    const fn moves_rows(self) -> bool {
        match self {
            Self::ByCustomer | Self::ByKey(_) | Self::Reference => true,
            Self::Local => false,
        }
    }
}

async fn has_citus(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(false);
    }
    let query = Statement::from_string(backend, HAS_CITUS);
    Ok(connection.query_one_raw(query).await?.is_some())
}

async fn has_rows(connection: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let query = format!("SELECT 1 FROM {table} LIMIT 1");
    let query = Statement::from_string(DbBackend::Postgres, query);
    Ok(connection.query_one_raw(query).await?.is_some())
}

/// Lists the tables to distribute whose rows would be moved.
async fn tables_with_rows(connection: &impl ConnectionTrait) -> Result<Vec<&'static str>, DbErr> {
    let placed = read(connection, PLACED).await?;
    let existing = read(connection, EXISTING).await?;
    let mut with_rows = Vec::new();
    for (table, distribution) in TABLE_DISTRIBUTIONS {
        if existing.contains_key(table)
            && !placed.contains_key(table)
            && distribution.moves_rows()
            && has_rows(connection, table).await?
        {
            with_rows.push(table);
        }
    }
    Ok(with_rows)
}

async fn distribution_status(connection: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    if !has_citus(connection).await? {
        return Ok(Vec::new());
    }
    let mut placed = read(connection, PLACED).await?;
    let existing = read(connection, EXISTING).await?;
    let status = TABLE_DISTRIBUTIONS.iter().filter_map(|(table, _)| {
        let placed = placed.remove(*table);
        placed.or_else(|| {
            let exists = existing.contains_key(*table);
            exists.then(|| format!("undistributed {table}"))
        })
    });
    Ok(status.collect())
}

async fn read(connection: &impl ConnectionTrait, sql: &str) -> Result<ByTable, DbErr> {
    let query = Statement::from_string(DbBackend::Postgres, sql);
    let rows = connection.query_all_raw(query).await?;
    let fact = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    rows.iter().map(fact).collect()
}

#[cfg(test)]
mod tests;
