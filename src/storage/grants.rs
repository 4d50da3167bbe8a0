//! The rights of the database roles, table by table. `migrate grants` prints the statements that grant
//! them; the service checks its own at startup.

/// A table and the rights on it.
pub(super) struct TableRights {
    pub(super) table: &'static str,
    /// The rights of the service, as in GRANT; empty: none.
    pub(super) service: &'static str,
    /// True if readers may read it: it has no hash, code or response.
    is_readable: bool,
}

const fn readable(table: &'static str, service: &'static str) -> TableRights {
    TableRights {
        table,
        service,
        is_readable: true,
    }
}

const fn secret(table: &'static str, service: &'static str) -> TableRights {
    TableRights {
        table,
        service,
        is_readable: false,
    }
}

const ALL: &str = "SELECT, INSERT, UPDATE, DELETE";

/// Every table. Row locks require UPDATE; cascading deletes of foreign keys require no right.
pub(super) const TABLES: [TableRights; 26] = [
    readable("customers", ALL),
    readable("contacts", ALL),
    readable("contact_phone_numbers", "SELECT, INSERT, DELETE"),
    readable("contact_imports", "SELECT, INSERT"),
    secret("request_ids", ALL),
    readable("email_confirmations", ALL),
    secret("confirmation_tokens", "SELECT, INSERT"),
    readable("outbox_mails", ALL),
    readable("mail_customers", ALL),
    secret("mail_recipients", ALL),
    secret("phone_passwords", ALL),
    secret("phone_password_calls", ALL),
    readable("phone_password_agents", ALL),
    secret("one_time_codes", ALL),
    readable("customer_search_agents", ALL),
    readable("channel_check_customers", ALL),
    readable("channel_check_agents", ALL),
    readable("phone_orders", ALL),
    readable("audit_events", "SELECT, INSERT, DELETE"),
    readable("feed_inbox", ALL),
    readable("order_types", "SELECT, INSERT, UPDATE"),
    readable("change_feed", "SELECT, UPDATE"),
    readable("feed_entries", ALL),
    readable("write_probes", "SELECT, INSERT, UPDATE"),
    secret("schema_lock", ""),
    readable("seaql_migrations", "SELECT"),
];

/// Returns the statements for `PostgreSQL` that give the service's role the rights that it needs on
/// every table, and no others, and a reader's role the right to read the tables without secrets. They are
/// run by the owner of the tables after a migration, in one transaction.
///
/// Tables of later migrations can be used by the service's role at once.
pub fn grant_statements(schema: &str, service: &str, reader: Option<&str>) -> Vec<String> {
    let (schema, service) = (quote(schema), quote(service));
    let path = |table: &str| format!("{schema}.{table}");
    let all: Vec<_> = TABLES.iter().map(|rights| path(rights.table)).collect();
    let all = all.join(", ");
    let mut statements = vec![
        format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"),
        format!("GRANT USAGE ON SCHEMA {schema} TO {service}"),
        format!("REVOKE ALL ON {all} FROM {service}"),
    ];
    let granted = TABLES.iter().filter(|rights| !rights.service.is_empty());
    statements.extend(granted.map(|rights| {
        let (table, rights) = (path(rights.table), rights.service);
        format!("GRANT {rights} ON {table} TO {service}")
    }));
    statements.push(format!(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {ALL} ON TABLES TO {service}"
    ));
    if let Some(reader) = reader.map(quote) {
        let tables = TABLES.iter().filter(|rights| rights.is_readable);
        let tables: Vec<_> = tables.map(|rights| path(rights.table)).collect();
        let tables = tables.join(", ");
        statements.extend([
            format!("GRANT USAGE ON SCHEMA {schema} TO {reader}"),
            format!("REVOKE ALL ON {all} FROM {reader}"),
            format!("GRANT SELECT ON {tables} TO {reader}"),
        ]);
    }
    statements
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::TABLE_DISTRIBUTIONS;

    #[test]
    fn every_table_has_rights() {
        let mut with_rights = TABLES.map(|rights| rights.table);
        let mut existing = TABLE_DISTRIBUTIONS.map(|(table, _)| table);
        with_rights.sort_unstable();
        existing.sort_unstable();
        assert_eq!(with_rights, existing);
    }
}
