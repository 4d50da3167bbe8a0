//! The schema: one tree of migrations for both databases.

pub(super) mod distribution;
mod m20261128_000001_base;

use std::time::Duration;

use futures::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, async_trait};

use super::{
    database::Database,
    error::StorageError,
    transaction::{Outcome, Transaction},
};
use crate::error::{Error, Result};

const LOCK_TABLE_ATTEMPTS: u32 = 10;
/// Each attempt waits about a second for a lock: that of an embedded database, or of a table.
const MIGRATION_ATTEMPTS: u32 = 60;
/// The pause in which statements of running instances pass that queued after a migration.
const LOCK_PAUSE: Duration = Duration::from_secs(1);
const APPLIED: &str = "seaql_migrations";
/// A database with the first migration of the versions before the first release.
const BEFORE_RELEASE: &str =
    "SELECT 1 FROM seaql_migrations WHERE version = 'm20261123_000001_core'";

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261128_000001_base::Migration)]
    }
}

/// The work of a transaction that migrates.
type MigrationWork = fn(&Transaction) -> BoxFuture<'_, Result<Outcome<()>>>;

const OLD_SCHEMA: &str = "a version before the first release created the schema, and no later one \
    can migrate it: start with a new database";

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
    /// may migrate at once. Where customers are distributed, new tables are distributed as well.
    ///
    /// # Errors
    /// [`Error::DataLoss`] if the database was migrated by a newer version, or by one before the
    /// first release.
    pub async fn migrate(&self) -> Result<()> {
        self.migrate_with(migrate_all).await
    }

    /// Like [`migrate`](Self::migrate), and distributes all tables, with their rows. Requires
    /// [`check_distributable`](Self::check_distributable).
    ///
    /// # Errors
    /// Those of `migrate`.
    pub async fn migrate_distributed(&self) -> Result<()> {
        self.migrate_with(migrate_and_distribute).await
    }

    /// Checks that no version before the first release created the schema: it had other migrations.
    ///
    /// # Errors
    /// The cause and the remedy, in one line.
    pub async fn check_release(&self) -> std::result::Result<(), String> {
        self.was_created_before_release()
            .await
            .map_err(|error| StorageError::from(error).to_string())
            .and_then(|is_old| {
                if is_old {
                    Err(OLD_SCHEMA.to_owned())
                } else {
                    Ok(())
                }
            })
    }

    async fn was_created_before_release(&self) -> std::result::Result<bool, DbErr> {
        let manager = SchemaManager::new(&self.readers);
        if !manager.has_table(APPLIED).await? {
            return Ok(false);
        }
        let backend = self.readers.get_database_backend();
        let query = Statement::from_string(backend, BEFORE_RELEASE);
        Ok(self.readers.query_one_raw(query).await?.is_some())
    }

    async fn migrate_with(&self, work: MigrationWork) -> Result<()> {
        if !self.is_embedded() {
            self.create_lock_table().await?;
        }
        // Without the time limit of other transactions: a migration may take long, and so may the
        // wait for another process that migrates.
        for _ in 1..MIGRATION_ATTEMPTS {
            match self.attempt(&work).await {
                Err(Error::Conflict) if self.is_embedded() => {}
                Err(Error::Conflict) => tokio::time::sleep(LOCK_PAUSE).await,
                outcome => return outcome,
            }
        }
        self.attempt(&work).await
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
    Box::pin(migrate_within(transaction, false))
}

fn migrate_and_distribute(transaction: &Transaction) -> BoxFuture<'_, Result<Outcome<()>>> {
    Box::pin(migrate_within(transaction, true))
}

async fn migrate_within(transaction: &Transaction, is_requested: bool) -> Result<Outcome<()>> {
    lock_schema(transaction).await.map_err(StorageError::from)?;
    let connection = &transaction.inner;
    Migrator::up(connection, None).await.map_err(to_error)?;
    let distributed = distribution::distribute(connection, is_requested).await;
    distributed.map_err(StorageError::from)?;
    Ok(Outcome::Commit(()))
}

/// Locks a row, as `PgBouncer` and Citus do not support session advisory locks. An embedded database
/// is locked by its immediate transaction already.
///
/// All later waits are short: a statement that waits for a table, which a long read has locked, blocks
/// those of the running instances.
async fn lock_schema(transaction: &Transaction) -> std::result::Result<(), DbErr> {
    if transaction.inner.get_database_backend() == DbBackend::Postgres {
        transaction
            .inner
            .execute_unprepared(
                "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
                 SELECT id FROM schema_lock WHERE id = 1 FOR UPDATE; \
                 SET LOCAL lock_timeout = '500ms'",
            )
            .await?;
    }
    Ok(())
}
