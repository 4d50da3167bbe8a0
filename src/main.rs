//! The command line: each command one call.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

mod command_files;
mod commands;
mod demo_calls;
mod export_customer;
mod healthcheck;
mod import_file;
mod resolve_file;

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use chrono::TimeDelta;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use contact_service::{
    api::{
        self,
        auth::{Authenticator, KeySource, Scope},
        guard::Limits,
    },
    app::App,
    clock::Clock,
    config::{Config, DATA_FOLDER, MAIL_FOLDER, Settings, WrongSetting},
    development::DevelopmentKeys,
    domain::customer::CustomerNumber,
    error::{Error, Invalid},
    mail::{MailFolder, Outbox, OutboxParts, PublicUrl, Templates, Transport},
    meters::Meters,
    phone_hasher::PhoneHasher,
    random::Random,
    server::{self, Parts, Tls},
    storage::Database,
    telemetry,
    versioned_keys::VersionedKeys,
};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, signal::unix::SignalKind};

use self::{
    export_customer::ExportCustomer, healthcheck::healthcheck, import_file::ImportFile,
    resolve_file::ResolveFile,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DRAIN: Duration = Duration::from_secs(20);
const EXIT_INTERRUPTED: i32 = 130;
/// An import is done, but for rows that were refused.
const EXIT_REFUSED: u8 = 3;
const SETTINGS_ARE_ELSEWHERE: &str = "Settings such as DATABASE_URL are flags or environment \
                                      variables: contact-service --help lists them.";
const DEMO_TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(12);
const DEMO_SCOPE: &str = "customers.read customers.write contact_data.write contacts.read \
                          contacts.write email.confirm channels.verify phone_password.check \
                          phone_password.unlock phone_orders.authorize order_types.read \
                          order_types.write recipients.resolve audit.read changes.watch \
                          privacy.export privacy.erase";

/// Who may speak for a customer, and who is written to, over gRPC.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC (the default); an embedded database is migrated first
    Serve {
        /// Load sample customers and print calls ready to paste
        #[arg(long)]
        demo: bool,
    },
    /// The schema of the database
    Migrate {
        #[command(subcommand)]
        action: MigrateAction,
    },
    /// Mint a token with the development key
    Token {
        /// Whom it names as `sub`
        #[arg(long)]
        sub: String,
        /// Its scopes, with blanks between
        #[arg(long)]
        scope: String,
        /// The one customer it is confined to
        #[arg(long)]
        customer: Option<String>,
        /// How long it is valid: a number with s, m, h or d
        #[arg(long, default_value = "15m")]
        ttl: String,
    },
    /// Say who is written to, for all customer numbers of a file
    Resolve(ResolveFile),
    /// Give out everything on file about a customer, as JSON
    Export(ExportCustomer),
    /// Import contacts from a CSV or vCard file; rejected rows are written next to it
    #[command(after_help = SETTINGS_ARE_ELSEWHERE)]
    Import(ImportFile),
    /// Exit with 0 when the server on this machine is ready
    Healthcheck,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum MigrateAction {
    /// Apply what is missing; safe when several start at once
    Up,
    /// List the migrations and whether they were applied
    Status,
    /// Invalidate all cursors of `WatchChanges`; required after a restore, before serving
    RenewFeed,
}

#[tokio::main]
async fn main() -> ExitCode {
    let _kill_points = fail::FailScenario::setup();
    let matches = command().get_matches();
    let command_line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(command_line).await {
        Ok(code) => code,
        Err(line) => {
            eprintln!("contact-service: {line}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, with a help of `import` that lists its own flags only.
fn command() -> clap::Command {
    let mut command = CommandLine::command();
    // Settings are flags of every command: building adds them.
    command.build();
    command.mut_subcommand("import", |import| {
        import.mut_args(|arg| {
            let is_setting = arg.is_global_set();
            arg.hide(is_setting)
        })
    })
}

/// Every failure is one line.
async fn run(command_line: CommandLine) -> Result<ExitCode, String> {
    let config = command_line
        .settings
        .judge()
        .map_err(|wrong| wrong.to_string())?;
    match command_line
        .command
        .unwrap_or(Command::Serve { demo: false })
    {
        Command::Serve { demo } => serve(config, demo).await?,
        Command::Migrate {
            action: MigrateAction::RenewFeed,
        } => commands::renew_feed(&config).await?,
        Command::Migrate { action } => migrate(&config, action).await?,
        Command::Token {
            sub,
            scope,
            customer,
            ttl,
        } => {
            let token = mint(&config, &sub, &scope, customer.as_deref(), parse_ttl(&ttl)?)?;
            println!("{token}");
        }
        Command::Resolve(file) => commands::resolve(&config, &file).await?,
        Command::Import(file) => {
            if commands::import(&config, &file).await? {
                return Ok(EXIT_REFUSED.into());
            }
        }
        Command::Export(customer) => commands::export(&config, &customer).await?,
        Command::Healthcheck => healthcheck(&config).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, demo: bool) -> Result<(), String> {
    if demo && config.jwks.is_some() {
        return Err(
            "--demo: prints a token of the development key, so JWT_JWKS must not be set, \
             nor JWT_ISSUER to a URL"
                .into(),
        );
    }
    let telemetry = telemetry::start(&config).map_err(|wrong| wrong.to_string())?;
    let ended = serve_until_stopped(config, demo).await;
    telemetry.end().await;
    ended
}

async fn serve_until_stopped(config: Config, demo: bool) -> Result<(), String> {
    // Before the database: a second start by mistake must not migrate anything.
    let listener = listen("LISTEN_ADDR", config.listen_addr).await?;
    let page = match config.http_addr {
        Some(address) => Some(listen("HTTP_ADDR", address).await?),
        None => None,
    };
    let monitoring = monitoring(&config).await?;
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let clock = Clock::System;
    let random = Random::system();
    let service_keys = service_keys(&config, &random)?;
    let hasher = phone_hasher(&config, &random)?;
    let authenticator = authenticator(&config, &clock, &random).await?;
    let templates = Templates::load(config.mail_templates.as_deref())
        .map_err(|why| WrongSetting::new("MAIL_TEMPLATES", why).to_string())?;
    let transport = transport(&config)?;
    let database = connect(&config).await?;
    prepare_schema(&database, demo).await?;
    let app = commands::use_cases(&database, service_keys.clone(), hasher);
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if demo {
        app.load_samples()
            .await
            .map_err(|error| error.to_string())?;
        print_calls(&config, &app, &address.to_string()).await?;
    }
    let page_address = page.as_ref().and_then(|page| page.local_addr().ok());
    let public_url = match config.public_url.clone() {
        Some(url) => url,
        None => page_url(page_address)?,
    };
    let metrics = monitoring.as_ref().and_then(|(on, _)| on.local_addr().ok());
    tracing::info!(%address, page = ?page_address, ?metrics, tls = tls.is_some(), "serving");
    warn_of_mail_settings(&config, &public_url);
    let origin = public_url.origin();
    let outbox = Outbox::new(OutboxParts {
        database: database.clone(),
        clock,
        random,
        templates,
        transport,
        sender: config.mail_from,
        public_url,
    });
    let parts = Parts {
        database,
        app,
        authenticator,
        service_keys,
        limits: Limits::default(),
        outbox: Some(outbox),
        page: page.map(|page| (page, origin)),
        tls,
        monitoring,
        events_kept_for: config.events_kept_for,
        drain: DRAIN,
    };
    server::serve(listener, parts, stop_signal()?).await
}

async fn monitoring(config: &Config) -> Result<Option<(TcpListener, Meters)>, String> {
    let Some(address) = config.metrics_addr else {
        return Ok(None);
    };
    let listener = listen("METRICS_ADDR", address).await?;
    Ok(Some((listener, Meters::install(&api::methods())?)))
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = format!("cannot listen on {address}: {}", error.kind());
        WrongSetting::new(setting, why).to_string()
    })
}

fn warn_of_mail_settings(config: &Config, public_url: &PublicUrl) {
    if config.smtp_url.is_some() && public_url.is_for_this_machine() {
        tracing::warn!("PUBLIC_URL is not set to where readers of mails can follow their links");
    }
    if config.smtp_url.is_none() {
        tracing::warn!(
            "SMTP_URL is not set: mails do not leave, they are written to {MAIL_FOLDER}"
        );
    }
}

fn page_url(address: Option<SocketAddr>) -> Result<PublicUrl, String> {
    address
        .and_then(|address| PublicUrl::parse(&format!("http://{address}")).ok())
        .ok_or_else(|| "HTTP_ADDR: the page has no address".to_owned())
}

fn transport(config: &Config) -> Result<Transport, String> {
    match &config.smtp_url {
        Some(url) => {
            let transport = Transport::smtp(url, config.smtp_helo_name.clone());
            transport.map_err(|why| WrongSetting::new("SMTP_URL", why).to_string())
        }
        None => Ok(Transport::Folder(MailFolder::new(MAIL_FOLDER))),
    }
}

async fn print_calls(config: &Config, app: &App, address: &str) -> Result<(), String> {
    let token = mint(config, "demo", DEMO_SCOPE, None, DEMO_TOKEN_LIFETIME)?;
    let mails = if config.smtp_url.is_some() {
        "Mails leave by SMTP_URL.".to_owned()
    } else {
        format!("Mails are written to {MAIL_FOLDER}. Open the link of one in a browser.")
    };
    let target = demo_calls::Target {
        address,
        token: &token,
        mails: &mails,
    };
    demo_calls::print(app, target).await
}

/// An embedded database belongs to this process alone, so it is brought up to
/// date; a shared one is migrated by its own command.
async fn prepare_schema(database: &Database, demo: bool) -> Result<(), String> {
    if database.is_embedded() || demo {
        return database
            .migrate()
            .await
            .map_err(|error| format!("DATABASE_URL: the schema cannot be migrated: {error}"));
    }
    require_schema(database).await
}

async fn require_schema(database: &Database) -> Result<(), String> {
    let status = match database.migration_status().await {
        Ok(status) => status,
        // During a rollout the schema is ahead of those that are not replaced yet, and it stays
        // good for them: one of them that starts anew must not be away until the end.
        Err(Error::DataLoss { what }) => {
            tracing::warn!("{what}: a newer one migrated it");
            return Ok(());
        }
        Err(error) => return Err(format!("DATABASE_URL: {error}")),
    };
    let missing = status.iter().filter(|migration| !migration.applied).count();
    if missing > 0 {
        return Err(format!(
            "DATABASE_URL: the schema lacks {missing} migration(s): run contact-service migrate up"
        ));
    }
    Ok(())
}

async fn migrate(config: &Config, action: MigrateAction) -> Result<(), String> {
    let _telemetry = telemetry::start(config).map_err(|wrong| wrong.to_string())?;
    let database = connect(config).await?;
    let failed = |error| format!("DATABASE_URL: {error}");
    if matches!(action, MigrateAction::Up) {
        database.migrate().await.map_err(failed)?;
    }
    for migration in database.migration_status().await.map_err(failed)? {
        let state = if migration.applied {
            "applied"
        } else {
            "missing"
        };
        println!("{state} {}", migration.name);
    }
    database.close().await;
    Ok(())
}

async fn connect(config: &Config) -> Result<Database, String> {
    let database = Database::connect(&config.database_url)
        .await
        .map_err(|why| format!("DATABASE_URL: {why}"))?;
    match &config.database_replica_url {
        Some(url) => database
            .with_replica(url)
            .await
            .map_err(|why| format!("DATABASE_REPLICA_URL: {why}")),
        None => Ok(database),
    }
}

fn development_keys(random: &Random) -> Result<DevelopmentKeys, String> {
    DevelopmentKeys::load_or_create(Path::new(DATA_FOLDER), random)
}

fn service_keys(config: &Config, random: &Random) -> Result<VersionedKeys, String> {
    if let Some(keys) = &config.service_keys {
        return Ok(keys.clone());
    }
    VersionedKeys::parse(development_keys(random)?.service_keys().expose_secret())
        .map_err(|Invalid(why)| format!("the development key in {DATA_FOLDER}/ {why}"))
}

fn phone_hasher(config: &Config, random: &Random) -> Result<PhoneHasher, String> {
    let peppers = match &config.phone_pepper {
        Some(peppers) => peppers.clone(),
        None => VersionedKeys::parse(development_keys(random)?.phone_pepper().expose_secret())
            .map_err(|Invalid(why)| format!("the development pepper in {DATA_FOLDER}/ {why}"))?,
    };
    if config.phone_pepper.is_some() && config.phone_password_cost.is_low() {
        tracing::warn!("PHONE_PASSWORD_COST is below what is advised: m=19456,t=2,p=1");
    }
    PhoneHasher::new(peppers, config.phone_password_cost).map_err(|error| error.to_string())
}

async fn authenticator(
    config: &Config,
    clock: &Clock,
    random: &Random,
) -> Result<Authenticator, String> {
    let (setting, source) = match &config.jwks {
        Some(KeySource::Discovery) => ("JWT_ISSUER", KeySource::Discovery),
        Some(source) => ("JWT_JWKS", source.clone()),
        None => {
            let keys = development_keys(random)?;
            ("JWT_JWKS", KeySource::Development(keys.jwks()))
        }
    };
    Authenticator::new(config.auth.clone(), source, clock.clone())
        .await
        .map_err(|why| WrongSetting::new(setting, why).to_string())
}

fn mint(
    config: &Config,
    sub: &str,
    scope: &str,
    customer: Option<&str>,
    ttl: TimeDelta,
) -> Result<String, String> {
    match &config.jwks {
        None => {}
        Some(KeySource::Discovery) => {
            return Err("JWT_ISSUER: is an identity provider, so tokens come from there".into());
        }
        Some(_) => {
            return Err(
                "JWT_JWKS: is set, so tokens come from the holder of its private keys".into(),
            );
        }
    }
    let customer = customer
        .map(CustomerNumber::parse)
        .transpose()
        .map_err(|Invalid(why)| format!("--customer: {why}"))?;
    warn_of_unknown_scopes(scope);
    if sub.trim().is_empty() {
        return Err("--sub: must not be empty".into());
    }
    let auth = &config.auth;
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    development_keys(&Random::system())?
        .with_claims(
            auth.scope_claim.as_deref().unwrap_or("scope"),
            &auth.customer_claim,
        )
        .mint(
            &first(&auth.issuers),
            &first(&auth.audiences),
            sub,
            scope,
            customer.as_ref(),
            ttl,
            Clock::System.now(),
        )
        .map_err(|error| error.to_string())
}

/// A scope that nobody asks for is no mistake of the token, but most likely of
/// whoever typed it.
fn warn_of_unknown_scopes(scope: &str) {
    let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    for name in scope
        .split_whitespace()
        .filter(|name| !known.contains(name))
    {
        let all = known.join(", ");
        eprintln!("contact-service: --scope: no RPC asks for {name:?}; there are: {all}");
    }
}

fn parse_ttl(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("--ttl: {text:?} is not a number with s, m, h or d, such as 15m");
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let amount: u32 = digits.parse().map_err(|_| wrong())?;
    let amount = i64::from(amount);
    let ttl = match text.strip_prefix(digits) {
        Some("s") => TimeDelta::try_seconds(amount),
        Some("m") => TimeDelta::try_minutes(amount),
        Some("h") => TimeDelta::try_hours(amount),
        Some("d") => TimeDelta::try_days(amount),
        Some(_) | None => None,
    };
    let limit = TimeDelta::days(366);
    ttl.filter(|ttl| *ttl > TimeDelta::zero() && *ttl <= limit)
        .ok_or_else(wrong)
}

/// Ends with SIGTERM or Ctrl-C. As PID 1 nobody else would handle them. Who presses
/// Ctrl-C once more does not want to wait for the drain.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let signal = |kind| tokio::signal::unix::signal(kind).map_err(|error| error.to_string());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(EXIT_INTERRUPTED);
        });
    })
}
