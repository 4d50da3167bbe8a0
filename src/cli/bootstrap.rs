//! The shared part of the commands that open the database: connecting, checking the schema, and
//! building the use cases.

use contact_service::{
    api::auth::KeySource,
    app::{App, AppParts, CODE_ANSWER_TIME},
    clock::Clock,
    config::Config,
    crypto::{
        development_keys::DevelopmentKeys,
        keyring::VersionedKeys,
        password_hasher::{HashCost, PhoneHasher},
        random::Random,
    },
    error::{Error, Invalid},
    mail::MailFolder,
    storage::Database,
};
use secrecy::{ExposeSecret, SecretString};

use crate::cli::startup_error::StartupError;

const LOCKED: &str = "the schema cannot be migrated: another transaction keeps a lock on it: end it, \
    and run contact-service migrate up again";

/// Names `DATABASE_URL` as the setting that is wrong.
pub(crate) fn wrong_database(reason: impl Into<String>) -> StartupError {
    StartupError::setting("DATABASE_URL", reason)
}

/// Connects to the database; an embedded one is created if it does not exist.
pub(crate) async fn connect(config: &Config) -> Result<Database, StartupError> {
    let url = config.database_url()?;
    let database = Database::connect(url).await.map_err(wrong_database)?;
    match &config.database_replica_url {
        Some(url) => {
            let with_replica = database.with_replica(url).await;
            with_replica.map_err(|reason| StartupError::setting("DATABASE_REPLICA_URL", reason))
        }
        None => Ok(database),
    }
}

/// Connects to a database that has its schema, for commands that never create one.
pub(crate) async fn connect_existing(config: &Config) -> Result<Database, StartupError> {
    let database = connect_to_any_schema(config).await?;
    check_schema(&database).await?;
    Ok(database)
}

/// Connects to a database that exists, whatever its schema is.
pub(crate) async fn connect_to_any_schema(config: &Config) -> Result<Database, StartupError> {
    let url = config.database_url()?;
    if let Some(file) = url.missing_file() {
        return Err(wrong_database(format!(
            "{} is missing: set DATA_DIR to the folder of the server's data, or DATABASE_URL",
            file.display()
        )));
    }
    connect(config).await
}

/// Migrates an embedded database, which belongs to this process alone, and that of a demo. Checks
/// the schema of any other, which `migrate up` migrates.
pub(crate) async fn prepare_schema(database: &Database, demo: bool) -> Result<(), StartupError> {
    if database.is_embedded() || demo {
        return migrate_up(database).await.map(drop);
    }
    check_schema(database).await
}

async fn check_schema(database: &Database) -> Result<(), StartupError> {
    let rights = database.check_serve_privileges().await;
    rights.map_err(wrong_database)?;
    let release = database.check_release().await;
    release.map_err(wrong_database)?;
    let status = match database.migration_status().await {
        Ok(status) => status,
        // During a rollout the schema is ahead of instances that are not replaced yet. They work
        // with it, so one that restarts must not be unavailable until the rollout ends.
        Err(Error::DataLoss { what }) => {
            warn_of_newer(&what);
            return Ok(());
        }
        Err(error) => return Err(wrong_database(error.to_string())),
    };
    let missing = status.iter().filter(|migration| !migration.applied).count();
    if missing > 0 {
        return Err(wrong_database(format!(
            "the schema lacks {missing} migration(s): run contact-service migrate up"
        )));
    }
    Ok(())
}

/// The version that migrated the schema last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Migrated {
    /// This one, now or before.
    ByThis,
    /// A newer one; nothing was changed.
    ByNewer,
}

/// Applies the missing migrations. A shared database that a newer version migrated is left as it is:
/// a rollback runs the older version's `migrate up` again, in init containers and by tools without
/// hooks. An embedded database is rejected.
pub(crate) async fn migrate_up(database: &Database) -> Result<Migrated, StartupError> {
    check_before_migration(database).await?;
    match database.migrate().await {
        Err(Error::DataLoss { what }) if !database.is_embedded() => {
            warn_of_newer(&what);
            Ok(Migrated::ByNewer)
        }
        migrated => to_migrated(migrated).map(|()| Migrated::ByThis),
    }
}

fn warn_of_newer(what: &str) {
    tracing::warn!("{what}: a newer one migrated it");
}

/// Applies the missing migrations and distributes the tables.
pub(crate) async fn migrate_distributed(
    database: &Database,
    moves_rows: bool,
) -> Result<(), StartupError> {
    check_before_migration(database).await?;
    let distributable = database.check_distributable(moves_rows).await;
    distributable.map_err(|why| wrong_database(format!("it cannot be distributed: {why}")))?;
    to_migrated(database.migrate_distributed().await)
}

async fn check_before_migration(database: &Database) -> Result<(), StartupError> {
    let rights = database.check_migrate_privileges().await;
    rights.map_err(wrong_database)?;
    database.check_release().await.map_err(wrong_database)
}

fn to_migrated(migrated: Result<(), Error>) -> Result<(), StartupError> {
    migrated.map_err(|error| {
        if error == Error::Conflict {
            return wrong_database(LOCKED);
        }
        wrong_database(format!("the schema cannot be migrated: {error}"))
    })
}

/// Returns the source of token keys, for people.
pub(crate) fn source_of_token_keys(config: &Config) -> String {
    match &config.jwks {
        Some(KeySource::Jwks(location)) => location.to_string(),
        Some(KeySource::Discovery) => format!("discovery of {}", config.auth.issuers.join(", ")),
        Some(KeySource::Development(_)) | None => {
            format!("development key in {}", config.data_dir.display())
        }
    }
}

/// Reads the development keys, if there are any.
pub(crate) fn existing_keys(config: &Config) -> Result<Option<DevelopmentKeys>, StartupError> {
    DevelopmentKeys::load(&config.data_dir)
        .map_err(|reason| StartupError::setting("DATA_DIR", reason))
}

/// Returns `PHONE_PEPPER`, or the development pepper; `None` if there are neither.
pub(crate) fn existing_peppers(config: &Config) -> Result<Option<VersionedKeys>, StartupError> {
    if let Some(peppers) = &config.phone_pepper {
        return Ok(Some(peppers.clone()));
    }
    let keys = existing_keys(config)?;
    keys.map(|keys| parse_development_key(keys.phone_pepper()))
        .transpose()
}

/// Parses a development key or pepper.
pub(crate) fn parse_development_key(key: &SecretString) -> Result<VersionedKeys, StartupError> {
    VersionedKeys::parse(key.expose_secret()).map_err(|Invalid(reason)| {
        StartupError::setting("DATA_DIR", format!("its development key {reason}"))
    })
}

/// Builds the use cases for a command that neither signs nor hashes: keys that are discarded at
/// its end spare it those of a server.
pub(crate) fn app_without_keys(config: &Config, database: &Database) -> Result<App, StartupError> {
    let random = Random::system();
    let keys = VersionedKeys::ephemeral(&random)?;
    Ok(App::new(AppParts {
        database: database.clone(),
        clock: Clock::System,
        random,
        hasher: PhoneHasher::new(keys.clone(), HashCost::default())?,
        service_keys: keys,
        channel_checks_per_minute: None,
        code_answer_time: CODE_ANSWER_TIME,
        mail_folder: Some(MailFolder::new(config.mail_dir())),
    }))
}
