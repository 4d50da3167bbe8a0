//! Commands that do one thing on the database and end: what each needs, and that it is closed
//! again. What they do is told in the modules of their names.

use contact_service::{
    app::{App, AppParts},
    clock::Clock,
    config::Config,
    crypto::{keyring::VersionedKeys, password_hasher::PhoneHasher, random::Random},
    mail::MailFolder,
    observability::logging,
    storage::Database,
};

use crate::{
    cli::{
        export::ExportCustomer,
        import::ImportFile,
        migrate::{connect, connect_existing, prepare_schema},
        resolve::ResolveFile,
    },
    phone_hasher, service_keys,
};

/// The target of what migrations log.
const MIGRATIONS: &str = "sea_orm_migration";

pub(crate) async fn resolve(config: &Config, file: &ResolveFile) -> Result<(), String> {
    let _telemetry = logging::start(config).map_err(|wrong| wrong.to_string())?;
    let database = connect_existing(config).await?;
    let done = file.run(&database).await;
    database.close().await;
    done
}

pub(crate) async fn export(config: &Config, customer: &ExportCustomer) -> Result<(), String> {
    config.database_url().map_err(|wrong| wrong.to_string())?;
    let begun = customer.begin()?;
    let _telemetry = logging::start(config).map_err(|wrong| wrong.to_string())?;
    let database = connect_existing(config).await?;
    // An export signs and hashes nothing: keys of its own spare it those of a server.
    let keys = VersionedKeys::ephemeral(&Random::system()).map_err(|error| error.to_string())?;
    let hasher = PhoneHasher::new(keys.clone(), config.phone_password_cost);
    let hasher = hasher.map_err(|error| error.to_string())?;
    let app = use_cases(config, &database, keys, hasher);
    let done = customer.run(&app, begun).await;
    database.close().await;
    done
}

/// Gives whether rows were refused.
pub(crate) async fn import(config: &Config, file: &ImportFile) -> Result<bool, String> {
    config.database_url().map_err(|wrong| wrong.to_string())?;
    let begun = file.begin()?;
    let quiet = without_migrations(config);
    let _telemetry = logging::start(&quiet).map_err(|wrong| wrong.to_string())?;
    let database = connect(config).await?;
    prepare_schema(&database, false).await?;
    let random = Random::system();
    let hasher = phone_hasher(config, &random)?;
    let service_keys = service_keys(config, &random)?;
    let app = use_cases(config, &database, service_keys, hasher);
    let done = file.run(&app, database.is_embedded(), begun).await;
    database.close().await;
    done
}

/// The settings, with a log that leaves room for the report: an embedded database is migrated first.
fn without_migrations(config: &Config) -> Config {
    let mut quiet = config.clone();
    if !quiet.log_filter.contains(MIGRATIONS) {
        quiet.log_filter = format!("{},{MIGRATIONS}=warn", quiet.log_filter);
    }
    quiet
}

/// The use cases, on the system's clock.
pub(crate) fn use_cases(
    config: &Config,
    database: &Database,
    service_keys: VersionedKeys,
    hasher: PhoneHasher,
) -> App {
    App::new(AppParts {
        database: database.clone(),
        clock: Clock::System,
        random: Random::system(),
        service_keys,
        hasher,
        channel_checks_per_minute: config.channel_checks_per_minute,
        mail_folder: Some(MailFolder::new(config.mail_dir())),
    })
}
