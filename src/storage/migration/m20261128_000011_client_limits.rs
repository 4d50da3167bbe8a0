//! What limits clients by what they did: the confirmation mails to an address and of a customer.

use sea_orm::DeriveMigrationName;
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{DbErr, ForeignKey, ForeignKeyAction, Index, Table, TableCreateStatement},
    schema::{binary_len, text, timestamp_with_time_zone},
};

use super::m20261123_000001_core::customer_number;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [mail_recipients(), mail_customers()] {
            manager.create_table(table).await?;
        }
        for table in ["mail_recipients", "mail_customers"] {
            let index = Index::create()
                .name(format!("{table}_by_last_time"))
                .table(table)
                .col("last_time")
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// Of all customers: a recipient is a keyed hash of the address.
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
