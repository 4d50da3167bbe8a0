//! The schema: one tree of migrations for both databases.

mod m20261123_000001_core;
mod m20261124_000002_email_confirmation;
mod m20261124_000003_phone;
mod m20261127_000004_trace;
mod m20261128_000005_customer;
mod m20261128_000009_feed_epoch;
mod m20261128_000010_import_values;
mod m20261128_000011_client_limits;
mod m20261128_000012_write_probe;
mod m20261128_000013_feed;

use futures::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait, async_trait};

use super::{
    database::Database,
    error::StorageError,
    transaction::{Outcome, Transaction},
};
use crate::error::{Error, Result};

const LOCK_TABLE_ATTEMPTS: u32 = 10;
/// Each attempt waits a second for an embedded database that another process has locked.
const MIGRATION_ATTEMPTS: u32 = 60;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_core::Migration),
            Box::new(m20261124_000002_email_confirmation::Migration),
            Box::new(m20261124_000003_phone::Migration),
            Box::new(m20261127_000004_trace::Migration),
            Box::new(m20261128_000005_customer::Migration),
            Box::new(m20261128_000009_feed_epoch::Migration),
            Box::new(m20261128_000010_import_values::Migration),
            Box::new(m20261128_000011_client_limits::Migration),
            Box::new(m20261128_000012_write_probe::Migration),
            Box::new(m20261128_000013_feed::Migration),
        ]
    }
}

/// A migration and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// The name, such as `m20261123_000001_core`.
    pub name: String,
    /// True if it was applied.
    pub applied: bool,
}

impl Database {
    /// Applies the pending migrations, in one transaction that locks the schema: several processes
    /// may migrate at once.
    ///
    /// # Errors
    /// [`Error::DataLoss`] if the database was migrated by a newer version.
    pub async fn migrate(&self) -> Result<()> {
        if !self.is_embedded() {
            self.create_lock_table().await?;
        }
        // Without the time limit of other transactions: a migration may take long, and so may the
        // wait for another process that migrates.
        for _ in 1..MIGRATION_ATTEMPTS {
            match self.attempt(&migrate_all).await {
                Err(Error::Conflict) => {}
                outcome => return outcome,
            }
        }
        self.attempt(&migrate_all).await
    }

    /// Lists all migrations in order, without changing anything.
    ///
    /// # Errors
    /// [`Error::DataLoss`] if the database was migrated by a newer version.
    pub async fn migration_status(&self) -> Result<Vec<MigrationState>> {
        let status = Migrator::get_migration_with_status_read_only(&self.readers)
            .await
            .map_err(to_error)?;
        Ok(status
            .iter()
            .map(|migration| MigrationState {
                name: migration.name().to_owned(),
                applied: migration.status() == sea_orm_migration::MigrationStatus::Applied,
            })
            .collect())
    }

    /// Lists all migrations as pending, for a database that does not exist yet.
    pub fn pending_migrations() -> Vec<MigrationState> {
        let migrations = Migrator::migrations();
        let names = migrations.iter().map(|migration| migration.name());
        let pending = |name: &str| MigrationState {
            name: name.to_owned(),
            applied: false,
        };
        names.map(pending).collect()
    }

    /// Creates the table that is locked. Concurrent `CREATE TABLE IF NOT EXISTS` statements of
    /// `PostgreSQL` can fail with a unique violation, so they are retried.
    async fn create_lock_table(&self) -> Result<()> {
        for attempt in 1.. {
            let created = self
                .writers
                .execute_unprepared(
                    "CREATE TABLE IF NOT EXISTS schema_lock (id INT PRIMARY KEY);
                     INSERT INTO schema_lock (id) VALUES (1) ON CONFLICT DO NOTHING",
                )
                .await;
            match created {
                Ok(_) => break,
                Err(_) if attempt < LOCK_TABLE_ATTEMPTS => {}
                Err(error) => return Err(StorageError::from(error).into()),
            }
        }
        Ok(())
    }
}

/// Translates an error of the migrator, which reports an unknown migration as `Custom`.
fn to_error(error: DbErr) -> Error {
    if matches!(error, DbErr::Custom(_)) {
        Error::data_loss("the schema has migrations that this version does not know")
    } else {
        StorageError::from(error).into()
    }
}

fn migrate_all(transaction: &Transaction) -> BoxFuture<'_, Result<Outcome<()>>> {
    Box::pin(async move {
        lock_schema(transaction).await.map_err(StorageError::from)?;
        Migrator::up(&transaction.inner, None)
            .await
            .map_err(to_error)?;
        Ok(Outcome::Commit(()))
    })
}

/// Locks a row, as `PgBouncer` and Citus do not support session advisory locks. An embedded database
/// is locked by its immediate transaction already.
async fn lock_schema(transaction: &Transaction) -> std::result::Result<(), DbErr> {
    if transaction.inner.get_database_backend() == DbBackend::Postgres {
        transaction
            .inner
            .execute_unprepared(
                "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
                 SELECT id FROM schema_lock WHERE id = 1 FOR UPDATE",
            )
            .await?;
    }
    Ok(())
}
