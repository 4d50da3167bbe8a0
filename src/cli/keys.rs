//! `keys status`: the versions of the keys, what needs them, and whether they may go. Prints no key.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use contact_service::{
    clock::Clock,
    config::Config,
    crypto::keyring::VersionedKeys,
    observability::logging,
    server::Tls,
    storage::{Database, RowsByVersion},
};

use crate::cli::{
    bootstrap::{
        connect_existing, existing_keys, existing_peppers, parse_development_key,
        source_of_token_keys,
    },
    startup_error::StartupError,
};

/// An action on the keys.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Show what needs each version, and whether it may go
    Status,
}

/// The rows that need versions of a key.
struct Need {
    /// The name of many rows.
    rows: &'static str,
    counts: RowsByVersion,
}

/// Runs the action. Returns true if a key is missing or has expired.
pub(crate) async fn keys(config: &Config, action: KeysAction) -> Result<bool, StartupError> {
    match action {
        KeysAction::Status => status(config).await,
    }
}

async fn status(config: &Config) -> Result<bool, StartupError> {
    config.database_url()?;
    let _telemetry = logging::start(config)?;
    let now = Clock::System.now();
    let database = connect_existing(config).await?;
    let needs = count(&database, now).await;
    database.close().await;
    let (of_service_keys, of_peppers) = needs?;
    let lacks_service_key = print_service_keys(config, &of_service_keys)?;
    let lacks_pepper = print_versions(
        "PHONE_PEPPER",
        "hashes phone passwords",
        existing_peppers(config)?.as_ref(),
        &[of_peppers],
        "no phone password needs it: it may go, unless backups with its hashes may be restored",
    );
    print_token_keys(config)?;
    let has_expired = print_certificate(config, now)?;
    Ok(lacks_service_key || lacks_pepper || has_expired)
}

async fn count(database: &Database, now: DateTime<Utc>) -> Result<([Need; 2], Need), StartupError> {
    let snapshot = database.snapshot().await?;
    let sealed = Need {
        rows: "numbers of erased customers in the change feed",
        counts: snapshot.count_sealed_numbers_by_key().await?,
    };
    let codes = Need {
        rows: "one-time codes",
        counts: snapshot.count_codes_by_key(now).await?,
    };
    let hashes = Need {
        rows: "phone passwords",
        counts: snapshot.count_hashes_by_pepper().await?,
    };
    snapshot.end().await?;
    Ok(([sealed, codes], hashes))
}

fn print_service_keys(config: &Config, needs: &[Need]) -> Result<bool, StartupError> {
    let keys = match &config.service_keys {
        Some(keys) => Some(keys.clone()),
        None => existing_keys(config)?
            .map(|keys| parse_development_key(keys.service_keys()))
            .transpose()?,
    };
    let unneeded = "no counted row needs it: it may go 30 days after it was replaced; events of \
                    customers erased under it are found by number only while it is kept";
    let purpose = "signs cursors, page tokens and grants, protects one-time codes, request ids and \
                   numbers of erased customers";
    Ok(print_versions(
        "SERVICE_KEYS",
        purpose,
        keys.as_ref(),
        needs,
        unneeded,
    ))
}

/// Prints the configured versions of a key, and those that rows need. Returns true if one is missing.
fn print_versions(
    setting: &str,
    purpose: &str,
    keys: Option<&VersionedKeys>,
    needs: &[Need],
    unneeded: &str,
) -> bool {
    println!("{setting}: {purpose}");
    let configured: Vec<i64> = keys
        .into_iter()
        .flat_map(VersionedKeys::versions)
        .map(i64::from)
        .collect();
    if configured.is_empty() {
        println!("  not set, and no development key");
    }
    let newest = configured.first();
    for version in &configured {
        let needed = describe(needs, *version);
        let state = match needed {
            _ if Some(version) == newest && needed.is_empty() => "in use".to_owned(),
            needed if Some(version) == newest => format!("in use; {needed}"),
            needed if needed.is_empty() => unneeded.to_owned(),
            needed => format!("must stay: needed by {needed}"),
        };
        println!("  version {version}: {state}");
    }
    let known: BTreeSet<_> = configured.iter().collect();
    let needed: BTreeSet<_> = needs.iter().flat_map(|need| need.counts.keys()).collect();
    for version in needed.difference(&known) {
        let needed = describe(needs, **version);
        println!("  version {version}: MISSING: needed by {needed}");
    }
    !needed.is_subset(&known)
}

/// Lists the rows that need a version, such as `12 phone passwords`.
fn describe(needs: &[Need], version: i64) -> String {
    let counts = needs.iter().filter_map(|need| {
        let count = need.counts.get(&version)?;
        Some(format!("{count} {}", need.rows))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn print_token_keys(config: &Config) -> Result<(), StartupError> {
    println!("JWT_JWKS: verifies access tokens; the identity provider rotates its keys");
    println!("  {}", source_of_token_keys(config));
    if config.jwks.is_none()
        && let Some(keys) = existing_keys(config)?
    {
        println!("  key id {}: in use, for development only", keys.kid());
    }
    Ok(())
}

/// Prints the expiry of the certificate. Returns true if it has expired.
fn print_certificate(config: &Config, now: DateTime<Utc>) -> Result<bool, StartupError> {
    println!("TLS_CERT, TLS_KEY: prove the identity of the gRPC server");
    let Some(files) = config.tls.clone() else {
        println!("  not set: gRPC is served without TLS");
        return Ok(false);
    };
    let tls = Tls::load(files).map_err(StartupError::Library)?;
    let expiry = tls.expiry().and_then(|expiry| {
        let since_epoch = TimeDelta::from_std(expiry).ok()?;
        DateTime::UNIX_EPOCH.checked_add_signed(since_epoch)
    });
    let Some(expiry) = expiry else {
        println!("  the expiry of the certificate cannot be read");
        return Ok(false);
    };
    let time = expiry.format("%Y-%m-%d %H:%M UTC");
    if expiry <= now {
        println!("  EXPIRED: {time}");
        return Ok(true);
    }
    let days = (expiry - now).num_days();
    println!("  expires {time}, in {days} days; new files are read while the server runs");
    Ok(false)
}
