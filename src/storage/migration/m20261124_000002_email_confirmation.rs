//! The confirmation of addresses, and the outbox.

use sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{
        ColumnDef, DbErr, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table,
        TableCreateStatement,
    },
    schema::{
        binary_len, small_integer, string_len, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use super::m20261123_000001_core::customer_number;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            uuid_null("pending_email_id"),
            small_integer("pending_email_resends").default(0).take(),
            timestamp_with_time_zone_null("pending_email_resend_time"),
        ] {
            add_column(manager, "contacts", column).await?;
        }
        manager.create_table(email_confirmations()).await?;
        manager.create_table(confirmation_tokens()).await?;
        manager.create_table(outbox_mails()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let connection = manager.get_connection();
        for statement in ADOPT_PENDING {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// Adds one column, as SQLite allows no more in a statement.
pub(super) async fn add_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: ColumnDef,
) -> Result<(), DbErr> {
    let mut alter = Table::alter();
    manager
        .alter_table(alter.table(table).add_column(column).to_owned())
        .await
}

/// Addresses that became pending before there were links get one by `ResendEmailConfirmation`. The
/// contact id is the id of their confirmation.
const ADOPT_PENDING: [&str; 2] = [
    "UPDATE contacts SET pending_email_id = contact_id WHERE pending_email IS NOT NULL",
    "INSERT INTO email_confirmations
       (customer_number, confirmation_id, contact_id, masked_email, state, expire_time)
     SELECT customer_number, contact_id, contact_id,
       substr(pending_email, 1, 1) || '***@***', 'pending', pending_email_expire_time
     FROM contacts WHERE pending_email IS NOT NULL",
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
        .col(uuid("contact_id"))
        .col(uuid_null("confirmation_id"))
        .col(text("recipient"))
        .col(text("display_name"))
        .col(string_len("locale", 2))
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

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &str, table: &str, columns: [&str; 2]| {
        let [first, second] = columns;
        Index::create()
            .name(name)
            .table(table.to_owned())
            .col(first.to_owned())
            .col(second.to_owned())
            .to_owned()
    };
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
            "email_confirmations_by_reminder",
            confirmations,
            ["state", "remind_time"],
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
    ]
}
