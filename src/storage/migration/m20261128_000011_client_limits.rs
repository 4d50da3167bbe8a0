//! Counts for the limits on clients: confirmation e-mails by address and by customer, and channel
//! checks by agent and by customer. The agent of the last failed attempt on a phone password, which
//! reveals guesses that are spread over many contacts.

use sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{ColumnDef, DbErr, ForeignKey, ForeignKeyAction, Index, Table, TableCreateStatement},
    schema::{big_integer, binary_len, text, text_null, timestamp_with_time_zone},
};

use super::{
    m20261123_000001_core::customer_number, m20261124_000002_email_confirmation::add_column,
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let agents = text("agent").primary_key().take();
        let customers = customer_number().primary_key().take();
        for table in [
            mail_recipients(),
            mail_customers(),
            channel_checks("channel_check_agents", agents),
            channel_checks("channel_check_customers", customers),
        ] {
            manager.create_table(table).await?;
        }
        for (table, time) in [
            ("mail_recipients", "last_time"),
            ("mail_customers", "last_time"),
            ("channel_check_agents", "window_end"),
            ("channel_check_customers", "window_end"),
        ] {
            let index = Index::create()
                .name(format!("{table}_by_{time}"))
                .table(table)
                .col(time)
                .to_owned();
            manager.create_index(index).await?;
        }
        add_column(manager, "phone_passwords", text_null("failed_by")).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared(FAILED_CONTACTS).await?;
        Ok(())
    }
}

/// Finds the contacts whose last attempt failed recently.
const FAILED_CONTACTS: &str = "\
    CREATE INDEX phone_passwords_by_failure ON phone_passwords (update_time) \
    WHERE consecutive_failures > 0";

/// No foreign key: checks of customers that are not on file are limited alike.
fn channel_checks(name: &'static str, key: ColumnDef) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(key)
        .col(big_integer("checks"))
        .col(timestamp_with_time_zone("window_end"))
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
