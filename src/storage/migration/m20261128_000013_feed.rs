//! The inbox and the entries of the change feed, apart from the audit log.

use sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{ColumnDef, DbErr, Index, Table, TableCreateStatement},
    schema::{
        big_integer, binary_null, string_len_null, text, timestamp_with_time_zone, uuid, uuid_null,
    },
};

use super::m20261123_000001_core::{CUSTOMER_NUMBER_LENGTH, customer_number};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for statement in AUDIT_LOG {
            connection.execute_unprepared(statement).await?;
        }
        manager.create_table(feed_inbox()).await?;
        manager.create_table(feed_entries()).await?;
        for statement in FEED {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// One column per statement, as Citus requires.
const AUDIT_LOG: &[&str] = &[
    "DROP INDEX audit_events_without_position",
    "DROP INDEX audit_events_by_position",
    "DROP INDEX audit_events_by_time",
    "DROP INDEX audit_events_sealed",
    "ALTER TABLE audit_events DROP COLUMN feed_position",
    "ALTER TABLE audit_events DROP COLUMN sealed_customer_number",
    "CREATE INDEX audit_events_by_time ON audit_events (event_time)",
];

const FEED: &[&str] = &[
    "CREATE UNIQUE INDEX feed_entries_by_event ON feed_entries (event_id)",
    "CREATE INDEX feed_entries_by_customer ON feed_entries (customer_number)",
    "CREATE INDEX feed_entries_by_time ON feed_entries (event_time)",
    "CREATE INDEX feed_entries_sealed ON feed_entries (event_time)
       WHERE sealed_customer_number IS NOT NULL",
    // Events from before have no entries, so cursors to them expire.
    "UPDATE change_feed SET low_watermark = last_position WHERE id = 1",
];

/// The events that are yet to be sequenced. A row belongs to its customer and is written with the
/// change: no foreign key, as it outlives an erased customer.
fn feed_inbox() -> TableCreateStatement {
    Table::create()
        .table("feed_inbox")
        .col(customer_number())
        .col(big_integer("sequence"))
        .col(uuid("event_id"))
        .col(timestamp_with_time_zone("event_time"))
        .col(text("kind"))
        .col(uuid_null("contact_id"))
        .col(text("changed_fields"))
        // Replaces the customer number in the feed: the pseudonym of an erased customer.
        .col(string_len_null("feed_number", CUSTOMER_NUMBER_LENGTH))
        .col(binary_null("sealed_customer_number"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("sequence")
                .col("event_id"),
        )
        .to_owned()
}

/// The type is spelled out, as SQLite would take an INTEGER key for its row id.
fn position() -> ColumnDef {
    ColumnDef::new("position")
        .custom("bigint")
        .not_null()
        .primary_key()
        .take()
}

/// The feed as it is read, by position.
fn feed_entries() -> TableCreateStatement {
    Table::create()
        .table("feed_entries")
        .col(position())
        .col(uuid("event_id"))
        .col(customer_number())
        .col(timestamp_with_time_zone("event_time"))
        .col(text("kind"))
        .col(uuid_null("contact_id"))
        .col(text("changed_fields"))
        .col(binary_null("sealed_customer_number"))
        .to_owned()
}
