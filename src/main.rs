//! The command line: each command one call.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

mod cli;

use std::{net::SocketAddr, process::ExitCode, sync::mpsc, thread, time::Duration};

use chrono::TimeDelta;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use contact_service::{
    api::{
        self,
        admission::Limits,
        auth::{Authenticator, KeySource, Scope},
    },
    app::App,
    clock::Clock,
    config::{Config, ConfigError, Settings},
    crypto::{
        development_keys::DevelopmentKeys,
        keyring::VersionedKeys,
        password_hasher::{PhoneHasher, memory_limit},
        random::Random,
    },
    error::Invalid,
    mail::{MailFolder, Outbox, OutboxParts, PublicUrl, Templates, Transport},
    observability::{logging, metrics::Metrics},
    server::{self, Parts, Tls},
    storage::DatabaseUrl,
};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, signal::unix::SignalKind};

use crate::cli::{
    bootstrap, demo,
    export::ExportCustomer,
    healthcheck::healthcheck,
    import::ImportFile,
    migrate::{MigrateAction, connect, migrate, prepare_schema},
    resolve::ResolveFile,
    token::MintToken,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DRAIN: Duration = Duration::from_secs(20);
/// How long the last line may take.
const LAST_LINE: Duration = Duration::from_secs(2);
const EXIT_INTERRUPTED: i32 = 130;
/// An import is done, but for rows that were refused.
const EXIT_REFUSED: u8 = 3;
const SETTINGS_ARE_ELSEWHERE: &str = "Settings such as DATABASE_URL are flags or environment \
                                      variables:\ncontact-service --help lists them.";
const DEMO_TTL: TimeDelta = TimeDelta::hours(12);

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
    Token(MintToken),
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

#[tokio::main]
async fn main() -> ExitCode {
    let _failpoints = fail::FailScenario::setup();
    let matches = command().get_matches();
    let command_line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match Box::pin(run(command_line)).await {
        Ok(code) => code,
        Err(line) => {
            complain(line);
            ExitCode::FAILURE
        }
    }
}

/// Prints the line with which the process fails; a reader that takes nothing does not keep it.
fn complain(line: String) {
    let (printed, is_printed) = mpsc::channel::<()>();
    thread::spawn(move || {
        eprintln!("contact-service: {line}");
        drop(printed);
    });
    let _ = is_printed.recv_timeout(LAST_LINE);
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
        .validate()
        .map_err(|wrong| wrong.to_string())?;
    match command_line
        .command
        .unwrap_or(Command::Serve { demo: false })
    {
        Command::Serve { demo } => serve(config, demo).await?,
        Command::Migrate { action } => migrate(&config, action).await?,
        Command::Token(token) => println!("{}", token.run(&config)?),
        Command::Resolve(file) => bootstrap::resolve(&config, &file).await?,
        Command::Import(file) => {
            if bootstrap::import(&config, &file).await? {
                return Ok(EXIT_REFUSED.into());
            }
        }
        Command::Export(customer) => bootstrap::export(&config, &customer).await?,
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
    config.database_url().map_err(|wrong| wrong.to_string())?;
    let telemetry = logging::start(&config).map_err(|wrong| wrong.to_string())?;
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
    let hasher = phone_hasher(&config, &random)?;
    let service_keys = service_keys(&config, &random)?;
    let authenticator = authenticator(&config, &clock, &random).await?;
    let templates = Templates::load(config.mail_templates.as_deref())
        .map_err(|why| ConfigError::new("MAIL_TEMPLATES", why).to_string())?;
    let transport = transport(&config)?;
    let database = connect(&config).await?;
    prepare_schema(&database, demo).await?;
    let app = bootstrap::use_cases(&config, &database, service_keys.clone(), hasher);
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
    // Once nothing can end the start any more: a wrong setting is told in one line.
    server::raise_descriptor_limit();
    tracing::info!(
        %address,
        page = ?page_address,
        ?metrics,
        tls = tls.is_some(),
        version = env!("CARGO_PKG_VERSION"),
        database = config.database_url().map(DatabaseUrl::describe).unwrap_or_default(),
        keys = key_source(&config),
        mail = mail_transport(&config),
        "serving"
    );
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

async fn monitoring(config: &Config) -> Result<Option<(TcpListener, Metrics)>, String> {
    let Some(address) = config.metrics_addr else {
        return Ok(None);
    };
    let listener = listen("METRICS_ADDR", address).await?;
    Ok(Some((listener, Metrics::install(&api::methods())?)))
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = format!("cannot listen on {address}: {}", error.kind());
        ConfigError::new(setting, why).to_string()
    })
}

fn warn_of_mail_settings(config: &Config, public_url: &PublicUrl) {
    if config.smtp_url.is_some() && public_url.is_for_this_machine() {
        tracing::warn!("PUBLIC_URL is not set to where readers of mails can follow their links");
    }
    if config.smtp_url.is_none() {
        tracing::warn!(
            "SMTP_URL is not set: mails do not leave, they are written to {}",
            config.mail_dir().display()
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
            transport.map_err(|why| ConfigError::new("SMTP_URL", why).to_string())
        }
        None => Ok(Transport::Folder(MailFolder::new(config.mail_dir()))),
    }
}

/// Where mails go, for the start line.
fn mail_transport(config: &Config) -> String {
    match &config.smtp_url {
        Some(url) => format!("smtp {}", url.place()),
        None => format!("files in {}", config.mail_dir().display()),
    }
}

/// Where the keys of tokens come from, for the start line.
fn key_source(config: &Config) -> String {
    match &config.jwks {
        Some(KeySource::Jwks(location)) => location.to_string(),
        Some(KeySource::Discovery) => format!("discovery of {}", config.auth.issuers.join(", ")),
        Some(KeySource::Development(_)) | None => {
            format!("development key in {}", config.data_dir.display())
        }
    }
}

async fn print_calls(config: &Config, app: &App, address: &str) -> Result<(), String> {
    let ttl = DEMO_TTL.min(config.auth.max_lifetime);
    let token = MintToken {
        sub: "me".into(),
        scope: Scope::ALL.map(Scope::as_str).join(" "),
        customer: None,
        ttl: format!("{}s", ttl.num_seconds()),
    };
    let token = token.run(config)?;
    let mails = if config.smtp_url.is_some() {
        "Mails leave by SMTP_URL.".to_owned()
    } else {
        let folder = config.mail_dir();
        let folder = folder.display();
        format!("Mails are written to {folder}. Open the link of one in a browser.")
    };
    let target = demo::Target {
        address,
        token: &token,
        mails: &mails,
    };
    demo::print(app, target).await
}

fn development_keys(config: &Config, random: &Random) -> Result<DevelopmentKeys, String> {
    DevelopmentKeys::load_or_create(&config.data_dir, random)
        .map_err(|why| ConfigError::new("DATA_DIR", why).to_string())
}

fn service_keys(config: &Config, random: &Random) -> Result<VersionedKeys, String> {
    if let Some(keys) = &config.service_keys {
        return Ok(keys.clone());
    }
    VersionedKeys::parse(
        development_keys(config, random)?
            .service_keys()
            .expose_secret(),
    )
    .map_err(|Invalid(why)| format!("DATA_DIR: its development key {why}"))
}

fn phone_hasher(config: &Config, random: &Random) -> Result<PhoneHasher, String> {
    config
        .phone_password_cost
        .check_memory(memory_limit::available())
        .map_err(|Invalid(why)| ConfigError::new("PHONE_PASSWORD_COST", why).to_string())?;
    let peppers = match &config.phone_pepper {
        Some(peppers) => peppers.clone(),
        None => VersionedKeys::parse(
            development_keys(config, random)?
                .phone_pepper()
                .expose_secret(),
        )
        .map_err(|Invalid(why)| format!("DATA_DIR: its development pepper {why}"))?,
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
            let keys = development_keys(config, random)?;
            ("JWT_JWKS", KeySource::Development(keys.jwks()))
        }
    };
    Authenticator::new(config.auth.clone(), source, clock.clone())
        .await
        .map_err(|why| ConfigError::new(setting, why).to_string())
}

/// Resolves on SIGTERM, SIGINT (Ctrl-C), or SIGHUP (the terminal was closed), which would end the
/// process without a drain. As PID 1 it has no default handlers. A second SIGINT ends it at once.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let signal = |kind| tokio::signal::unix::signal(kind).map_err(|error| error.to_string());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(EXIT_INTERRUPTED);
        });
    })
}
