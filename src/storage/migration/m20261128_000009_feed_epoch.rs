//! The epoch of the change feed, and an index of the pepper versions of phone passwords.

use sea_orm::{ConnectionTrait, DbBackend, DeriveMigrationName};
use sea_orm_migration::{
    MigrationTrait, SchemaManager, async_trait, prelude::DbErr, schema::uuid_null,
};

use super::m20261124_000002_email_confirmation::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(manager, "change_feed", uuid_null("epoch")).await?;
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let first_epoch = if is_postgres {
            "UPDATE change_feed SET epoch = gen_random_uuid() WHERE id = 1"
        } else {
            "UPDATE change_feed SET epoch = randomblob(16) WHERE id = 1"
        };
        for statement in [first_epoch, PEPPER_VERSIONS] {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// A revoked password is never checked again, so its pepper is not needed.
const PEPPER_VERSIONS: &str = "\
    CREATE INDEX phone_passwords_by_pepper_version ON phone_passwords (pepper_version) \
    WHERE pepper_version IS NOT NULL AND NOT is_revoked";
