//! The values of imported rows, which later rows with the same key are compared with.

use sea_orm::DeriveMigrationName;
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait, prelude::DbErr, schema::binary_len_null,
};

use super::m20261124_000002_email_confirmation::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let values = binary_len_null("import_values", 32);
        add_column(manager, "contact_imports", values).await
    }
}
