//! The audit log and the change feed.

use sea_orm::DbBackend;
use sea_orm_migration::{
    prelude::{Index, Table, TableCreateStatement},
    schema::{
        big_integer, big_integer_null, blob_null, small_integer, text, text_null,
        timestamp_with_time_zone, uuid, uuid_null,
    },
};

use super::columns::customer_number;

pub(super) fn tables() -> Vec<TableCreateStatement> {
    vec![audit_events(), change_feed()]
}

/// Partial indexes, each of the rows of one query, so that the planner prefers no other index.
pub(super) const PARTIAL_INDEXES: &[&str] = &[
    "CREATE INDEX audit_events_without_position
       ON audit_events (customer_number, sequence, event_id) WHERE feed_position IS NULL",
    "CREATE INDEX audit_events_by_position ON audit_events (feed_position)
       WHERE feed_position > 0",
    "CREATE INDEX audit_events_by_time ON audit_events (event_time)
       WHERE feed_position IS NOT NULL",
    "CREATE INDEX audit_events_sealed ON audit_events (event_time)
       WHERE sealed_customer_number IS NOT NULL",
];

/// Returns the statement that inserts the row of the feed, with a random epoch.
pub(super) fn first_rows(backend: DbBackend) -> &'static [&'static str] {
    if backend == DbBackend::Postgres {
        &[
            "INSERT INTO change_feed (id, last_position, low_watermark, epoch)
           VALUES (1, 0, 0, gen_random_uuid())",
        ]
    } else {
        &[
            "INSERT INTO change_feed (id, last_position, low_watermark, epoch)
           VALUES (1, 0, 0, randomblob(16))",
        ]
    }
}

/// No foreign key: the audit log outlives the customer. A disclosure does not lock its customer, so
/// it has the sequence number of the last change. Its feed position is 0, which means none; an event
/// with NULL is yet to be sequenced. The number of an erased customer is encrypted, so that only this
/// service can read it.
fn audit_events() -> TableCreateStatement {
    Table::create()
        .table("audit_events")
        .col(customer_number())
        .col(big_integer("sequence"))
        .col(uuid("event_id"))
        .col(timestamp_with_time_zone("event_time"))
        .col(text("actor"))
        .col(text("kind"))
        .col(uuid_null("contact_id"))
        .col(text("changed_fields"))
        .col(text_null("details"))
        .col(big_integer_null("feed_position"))
        .col(blob_null("sealed_customer_number"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("sequence")
                .col("event_id"),
        )
        .to_owned()
}

/// A single row, which is locked to sequence events.
fn change_feed() -> TableCreateStatement {
    Table::create()
        .table("change_feed")
        .col(small_integer("id").primary_key().take())
        // The last position.
        .col(big_integer("last_position"))
        // The last position whose event was deleted.
        .col(big_integer("low_watermark"))
        // Renewed after a restore: positions of another epoch may belong to other events.
        .col(uuid_null("epoch"))
        .to_owned()
}
