//! The numbers of rows in the database.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection, query_as};

use crate::process::Sandbox;

/// Everything that an import could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) customers: i64,
    pub(super) writes: i64,
    pub(super) contacts: i64,
    pub(super) versions: i64,
    pub(super) confirmed: i64,
    pub(super) pending: i64,
    pub(super) mails: i64,
    pub(super) links: i64,
    pub(super) events: i64,
    /// Creations by imports, without those of the demo.
    pub(super) creations: i64,
    pub(super) sequence_numbers: i64,
    pub(super) keys: i64,
    pub(super) without_standard: i64,
}

type Numbers = (
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
);

const NUMBERS: &str = "SELECT \
    (SELECT count(*) FROM customers), \
    (SELECT CAST(coalesce(sum(write_count + version), 0) AS bigint) FROM customers), \
    (SELECT count(*) FROM contacts), \
    (SELECT CAST(coalesce(sum(version), 0) AS bigint) FROM contacts), \
    (SELECT count(*) FROM contacts WHERE email IS NOT NULL), \
    (SELECT count(*) FROM contacts WHERE pending_email IS NOT NULL), \
    (SELECT count(*) FROM outbox_mails), \
    (SELECT count(*) FROM email_confirmations), \
    (SELECT count(*) FROM audit_events WHERE customer_number <> ''), \
    (SELECT count(*) FROM audit_events e JOIN contacts c ON c.customer_number = e.customer_number \
       AND c.contact_id = e.contact_id AND c.position = e.sequence \
       WHERE e.kind = 'contact.created' AND e.actor = 'import'), \
    (SELECT count(*) FROM (SELECT DISTINCT customer_number, sequence FROM audit_events \
       WHERE customer_number <> '') AS ranks), \
    (SELECT count(*) FROM contact_imports), \
    (SELECT count(*) FROM (SELECT customer_number FROM contacts GROUP BY customer_number \
       HAVING max(types % 2) = 0) AS customers)";

impl RowCounts {
    pub(super) async fn of(sandbox: &Sandbox) -> Self {
        let url = sandbox.database_url();
        let numbers: Numbers = if url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            query_as(NUMBERS).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            query_as(NUMBERS).fetch_one(&mut connection).await.unwrap()
        };
        Self {
            customers: numbers.0,
            writes: numbers.1,
            contacts: numbers.2,
            versions: numbers.3,
            confirmed: numbers.4,
            pending: numbers.5,
            mails: numbers.6,
            links: numbers.7,
            events: numbers.8,
            creations: numbers.9,
            sequence_numbers: numbers.10,
            keys: numbers.11,
            without_standard: numbers.12,
        }
    }

    /// Asserts that each of `imported` rows was imported once, with everything that belongs to it.
    pub(super) fn assert_gained(self, before: Self, imported: usize) {
        let imported = i64::try_from(imported).unwrap();
        assert_eq!(self.contacts, before.contacts + imported);
        assert_eq!(self.keys, before.keys + imported);
        assert_eq!(self.creations, before.creations + imported);
        let new_customers = self.customers - before.customers;
        assert_eq!(self.events, before.events + imported + new_customers);
        assert_eq!(self.sequence_numbers, self.events);
        assert_eq!(self.without_standard, 0);
        let entered = self.pending - before.pending;
        assert_eq!(self.mails, before.mails + entered);
        assert_eq!(self.links, before.links + entered);
    }
}

/// Runs SQL on the database directly.
pub(crate) async fn execute(sandbox: &Sandbox, sql: &str) {
    let url = sandbox.database_url();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    }
}
