//! Customers, contacts and their phone numbers, the rows they were imported from, and request ids.

use sea_orm::DbBackend;
use sea_orm_migration::{
    prelude::{
        ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table, TableCreateStatement,
    },
    schema::{
        big_integer, binary_len, binary_len_null, boolean, small_integer, string_len, text,
        text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use super::columns::{customer_number, index};

pub(super) fn tables() -> Vec<TableCreateStatement> {
    vec![
        customers(),
        contacts(),
        contact_phone_numbers(),
        contact_imports(),
        request_ids(),
    ]
}

pub(super) fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index(
            "contacts_by_position",
            "contacts",
            ["customer_number", "position"],
        )
        .unique()
        .to_owned(),
        index(
            "contacts_by_email",
            "contacts",
            ["customer_number", "email_key"],
        ),
        index(
            "contact_phone_numbers_by_number",
            "contact_phone_numbers",
            ["customer_number", "phone_number"],
        ),
        // These four find the customers of a phone number or an e-mail address.
        index("contacts_by_email_alone", "contacts", ["email_key"]),
        index(
            "contact_phone_numbers_by_number_alone",
            "contact_phone_numbers",
            ["phone_number"],
        ),
        index("customers_by_email", "customers", ["email_key"]),
        index("customers_by_phone_number", "customers", ["phone_number"]),
        index(
            "customers_by_review_reminder",
            "customers",
            ["review_remind_time"],
        ),
        index("request_ids_by_expiry", "request_ids", ["expire_time"]),
    ]
}

/// Space for a few new versions of rows in their page: an update that moves no row writes no index.
pub(super) fn page_settings(backend: DbBackend) -> &'static [&'static str] {
    if backend == DbBackend::Postgres {
        &[
            "ALTER TABLE customers SET (fillfactor = 90)",
            "ALTER TABLE contacts SET (fillfactor = 90)",
        ]
    } else {
        &[]
    }
}

pub(super) fn triggers(backend: DbBackend) -> &'static [&'static str] {
    if backend == DbBackend::Postgres {
        POSTGRES_TRIGGERS
    } else {
        SQLITE_TRIGGERS
    }
}

fn customers() -> TableCreateStatement {
    Table::create()
        .table("customers")
        .col(customer_number().primary_key())
        .col(text_null("email"))
        .col(text_null("email_key"))
        .col(timestamp_with_time_zone_null("email_bounce_time"))
        // Reports of failures before this time are outdated.
        .col(timestamp_with_time_zone_null("email_works_since"))
        .col(text_null("phone_number"))
        // The language of the contact data.
        .col(string_len("locale", 2).default("de"))
        .col(boolean("security_notices"))
        .col(boolean("planned_maintenance"))
        .col(boolean("outages"))
        .col(boolean("contact_changes").default(true))
        .col(boolean("attention_line_suppressed"))
        .col(text_null("attention_line_ordered_by"))
        .col(timestamp_with_time_zone_null("attention_line_order_time"))
        .col(timestamp_with_time_zone_null("review_time"))
        .col(text_null("reviewed_by"))
        // The time of the next reminder of a review.
        .col(timestamp_with_time_zone("review_remind_time"))
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
        .col(small_integer("salutation").default(0))
        .col(text("title").default(""))
        .col(text("given_name").default(""))
        .col(text("family_name").default(""))
        // The position in the company; `position` is the one in the list of contacts.
        .col(text("job_position").default(""))
        .col(text("department").default(""))
        .col(string_len("locale", 2))
        .col(text_null("email"))
        .col(text_null("email_key"))
        .col(timestamp_with_time_zone_null("email_confirm_time"))
        .col(timestamp_with_time_zone_null("email_bounce_time"))
        // Reports of failures before this time are outdated.
        .col(timestamp_with_time_zone_null("email_works_since"))
        .col(text_null("pending_email"))
        .col(timestamp_with_time_zone_null("pending_email_request_time"))
        .col(timestamp_with_time_zone_null("pending_email_expire_time"))
        .col(uuid_null("pending_email_id"))
        .col(small_integer("pending_email_resends").default(0))
        .col(timestamp_with_time_zone_null("pending_email_resend_time"))
        .col(timestamp_with_time_zone_null("pending_email_bounce_time"))
        .col(boolean("invoice_email_enabled"))
        .col(timestamp_with_time_zone_null("invoice_email_lapse_time"))
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

/// The imported rows of files, with their values, which later rows with the same key are compared
/// with. No foreign key to the contact: a deleted contact does not return with the next import of its
/// file.
fn contact_imports() -> TableCreateStatement {
    Table::create()
        .table("contact_imports")
        .col(customer_number())
        .col(binary_len("import_key", 32))
        .col(binary_len_null("import_values", 32))
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

/// A request id belongs to its caller and customer, so that it is stored with the customer's other rows.
fn request_ids() -> TableCreateStatement {
    Table::create()
        .table("request_ids")
        .col(customer_number())
        .col(text("actor"))
        .col(uuid("request_id"))
        .col(binary_len("digest", 32))
        .col(text("response"))
        .col(uuid_null("contact_id"))
        .col(timestamp_with_time_zone("expire_time"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("actor")
                .col("request_id"),
        )
        .to_owned()
}

/// Enforces rule 2 in the database itself, also for writes that bypass the service: after each
/// statement, a customer with contacts has a STANDARD contact. Not deferred to the commit, as
/// distributed databases report such an error without its constraint, or reject such triggers. The
/// write to the customer makes concurrent transactions conflict at every isolation level; a mere lock
/// would not at repeatable read. The erasure of the whole customer is the exception.
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
    "CREATE TRIGGER contacts_keep_a_standard_on_delete AFTER DELETE ON contacts
     FOR EACH ROW WHEN (OLD.types & 1 = 1) EXECUTE FUNCTION contacts_keep_a_standard()",
    "CREATE TRIGGER contacts_keep_a_standard_on_update AFTER UPDATE ON contacts
     FOR EACH ROW WHEN (OLD.types & 1 = 1
       AND (NEW.types & 1 = 0 OR NEW.customer_number <> OLD.customer_number))
     EXECUTE FUNCTION contacts_keep_a_standard()",
    "CREATE TRIGGER contacts_keep_a_standard_on_insert AFTER INSERT ON contacts
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
