//! The schema of the first release. Versions before it had other migrations, which are not supported.

mod contacts;
mod emails;
mod events;
mod phone;

use sea_orm::{ConnectionTrait, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait,
    prelude::{ColumnDef, DbErr, Index, IndexCreateStatement, Table, TableCreateStatement},
    schema::{big_integer, small_integer, string_len},
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
            events::tables(),
            vec![write_probes()],
        ];
        for table in tables.into_iter().flatten() {
            manager.create_table(table).await?;
        }
        let indexes = [contacts::indexes(), emails::indexes(), phone::indexes()];
        for index in indexes.into_iter().flatten() {
            manager.create_index(index).await?;
        }
        let (connection, backend) = (manager.get_connection(), manager.get_database_backend());
        let statements = [
            phone::PARTIAL_INDEXES,
            events::PARTIAL_INDEXES,
            events::first_rows(backend),
            contacts::triggers(backend),
        ];
        for statement in statements.into_iter().flatten() {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const CUSTOMER_NUMBER_LENGTH: u32 = 32;

/// The first column of the key of every customer's table.
fn customer_number() -> ColumnDef {
    string_len("customer_number", CUSTOMER_NUMBER_LENGTH)
}

fn index<const N: usize>(name: &str, table: &str, columns: [&str; N]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table(table.to_owned());
    for column in columns {
        index.col(column.to_owned());
    }
    index
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
