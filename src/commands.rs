//! Commands that do one thing on the database and end: what each needs, and that it is closed
//! again. What they do is told in the modules of their names.

use contact_service::{
    app::{App, AppParts},
    clock::Clock,
    config::{Config, MAIL_FOLDER},
    mail::MailFolder,
    phone_hasher::PhoneHasher,
    random::Random,
    storage::Database,
    telemetry,
    versioned_keys::VersionedKeys,
};
use uuid::Uuid;

use crate::{
    connect, export_customer::ExportCustomer, import_file::ImportFile, phone_hasher,
    prepare_schema, require_schema, resolve_file::ResolveFile, service_keys,
};

/// The target of what migrations log.
const MIGRATIONS: &str = "sea_orm_migration";

pub(crate) async fn resolve(config: &Config, file: &ResolveFile) -> Result<(), String> {
    let _telemetry = telemetry::start(config).map_err(|wrong| wrong.to_string())?;
    let database = connect(config).await?;
    let done = file.run(&database).await;
    database.close().await;
    done
}

pub(crate) async fn export(config: &Config, customer: &ExportCustomer) -> Result<(), String> {
    let begun = customer.begin()?;
    let _telemetry = telemetry::start(config).map_err(|wrong| wrong.to_string())?;
    let random = Random::system();
    let service_keys = service_keys(config, &random)?;
    let hasher = phone_hasher(config, &random)?;
    let database = connect(config).await?;
    let app = use_cases(&database, service_keys, hasher);
    let done = customer.run(&app, begun).await;
    database.close().await;
    done
}

/// Gives whether rows were refused.
pub(crate) async fn import(config: &Config, file: &ImportFile) -> Result<bool, String> {
    let begun = file.begin()?;
    let quiet = without_migrations(config);
    let _telemetry = telemetry::start(&quiet).map_err(|wrong| wrong.to_string())?;
    let random = Random::system();
    let service_keys = service_keys(config, &random)?;
    let hasher = phone_hasher(config, &random)?;
    let database = connect(config).await?;
    prepare_schema(&database, false).await?;
    let app = use_cases(&database, service_keys, hasher);
    let done = file.run(&app, database.is_embedded(), begun).await;
    database.close().await;
    done
}

/// Invalidates all cursors of the feed of changes.
pub(crate) async fn renew_feed(config: &Config) -> Result<(), String> {
    let _telemetry = telemetry::start(config).map_err(|wrong| wrong.to_string())?;
    let epoch = Random::system()
        .bytes()
        .map_err(|error| error.to_string())?;
    let database = connect(config).await?;
    require_schema(&database).await?;
    database
        .renew_feed_epoch(Uuid::from_bytes(epoch))
        .await
        .map_err(|error| format!("DATABASE_URL: {error}"))?;
    database.close().await;
    println!(
        "renewed the epoch of the feed of changes: every cursor that was issued before answers \
         CURSOR_EXPIRED, and its watcher reads everything again"
    );
    Ok(())
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
        mail_folder: Some(MailFolder::new(MAIL_FOLDER)),
    })
}
