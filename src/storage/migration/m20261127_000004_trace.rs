//! Disclosures in the trail, the feed of changes, addresses that fail, and what was imported.

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
        let trail = if is_postgres {
            POSTGRES_TRAIL
        } else {
            SQLITE_TRAIL
        };
        let connection = manager.get_connection();
        for statement in trail.iter().chain(TRAIL_INDEXES) {
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

/// A disclosure takes no turn among the writers of its customer, so it shares the rank of the
/// last change. Its place in the feed is 0: it has none. An event without any waits for it.
/// The number of an erased customer is sealed: only this service can read it.
const POSTGRES_TRAIL: &[&str] = &["ALTER TABLE audit_events
       ADD COLUMN feed_position bigint,
       ADD COLUMN sealed_customer_number bytea,
       ADD COLUMN details text,
       DROP CONSTRAINT audit_events_pkey,
       ADD PRIMARY KEY (customer_number, sequence, event_id)"];

/// SQLite cannot change the key of a table.
const SQLITE_TRAIL: &[&str] = &[
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

/// Each is of those rows only that its query asks for: other indexes have no such rows, or seem to
/// cost more.
const TRAIL_INDEXES: &[&str] = &[
    "CREATE INDEX audit_events_without_position
       ON audit_events (customer_number, sequence, event_id) WHERE feed_position IS NULL",
    "CREATE INDEX audit_events_by_position ON audit_events (feed_position)
       WHERE feed_position > 0",
    "CREATE INDEX audit_events_by_time ON audit_events (event_time)
       WHERE feed_position IS NOT NULL",
    "CREATE INDEX audit_events_sealed ON audit_events (event_time)
       WHERE sealed_customer_number IS NOT NULL",
];

/// One row: whoever gives events their places locks it.
fn change_feed() -> TableCreateStatement {
    Table::create()
        .table("change_feed")
        .col(small_integer("id").primary_key().take())
        // The last one that was given.
        .col(big_integer("last_position"))
        // The last one whose event is not kept any more.
        .col(big_integer("forgotten_position"))
        .to_owned()
}

const FIRST_POSITION: &str =
    "INSERT INTO change_feed (id, last_position, forgotten_position) VALUES (1, 0, 0)";

/// Which rows of a file were taken. No foreign key to the contact: one that was deleted does
/// not come back when its file is read again.
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
