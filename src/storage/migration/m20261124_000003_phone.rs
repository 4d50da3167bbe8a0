//! Phone passwords and their attempts, order types, and decisions about phone orders.

use sea_orm::DeriveMigrationName;
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{
        DbErr, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table,
        TableCreateStatement,
    },
    schema::{
        big_integer, big_integer_null, boolean, small_integer, string_len, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
    },
};

use super::m20261123_000001_core::customer_number;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            phone_passwords(),
            phone_password_calls(),
            phone_password_agents(),
            order_types(),
            phone_orders(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// No foreign key: attempts on unknown contacts are limited alike.
fn phone_passwords() -> TableCreateStatement {
    Table::create()
        .table("phone_passwords")
        .col(customer_number())
        .col(uuid("contact_id"))
        .col(text_null("hash"))
        .col(big_integer_null("pepper_version"))
        .col(timestamp_with_time_zone_null("set_time"))
        .col(small_integer("consecutive_failures"))
        .col(timestamp_with_time_zone_null("locked_until"))
        .col(text("recent_failures"))
        .col(boolean("is_revoked"))
        .col(timestamp_with_time_zone_null("notice_time"))
        .col(text_null("unlock_reason"))
        .col(timestamp_with_time_zone("update_time"))
        .primary_key(Index::create().col("customer_number").col("contact_id"))
        .to_owned()
}

/// No foreign key, as with `phone_passwords`.
fn phone_password_calls() -> TableCreateStatement {
    Table::create()
        .table("phone_password_calls")
        .col(customer_number())
        .col(text("call_id"))
        .col(small_integer("attempts"))
        .col(timestamp_with_time_zone("expire_time"))
        .primary_key(Index::create().col("customer_number").col("call_id"))
        .to_owned()
}

fn phone_password_agents() -> TableCreateStatement {
    Table::create()
        .table("phone_password_agents")
        .col(text("agent").primary_key().take())
        .col(text("failures"))
        .col(timestamp_with_time_zone("update_time"))
        .to_owned()
}

fn order_types() -> TableCreateStatement {
    Table::create()
        .table("order_types")
        .col(string_len("code", 64).primary_key().take())
        .col(text("display_name"))
        .col(boolean("system_management"))
        .col(boolean("offered_by_phone"))
        .col(boolean("retired"))
        .col(text("updated_by"))
        .col(timestamp_with_time_zone("update_time"))
        .to_owned()
}

/// No foreign key to the contact: the record of the decision outlives it.
fn phone_orders() -> TableCreateStatement {
    Table::create()
        .table("phone_orders")
        .col(customer_number())
        .col(uuid("authorization_id"))
        .col(uuid("contact_id"))
        .col(text("agent"))
        .col(text("call_id"))
        .col(string_len("order_type", 64))
        .col(boolean("customer_administers_product"))
        // The basis of the decision, as order types and contacts change.
        .col(boolean("system_management"))
        .col(boolean("offered_by_phone"))
        .col(big_integer("contact_version"))
        .col(string_len("decision", 32))
        .col(timestamp_with_time_zone("decision_time"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("authorization_id"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("phone_orders_customer")
                .from("phone_orders", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &str, table: &str, column: &str| {
        Index::create()
            .name(name)
            .table(table.to_owned())
            .col(column.to_owned())
            .to_owned()
    };
    vec![
        // Finds attempts on contacts without a password.
        Index::create()
            .name("phone_passwords_by_set_and_update_time")
            .table("phone_passwords")
            .col("set_time")
            .col("update_time")
            .to_owned(),
        index(
            "phone_password_calls_by_expiry",
            "phone_password_calls",
            "expire_time",
        ),
        index(
            "phone_password_agents_by_update_time",
            "phone_password_agents",
            "update_time",
        ),
    ]
}
