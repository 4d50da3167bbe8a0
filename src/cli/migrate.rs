//! `migrate`: applies or lists the migrations of the schema, or renews the change feed's epoch.

use clap::{Args, Subcommand};
use contact_service::{
    config::Config,
    crypto::random::Random,
    error::Error,
    observability::logging,
    storage::{Database, MigrationState, grant_statements},
};
use uuid::Uuid;

use crate::cli::{
    bootstrap::{
        Migrated, connect, connect_existing, migrate_distributed, migrate_up, wrong_database,
    },
    startup_error::StartupError,
};

/// The maximum length of a name in `PostgreSQL`.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// An action on the schema.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Apply the missing migrations; safe to run concurrently
    Up {
        /// Distribute the tables over the nodes of Citus
        #[arg(long)]
        distributed: bool,
        /// Move existing rows; stop all instances first
        #[arg(long, requires = "distributed")]
        move_rows: bool,
    },
    /// List the migrations, and how tables are distributed
    Status,
    /// Invalidate all change cursors; required after a restore
    RenewFeed,
    /// Print the SQL that gives database roles their rights
    Grants(PrintGrants),
}

/// The roles of `PostgreSQL` that get rights.
#[derive(Clone, Debug, Args)]
pub(crate) struct PrintGrants {
    /// The role of the service
    #[arg(long, value_name = "NAME", value_parser = parse_identifier)]
    role: String,
    /// A role that may read the tables without secrets
    #[arg(long, value_name = "NAME", value_parser = parse_identifier)]
    reader: Option<String>,
    /// The schema of the tables
    #[arg(long, value_name = "NAME", default_value = "public", value_parser = parse_identifier)]
    schema: String,
}

impl PrintGrants {
    fn print(&self) {
        let statements = grant_statements(&self.schema, &self.role, self.reader.as_deref());
        println!("-- Run by the owner of the tables, after contact-service migrate up.");
        println!("BEGIN;\n{};\nCOMMIT;", statements.join(";\n"));
    }
}

/// Accepts a name that `PostgreSQL` does not truncate.
fn parse_identifier(name: &str) -> Result<String, String> {
    let is_valid = (1..=MAX_IDENTIFIER_BYTES).contains(&name.len());
    if is_valid && !name.contains(char::is_control) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "must be a name of 1 to {MAX_IDENTIFIER_BYTES} bytes"
    ))
}

/// Runs the action. Only [`MigrateAction::Up`] creates a database.
pub(crate) async fn migrate(config: &Config, action: MigrateAction) -> Result<(), StartupError> {
    let _telemetry = logging::start(config)?;
    match action {
        MigrateAction::Up {
            distributed,
            move_rows,
        } => {
            let database = connect(config).await?;
            if distributed {
                migrate_distributed(&database, move_rows).await?;
            } else if migrate_up(&database).await? == Migrated::ByNewer {
                return Ok(());
            }
            print_status(database).await
        }
        MigrateAction::Status => {
            if config.database_url()?.missing_file().is_some() {
                print(&Database::pending_migrations());
                return Ok(());
            }
            let database = connect(config).await?;
            // Tables that may not be read would be listed as missing.
            let rights = database.check_serve_privileges().await;
            rights.map_err(wrong_database)?;
            database.check_release().await.map_err(wrong_database)?;
            print_status(database).await
        }
        MigrateAction::RenewFeed => renew_feed(connect_existing(config).await?).await,
        MigrateAction::Grants(grants) => {
            grants.print();
            Ok(())
        }
    }
}

async fn print_status(database: Database) -> Result<(), StartupError> {
    let failed = |error: Error| wrong_database(error.to_string());
    print(&database.migration_status().await.map_err(failed)?);
    for table in database.distribution_status().await.map_err(failed)? {
        println!("{table}");
    }
    database.close().await;
    Ok(())
}

/// Invalidates all cursors of the change feed.
async fn renew_feed(database: Database) -> Result<(), StartupError> {
    let epoch = Uuid::from_bytes(Random::system().bytes()?);
    let renewed = database.renew_feed_epoch(epoch).await;
    renewed.map_err(|error| wrong_database(error.to_string()))?;
    database.close().await;
    println!(
        "renewed the epoch of the change feed: all cursors issued before now answer \
         CURSOR_EXPIRED, and their watchers read everything again"
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
