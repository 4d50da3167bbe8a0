//! How commands open the database, and `migrate`.

use clap::Subcommand;
use contact_service::{
    config::{Config, ConfigError},
    crypto::random::Random,
    error::Error,
    observability::logging,
    storage::{Database, MigrationState},
};
use uuid::Uuid;

/// An action on the schema.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Apply what is missing; safe when several start at once
    Up,
    /// List the migrations and whether they were applied
    Status,
    /// Invalidate all cursors of `WatchChanges`; required after a restore, before serving
    RenewFeed,
}

fn wrong(why: impl Into<String>) -> String {
    ConfigError::new("DATABASE_URL", why).to_string()
}

/// Connects; an embedded database is made where it is missing.
pub(crate) async fn connect(config: &Config) -> Result<Database, String> {
    let url = config.database_url().map_err(|wrong| wrong.to_string())?;
    let database = Database::connect(url).await.map_err(wrong)?;
    match &config.database_replica_url {
        Some(url) => database
            .with_replica(url)
            .await
            .map_err(|why| ConfigError::new("DATABASE_REPLICA_URL", why).to_string()),
        None => Ok(database),
    }
}

/// Connects to a database that has its schema, for commands that only read.
pub(crate) async fn connect_existing(config: &Config) -> Result<Database, String> {
    let url = config.database_url().map_err(|wrong| wrong.to_string())?;
    if let Some(file) = url.missing_file() {
        return Err(wrong(format!(
            "{} is missing: set DATA_DIR to the folder of the server's data, or DATABASE_URL",
            file.display()
        )));
    }
    let database = connect(config).await?;
    expect_schema(&database).await?;
    Ok(database)
}

/// An embedded database belongs to this process alone, so it is brought up to
/// date; a shared one is migrated by its own command.
pub(crate) async fn prepare_schema(database: &Database, demo: bool) -> Result<(), String> {
    if database.is_embedded() || demo {
        return migrate_up(database).await;
    }
    expect_schema(database).await
}

async fn expect_schema(database: &Database) -> Result<(), String> {
    database.check_serve_privileges().await.map_err(wrong)?;
    let status = match database.migration_status().await {
        Ok(status) => status,
        // During a rollout the schema is ahead of instances that are not replaced yet. They work
        // with it, so one that restarts must not be unavailable until the rollout ends.
        Err(Error::DataLoss { what }) => {
            tracing::warn!("{what}: a newer one migrated it");
            return Ok(());
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let missing = status.iter().filter(|migration| !migration.applied).count();
    if missing > 0 {
        return Err(wrong(format!(
            "the schema lacks {missing} migration(s): run contact-service migrate up"
        )));
    }
    Ok(())
}

async fn migrate_up(database: &Database) -> Result<(), String> {
    database.check_migrate_privileges().await.map_err(wrong)?;
    database
        .migrate()
        .await
        .map_err(|error| wrong(format!("the schema cannot be migrated: {error}")))
}

/// Applies or lists the migrations, or renews the feed. Only the first makes a database.
///
/// # Errors
/// A line that names the setting, and says why it cannot be done.
pub(crate) async fn migrate(config: &Config, action: MigrateAction) -> Result<(), String> {
    let _telemetry = logging::start(config).map_err(|wrong| wrong.to_string())?;
    match action {
        MigrateAction::Up => {
            let database = connect(config).await?;
            migrate_up(&database).await?;
            print_status(database).await
        }
        MigrateAction::Status => {
            let url = config.database_url().map_err(|wrong| wrong.to_string())?;
            if url.missing_file().is_some() {
                print(&Database::pending_migrations());
                return Ok(());
            }
            let database = connect(config).await?;
            // Tables that may not be read would be listed as missing.
            database.check_serve_privileges().await.map_err(wrong)?;
            print_status(database).await
        }
        MigrateAction::RenewFeed => renew_feed(connect_existing(config).await?).await,
    }
}

async fn print_status(database: Database) -> Result<(), String> {
    let status = database.migration_status().await;
    print(&status.map_err(|error| wrong(error.to_string()))?);
    database.close().await;
    Ok(())
}

/// Invalidates all cursors of the feed of changes.
async fn renew_feed(database: Database) -> Result<(), String> {
    let epoch = Random::system()
        .bytes()
        .map_err(|error| error.to_string())?;
    database
        .renew_feed_epoch(Uuid::from_bytes(epoch))
        .await
        .map_err(|error| wrong(error.to_string()))?;
    database.close().await;
    println!(
        "renewed the epoch of the feed of changes: every cursor that was issued before answers \
         CURSOR_EXPIRED, and its watcher reads everything again"
    );
    Ok(())
}

fn print(migrations: &[MigrationState]) {
    for migration in migrations {
        let state = if migration.applied {
            "applied"
        } else {
            "missing"
        };
        println!("{state} {}", migration.name);
    }
}
