//! The audit log, and the inbox and the entries of the change feed.

use sea_orm::DbBackend;
use sea_orm_migration::{
    prelude::{ColumnDef, Index, IndexCreateStatement, Table, TableCreateStatement},
    schema::{
        big_integer, binary_null, small_integer, string_len_null, text, text_null,
        timestamp_with_time_zone, uuid, uuid_null,
    },
};

use super::columns::{CUSTOMER_NUMBER_LENGTH, customer_number, index};

pub(super) fn tables() -> Vec<TableCreateStatement> {
    vec![audit_events(), feed_inbox(), feed_entries(), change_feed()]
}

pub(super) fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index(
            "audit_events_by_contact",
            "audit_events",
            ["customer_number", "contact_id", "sequence"],
        ),
        index(
            "audit_events_by_customer_and_time",
            "audit_events",
            ["customer_number", "event_time"],
        ),
        index("feed_entries_by_event", "feed_entries", ["event_id"])
            .unique()
            .to_owned(),
        index(
            "feed_entries_by_customer",
            "feed_entries",
            ["customer_number"],
        ),
        index("feed_entries_by_time", "feed_entries", ["event_time"]),
    ]
}

pub(super) const PARTIAL_INDEXES: &[&str] = &[
    // The events that belong to no customer are many.
    "CREATE INDEX audit_events_without_customer_by_kind ON audit_events (kind, sequence, event_id)
       WHERE customer_number = ''",
    "CREATE INDEX audit_events_without_customer_by_actor
       ON audit_events (actor, sequence, event_id) WHERE customer_number = ''",
    "CREATE INDEX audit_events_by_call ON audit_events (customer_number, call_hash)
       WHERE call_hash IS NOT NULL",
    // Of the retention only: its condition, which is always true, is in no other statement. Created after
    // the index of a customer's times: PostgreSQL estimates the same cost for both until a large import
    // into empty tables is analyzed, and prefers the newer one.
    "CREATE INDEX audit_events_by_time ON audit_events (event_time) WHERE length(kind) >= 0",
    "CREATE INDEX feed_entries_sealed ON feed_entries (event_time)
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
/// it has the sequence number of the last change.
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
        // Of the phone call that a disclosed channel is remembered for.
        .col(text_null("call_hash"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("sequence")
                .col("event_id"),
        )
        .to_owned()
}

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

/// The feed as it is read, by position. The number of an erased customer is encrypted, so that only this
/// service can read it.
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

/// The type is spelled out, as SQLite would take an INTEGER key for its row id.
fn position() -> ColumnDef {
    ColumnDef::new("position")
        .custom("bigint")
        .not_null()
        .primary_key()
        .take()
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
