//! The rows of the write probe.

use sea_orm::DeriveMigrationName;
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{DbErr, Table},
    schema::{big_integer, small_integer},
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let probes = Table::create()
            .table("write_probes")
            // Instances share a few rows: they rarely contend, and a stopped instance leaves none.
            .col(small_integer("slot").primary_key().take())
            .col(big_integer("count"))
            .to_owned();
        manager.create_table(probes).await
    }
}
