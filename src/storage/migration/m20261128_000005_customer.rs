//! The language of the contact data, and the time of the order about the attention line.

use sea_orm::DeriveMigrationName;
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::DbErr,
    schema::{string_len, timestamp_with_time_zone_null},
};

use super::m20261124_000002_email_confirmation::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let locale = string_len("locale", 2).default("de").take();
        add_column(manager, "customers", locale).await?;
        let order_time = timestamp_with_time_zone_null("attention_line_order_time");
        add_column(manager, "customers", order_time).await
    }
}
