//! Disclosures in the audit log, the change feed, failing addresses, and imported rows.

use sea_orm::{ConnectionTrait, DbBackend, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{DbErr, ForeignKey, ForeignKeyAction, Index, Table, TableCreateStatement},
    schema::{
        big_integer, binary_len, small_integer, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use super::{
    m20261123_000001_core::customer_number, m20261124_000002_email_confirmation::add_column,
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let audit_log = if is_postgres {
            POSTGRES_AUDIT_LOG
        } else {
            SQLITE_AUDIT_LOG
        };
        let connection = manager.get_connection();
        for statement in audit_log.iter().chain(AUDIT_LOG_INDEXES) {
            connection.execute_unprepared(statement).await?;
        }
        manager.create_table(change_feed()).await?;
        connection.execute_unprepared(FIRST_POSITION).await?;
        for column in ["email_bounce_time", "pending_email_bounce_time"] {
            add_column(manager, "contacts", timestamp_with_time_zone_null(column)).await?;
        }
        add_column(manager, "request_ids", uuid_null("contact_id")).await?;
        manager.create_table(contact_imports()).await
    }
}

/// A disclosure does not lock its customer, so it has the sequence number of the last change. Its
/// feed position is 0, which means none; an event with NULL is yet to be sequenced. The number of an
/// erased customer is encrypted, so that only this service can read it.
const POSTGRES_AUDIT_LOG: &[&str] = &["ALTER TABLE audit_events
       ADD COLUMN feed_position bigint,
       ADD COLUMN sealed_customer_number bytea,
       ADD COLUMN details text,
       DROP CONSTRAINT audit_events_pkey,
       ADD PRIMARY KEY (customer_number, sequence, event_id)"];

/// Recreates the table, as SQLite cannot change a primary key.
const SQLITE_AUDIT_LOG: &[&str] = &[
    "ALTER TABLE audit_events RENAME TO former_audit_events",
    "CREATE TABLE audit_events (
       customer_number varchar(32) NOT NULL,
       sequence integer NOT NULL,
       event_id uuid_text NOT NULL,
       event_time timestamp_with_timezone_text NOT NULL,
       actor text NOT NULL,
       kind text NOT NULL,
       contact_id uuid_text NULL,
       changed_fields text NOT NULL,
       feed_position integer NULL,
       sealed_customer_number blob NULL,
       details text NULL,
       PRIMARY KEY (customer_number, sequence, event_id))",
    "INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind,
       contact_id, changed_fields)
     SELECT customer_number, sequence, event_id, event_time, actor, kind, contact_id,
       changed_fields FROM former_audit_events",
    "DROP TABLE former_audit_events",
];

/// Partial indexes, each of the rows of one query, so that the planner prefers no other index.
const AUDIT_LOG_INDEXES: &[&str] = &[
    "CREATE INDEX audit_events_without_position
       ON audit_events (customer_number, sequence, event_id) WHERE feed_position IS NULL",
    "CREATE INDEX audit_events_by_position ON audit_events (feed_position)
       WHERE feed_position > 0",
    "CREATE INDEX audit_events_by_time ON audit_events (event_time)
       WHERE feed_position IS NOT NULL",
    "CREATE INDEX audit_events_sealed ON audit_events (event_time)
       WHERE sealed_customer_number IS NOT NULL",
];

/// A single row, which is locked to sequence events.
fn change_feed() -> TableCreateStatement {
    Table::create()
        .table("change_feed")
        .col(small_integer("id").primary_key().take())
        // The last position.
        .col(big_integer("last_position"))
        // The last position whose event was deleted.
        .col(big_integer("low_watermark"))
        .to_owned()
}

const FIRST_POSITION: &str =
    "INSERT INTO change_feed (id, last_position, low_watermark) VALUES (1, 0, 0)";

/// The imported rows of files. No foreign key to the contact: a deleted contact does not return with
/// the next import of its file.
fn contact_imports() -> TableCreateStatement {
    Table::create()
        .table("contact_imports")
        .col(customer_number())
        .col(binary_len("import_key", 32))
        .col(uuid("contact_id"))
        .col(timestamp_with_time_zone("import_time"))
        .primary_key(Index::create().col("customer_number").col("import_key"))
        .foreign_key(
            ForeignKey::create()
                .name("contact_imports_customer")
                .from("contact_imports", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
