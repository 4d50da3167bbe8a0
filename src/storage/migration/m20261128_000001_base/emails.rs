//! The confirmation of addresses, the outbox, and the counts that limit confirmation e-mails.

use sea_orm_migration::{
    prelude::{
        ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table, TableCreateStatement,
    },
    schema::{
        binary_len, small_integer, string_len, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use super::columns::{customer_number, index};

pub(super) fn tables() -> Vec<TableCreateStatement> {
    vec![
        email_confirmations(),
        confirmation_tokens(),
        outbox_mails(),
        mail_recipients(),
        mail_customers(),
    ]
}

pub(super) fn indexes() -> Vec<IndexCreateStatement> {
    let confirmations = "email_confirmations";
    vec![
        index(
            "email_confirmations_by_contact",
            confirmations,
            ["customer_number", "contact_id"],
        ),
        index(
            "email_confirmations_by_expiry",
            confirmations,
            ["state", "expire_time"],
        ),
        index(
            "confirmation_tokens_by_confirmation",
            "confirmation_tokens",
            ["customer_number", "confirmation_id"],
        ),
        index(
            "outbox_mails_by_due_time",
            "outbox_mails",
            ["state", "due_time"],
        ),
        index(
            "mail_recipients_by_last_time",
            "mail_recipients",
            ["last_time"],
        ),
        index(
            "mail_customers_by_last_time",
            "mail_customers",
            ["last_time"],
        ),
    ]
}

/// Partial, so that no other statement about a state can use it.
pub(super) const PARTIAL_INDEXES: &[&str] = &[
    "CREATE INDEX email_confirmations_by_reminder ON email_confirmations (state, remind_time)
       WHERE remind_time IS NOT NULL",
];

fn email_confirmations() -> TableCreateStatement {
    Table::create()
        .table("email_confirmations")
        .col(customer_number())
        .col(uuid("confirmation_id"))
        .col(uuid("contact_id"))
        .col(text("masked_email"))
        .col(string_len("state", 16))
        .col(timestamp_with_time_zone("expire_time"))
        .col(timestamp_with_time_zone_null("remind_time"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("confirmation_id"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("email_confirmations_contact")
                .from("email_confirmations", ("customer_number", "contact_id"))
                .to("contacts", ("customer_number", "contact_id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn confirmation_tokens() -> TableCreateStatement {
    let confirmation = ("customer_number", "confirmation_id");
    Table::create()
        .table("confirmation_tokens")
        .col(customer_number())
        .col(binary_len("token_hash", 32))
        .col(uuid("confirmation_id"))
        .primary_key(Index::create().col("customer_number").col("token_hash"))
        .foreign_key(
            ForeignKey::create()
                .name("confirmation_tokens_confirmation")
                .from("confirmation_tokens", confirmation)
                .to("email_confirmations", confirmation)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

/// No foreign key to the contact: the notice about a replaced address is sent even if the contact is
/// deleted.
fn outbox_mails() -> TableCreateStatement {
    Table::create()
        .table("outbox_mails")
        .col(customer_number())
        .col(uuid("mail_id"))
        .col(text("kind"))
        // None: the contact data.
        .col(uuid_null("contact_id"))
        .col(uuid_null("confirmation_id"))
        .col(text("recipient"))
        .col(text("display_name"))
        .col(string_len("locale", 2))
        // The changes of a notice as a JSON array.
        .col(text_null("changes"))
        .col(string_len("state", 16))
        .col(small_integer("attempts"))
        // The time of the next attempt; during an attempt, the end of its lease.
        .col(timestamp_with_time_zone("due_time"))
        .col(text_null("failure"))
        .col(timestamp_with_time_zone("create_time"))
        .primary_key(Index::create().col("customer_number").col("mail_id"))
        .foreign_key(
            ForeignKey::create()
                .name("outbox_mails_customer")
                .from("outbox_mails", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

/// Recipients of all customers; a recipient is a keyed hash of the address.
fn mail_recipients() -> TableCreateStatement {
    Table::create()
        .table("mail_recipients")
        .col(binary_len("recipient_hash", 32).primary_key().take())
        .col(text("mail_times"))
        .col(timestamp_with_time_zone("last_time"))
        .to_owned()
}

fn mail_customers() -> TableCreateStatement {
    Table::create()
        .table("mail_customers")
        .col(customer_number().primary_key().take())
        .col(text("mail_times"))
        .col(timestamp_with_time_zone("last_time"))
        .foreign_key(
            ForeignKey::create()
                .name("mail_customers_customer")
                .from("mail_customers", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
