//! Customers, contacts, the audit log, and request ids.

use sea_orm::{ConnectionTrait, DbBackend, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{
        ColumnDef, DbErr, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table,
        TableCreateStatement,
    },
    schema::{
        big_integer, binary_len, boolean, small_integer, string_len, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(customers()).await?;
        manager.create_table(contacts()).await?;
        manager.create_table(contact_phone_numbers()).await?;
        manager.create_table(audit_events()).await?;
        manager.create_table(request_ids()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let triggers = if is_postgres {
            POSTGRES_TRIGGERS
        } else {
            SQLITE_TRIGGERS
        };
        let connection = manager.get_connection();
        for trigger in triggers {
            connection.execute_unprepared(trigger).await?;
        }
        Ok(())
    }
}

pub(super) const CUSTOMER_NUMBER_LENGTH: u32 = 32;

pub(super) fn customer_number() -> ColumnDef {
    string_len("customer_number", CUSTOMER_NUMBER_LENGTH)
}

fn customers() -> TableCreateStatement {
    Table::create()
        .table("customers")
        .col(customer_number().primary_key())
        .col(text_null("email"))
        .col(text_null("email_key"))
        .col(text_null("phone_number"))
        .col(boolean("security_notices"))
        .col(boolean("planned_maintenance"))
        .col(boolean("outages"))
        .col(boolean("attention_line_suppressed"))
        .col(text_null("attention_line_ordered_by"))
        .col(big_integer("version"))
        // Incremented first in every transaction on the customer: it serializes them, and numbers
        // contacts and events.
        .col(big_integer("write_count"))
        .col(timestamp_with_time_zone("create_time"))
        .col(timestamp_with_time_zone("update_time"))
        .to_owned()
}

fn contacts() -> TableCreateStatement {
    Table::create()
        .table("contacts")
        .col(customer_number())
        .col(uuid("contact_id"))
        .col(big_integer("position"))
        // A set of types, bit 0 is STANDARD.
        .col(small_integer("types"))
        .col(text("display_name"))
        .col(string_len("locale", 2))
        .col(text_null("email"))
        .col(text_null("email_key"))
        .col(text_null("pending_email"))
        .col(timestamp_with_time_zone_null("pending_email_request_time"))
        .col(timestamp_with_time_zone_null("pending_email_expire_time"))
        .col(boolean("invoice_email_enabled"))
        .col(text("restrictions_note"))
        .col(text("allowed_order_types"))
        .col(text("denied_order_types"))
        .col(big_integer("version"))
        .col(timestamp_with_time_zone("create_time"))
        .col(timestamp_with_time_zone("update_time"))
        .primary_key(Index::create().col("customer_number").col("contact_id"))
        .foreign_key(
            ForeignKey::create()
                .name("contacts_customer")
                .from("contacts", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn contact_phone_numbers() -> TableCreateStatement {
    Table::create()
        .table("contact_phone_numbers")
        .col(customer_number())
        .col(uuid("contact_id"))
        .col(small_integer("rank"))
        .col(text("phone_number"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("contact_id")
                .col("rank"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("contact_phone_numbers_contact")
                .from("contact_phone_numbers", ("customer_number", "contact_id"))
                .to("contacts", ("customer_number", "contact_id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

/// No foreign key: the audit log outlives the customer.
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
        .primary_key(Index::create().col("customer_number").col("sequence"))
        .to_owned()
}

/// A request id belongs to its caller and customer, so that it is stored with the customer's other rows.
fn request_ids() -> TableCreateStatement {
    Table::create()
        .table("request_ids")
        .col(customer_number())
        .col(text("actor"))
        .col(uuid("request_id"))
        .col(binary_len("digest", 32))
        .col(text("response"))
        .col(timestamp_with_time_zone("expire_time"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("actor")
                .col("request_id"),
        )
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create()
            .name("contacts_by_position")
            .table("contacts")
            .col("customer_number")
            .col("position")
            .unique()
            .to_owned(),
        Index::create()
            .name("contacts_by_email")
            .table("contacts")
            .col("customer_number")
            .col("email_key")
            .to_owned(),
        Index::create()
            .name("contact_phone_numbers_by_number")
            .table("contact_phone_numbers")
            .col("customer_number")
            .col("phone_number")
            .to_owned(),
        Index::create()
            .name("request_ids_by_expiry")
            .table("request_ids")
            .col("expire_time")
            .to_owned(),
    ]
}

/// Enforces rule 2 in the database itself, also for writes that bypass the service. On PostgreSQL
/// the check is deferred to the commit, so that a transaction may pass through a state without a
/// STANDARD contact. The write to the customer makes concurrent transactions conflict at every
/// isolation level; a mere lock would not at repeatable read. The erasure of the whole customer is
/// the exception.
const POSTGRES_TRIGGERS: &[&str] = &[
    "CREATE FUNCTION contacts_keep_a_standard() RETURNS trigger LANGUAGE plpgsql AS $$
     DECLARE
       number varchar := COALESCE(OLD.customer_number, NEW.customer_number);
     BEGIN
       UPDATE customers SET write_count = write_count WHERE customer_number = number;
       IF FOUND AND NOT EXISTS (
         SELECT 1 FROM contacts WHERE customer_number = number AND types & 1 = 1
       ) THEN
         RAISE EXCEPTION 'contacts_keep_a_standard'
           USING ERRCODE = '23514', CONSTRAINT = 'contacts_keep_a_standard';
       END IF;
       RETURN NULL;
     END $$",
    "CREATE CONSTRAINT TRIGGER contacts_keep_a_standard_on_delete
     AFTER DELETE ON contacts DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (OLD.types & 1 = 1) EXECUTE FUNCTION contacts_keep_a_standard()",
    "CREATE CONSTRAINT TRIGGER contacts_keep_a_standard_on_update
     AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (OLD.types & 1 = 1
       AND (NEW.types & 1 = 0 OR NEW.customer_number <> OLD.customer_number))
     EXECUTE FUNCTION contacts_keep_a_standard()",
    "CREATE CONSTRAINT TRIGGER contacts_keep_a_standard_on_insert
     AFTER INSERT ON contacts DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (NEW.types & 1 = 0) EXECUTE FUNCTION contacts_keep_a_standard()",
];

const SQLITE_TRIGGERS: &[&str] = &[
    "CREATE TRIGGER contacts_keep_a_standard_on_delete BEFORE DELETE ON contacts
     WHEN OLD.types & 1 = 1
       AND EXISTS (SELECT 1 FROM customers WHERE customer_number = OLD.customer_number)
       AND NOT EXISTS (SELECT 1 FROM contacts WHERE customer_number = OLD.customer_number
                       AND contact_id <> OLD.contact_id AND types & 1 = 1)
     BEGIN SELECT RAISE(ABORT, 'contacts_keep_a_standard'); END",
    "CREATE TRIGGER contacts_keep_a_standard_on_update
     BEFORE UPDATE OF types, customer_number ON contacts
     WHEN OLD.types & 1 = 1
       AND (NEW.types & 1 = 0 OR NEW.customer_number <> OLD.customer_number)
       AND NOT EXISTS (SELECT 1 FROM contacts WHERE customer_number = OLD.customer_number
                       AND contact_id <> OLD.contact_id AND types & 1 = 1)
     BEGIN SELECT RAISE(ABORT, 'contacts_keep_a_standard'); END",
    "CREATE TRIGGER contacts_keep_a_standard_on_insert AFTER INSERT ON contacts
     WHEN NEW.types & 1 = 0
       AND NOT EXISTS (SELECT 1 FROM contacts WHERE customer_number = NEW.customer_number
                       AND types & 1 = 1)
     BEGIN SELECT RAISE(ABORT, 'contacts_keep_a_standard'); END",
];
