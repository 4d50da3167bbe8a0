//! The schema of the first release. Versions before it had other migrations, which are not supported.

mod columns;
mod contacts;
mod emails;
mod events;
mod orders;
mod phone;

use sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{DbErr, Table, TableCreateStatement},
    schema::{big_integer, small_integer},
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            contacts::tables(),
            emails::tables(),
            phone::tables(),
            orders::tables(),
            events::tables(),
            vec![write_probes()],
        ];
        for table in tables.into_iter().flatten() {
            manager.create_table(table).await?;
        }
        let indexes = [
            contacts::indexes(),
            emails::indexes(),
            phone::indexes(),
            orders::indexes(),
            events::indexes(),
        ];
        for index in indexes.into_iter().flatten() {
            manager.create_index(index).await?;
        }
        let (connection, backend) = (manager.get_connection(), manager.get_database_backend());
        let statements = [
            emails::PARTIAL_INDEXES,
            phone::PARTIAL_INDEXES,
            events::PARTIAL_INDEXES,
            events::first_rows(backend),
            contacts::page_settings(backend),
            contacts::triggers(backend),
        ];
        for statement in statements.into_iter().flatten() {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// The rows of the write probe.
fn write_probes() -> TableCreateStatement {
    Table::create()
        .table("write_probes")
        // Instances share a few rows: they rarely contend, and a stopped instance leaves none.
        .col(small_integer("slot").primary_key().take())
        .col(big_integer("count"))
        .to_owned()
}
