//! `serve`: starts the server and runs it until a signal stops it.

mod keys;
mod testing;

use std::{net::SocketAddr, time::Duration};

use contact_service::{
    api::{self, admission::Limits},
    app::{App, AppParts, CODE_ANSWER_TIME},
    brand::{Brand, Logo},
    clock::Clock,
    config::{Config, Settings},
    crypto::random::Random,
    mail::{MailFolder, Outbox, OutboxParts, PublicUrl, Templates, Transport},
    observability::{logging, metrics::Metrics},
    server::{self, Parts, TestControl, Tls},
    storage::DatabaseUrl,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, signal::unix::SignalKind};

use self::keys::{authenticator, phone_hasher, service_keys};
use crate::cli::{
    bootstrap::{connect, prepare_schema, source_of_token_keys},
    demo,
    startup_error::StartupError,
};

/// Grace period of requests that are in flight at a stop.
const DRAIN: Duration = Duration::from_secs(20);
const EXIT_INTERRUPTED: i32 = 130;

/// Serves until SIGTERM, SIGINT or SIGHUP. With `demo`, sample customers are loaded first.
pub(crate) async fn serve(config: Config, demo: bool) -> Result<(), StartupError> {
    if demo && config.jwks.is_some() {
        return Err(StartupError::setting(
            "--demo",
            "prints a token of the development key, so JWT_JWKS must not be set, nor JWT_ISSUER \
             to a URL",
        ));
    }
    run(config, Purpose::Serving { demo }).await
}

/// Serves tests of consumers until a signal, on an empty database in a temporary folder.
pub(crate) async fn serve_testing(settings: Settings, demo: bool) -> Result<(), StartupError> {
    let folder = TempDir::with_prefix("contact-service-")?;
    let config = settings.for_testing(folder.path()).validate()?;
    run(config, Purpose::Testing { samples: demo }).await
}

/// The purpose of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A server of its own; a demo has sample customers and prints calls.
    Serving { demo: bool },
    /// A server for tests of consumers.
    Testing { samples: bool },
}

impl Purpose {
    fn is_testing(self) -> bool {
        matches!(self, Self::Testing { .. })
    }

    fn clock(self) -> Clock {
        if self.is_testing() {
            Clock::ahead()
        } else {
            Clock::System
        }
    }

    fn has_samples(self) -> bool {
        match self {
            Self::Serving { demo } => demo,
            Self::Testing { samples } => samples,
        }
    }
}

async fn run(config: Config, purpose: Purpose) -> Result<(), StartupError> {
    config.database_url()?;
    let telemetry = logging::start(&config)?;
    let served = Box::pin(start_and_serve(config, purpose)).await;
    telemetry.end().await;
    served
}

async fn start_and_serve(config: Config, purpose: Purpose) -> Result<(), StartupError> {
    // Before the database: a second start by mistake must not migrate anything.
    let listeners = Listeners::bind(&config).await?;
    let tls = load_tls(&config)?;
    let (clock, random) = (purpose.clock(), Random::system());
    let hasher = phone_hasher(&config, &random)?;
    let service_keys = service_keys(&config, &random)?;
    let authenticator = authenticator(&config, &Clock::System, &random).await?;
    let brand = load_brand(&config)?;
    let templates = load_templates(&config, &brand)?;
    let transport = transport(&config)?;
    let database = connect(&config).await?;
    prepare_schema(&database, purpose.has_samples()).await?;
    let mail_folder = MailFolder::new(config.mail_dir());
    let app = App::new(AppParts {
        database: database.clone(),
        clock: clock.clone(),
        random: Random::system(),
        service_keys: service_keys.clone(),
        hasher,
        channel_checks_per_minute: config.channel_checks_per_minute,
        code_answer_time: CODE_ANSWER_TIME,
        mail_folder: Some(mail_folder.clone()),
    });
    let address = listeners.grpc.local_addr()?;
    load_samples(&config, purpose, &app, address).await?;
    let public_url = listeners.public_url(&config)?;
    let stop = stop_signal()?;
    // Nothing fails from here on: a failed start prints one line, and no start line before it.
    server::raise_descriptor_limit();
    log_start(&config, address, &listeners, &public_url);
    if purpose.is_testing() {
        testing::print_started(&config, address, listeners.page_address())?;
    }
    let origin = public_url.origin();
    let outbox = Outbox::new(OutboxParts {
        database: database.clone(),
        clock,
        random,
        templates,
        transport,
        sender: config.mail_from.clone(),
        public_url,
        service_keys: service_keys.clone(),
    });
    let (outbox, testing) = if purpose.is_testing() {
        (None, Some(TestControl::new(&app, outbox, mail_folder)))
    } else {
        (Some(outbox), None)
    };
    let parts = Parts {
        database,
        app,
        authenticator,
        service_keys,
        limits: limits(&config),
        serves_http_json: config.serves_http_json,
        outbox,
        page: listeners.page.map(|page| (page, origin)),
        brand,
        tls,
        monitoring: listeners.monitoring,
        events_kept_for: config.events_kept_for,
        reminds_of_reviews: config.reminds_of_reviews,
        testing,
        drain: DRAIN,
    };
    let served = server::serve(listeners.grpc, parts, stop).await;
    served.map_err(StartupError::Library)
}

/// Loads the sample customers, if the server is to have them, and prints the calls of a demo.
async fn load_samples(
    config: &Config,
    purpose: Purpose,
    app: &App,
    address: SocketAddr,
) -> Result<(), StartupError> {
    if purpose.has_samples() {
        app.load_samples().await?;
    }
    match purpose {
        Purpose::Serving { demo: true } => demo::print_calls(config, app, address).await,
        Purpose::Serving { demo: false } | Purpose::Testing { .. } => Ok(()),
    }
}

/// The sockets of the server, bound before anything else is opened.
struct Listeners {
    grpc: TcpListener,
    page: Option<TcpListener>,
    monitoring: Option<(TcpListener, Metrics)>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, StartupError> {
        let grpc = listen("LISTEN_ADDR", config.listen_addr).await?;
        let page = match config.http_addr {
            Some(address) => Some(listen("HTTP_ADDR", address).await?),
            None => None,
        };
        let monitoring = match config.metrics_addr {
            Some(address) => {
                let listener = listen("METRICS_ADDR", address).await?;
                let metrics = Metrics::install(&api::methods()).map_err(StartupError::Library)?;
                Some((listener, metrics))
            }
            None => None,
        };
        Ok(Self {
            grpc,
            page,
            monitoring,
        })
    }

    fn page_address(&self) -> Option<SocketAddr> {
        self.page.as_ref().and_then(|page| page.local_addr().ok())
    }

    /// The base of mailed links: `PUBLIC_URL`, or the address of the page.
    fn public_url(&self, config: &Config) -> Result<PublicUrl, StartupError> {
        if let Some(url) = config.public_url.clone() {
            return Ok(url);
        }
        self.page_address()
            .and_then(|address| PublicUrl::parse(&format!("http://{address}")).ok())
            .ok_or_else(|| StartupError::setting("HTTP_ADDR", "the page has no address"))
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartupError> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = format!("cannot listen on {address}: {}", error.kind());
        StartupError::setting(setting, reason)
    })
}

fn limits(config: &Config) -> Limits {
    Limits {
        slow_request: config.slow_request,
        ..Limits::default()
    }
}

fn load_tls(config: &Config) -> Result<Option<Tls>, StartupError> {
    let tls = config.tls.clone().map(Tls::load).transpose();
    tls.map_err(StartupError::Library)
}

fn load_templates(config: &Config, brand: &Brand) -> Result<Templates, StartupError> {
    Templates::load(config.mail_templates.as_deref(), brand)
        .map_err(|reason| StartupError::setting("MAIL_TEMPLATES", reason))
}

/// Returns the brand with its logo.
fn load_brand(config: &Config) -> Result<Brand, StartupError> {
    let logo = config.brand_logo.as_deref().map(Logo::load).transpose();
    Ok(Brand {
        logo: logo.map_err(|reason| StartupError::setting("BRAND_LOGO", reason))?,
        ..config.brand.clone()
    })
}

fn transport(config: &Config) -> Result<Transport, StartupError> {
    match &config.smtp_url {
        Some(url) => Transport::smtp(url, config.smtp_helo_name.clone())
            .map_err(|reason| StartupError::setting("SMTP_URL", reason)),
        None => Ok(Transport::Folder(MailFolder::new(config.mail_dir()))),
    }
}

fn log_start(config: &Config, address: SocketAddr, listeners: &Listeners, public_url: &PublicUrl) {
    let monitoring = listeners.monitoring.as_ref();
    let mail = match &config.smtp_url {
        Some(url) => format!("smtp {}", url.place()),
        None => format!("files in {}", config.mail_dir().display()),
    };
    tracing::info!(
        %address,
        page = ?listeners.page_address(),
        metrics = ?monitoring.and_then(|(listener, _)| listener.local_addr().ok()),
        tls = config.tls.is_some(),
        version = env!("CARGO_PKG_VERSION"),
        database = config.database_url().map(DatabaseUrl::describe).unwrap_or_default(),
        keys = source_of_token_keys(config),
        mail,
        "serving"
    );
    warn_of_mail_settings(config, public_url);
}

fn warn_of_mail_settings(config: &Config, public_url: &PublicUrl) {
    if config.smtp_url.is_some() && public_url.is_for_this_machine() {
        tracing::warn!(
            "PUBLIC_URL is a loopback address: recipients of e-mails cannot follow their links"
        );
    }
    if config.smtp_url.is_none() {
        tracing::warn!(
            "SMTP_URL is not set: e-mails are written to {} and not sent",
            config.mail_dir().display()
        );
    }
}

/// Returns a future that resolves on SIGTERM, SIGINT (Ctrl-C) or SIGHUP (the terminal was closed),
/// which would end the process without a drain. A second SIGINT ends the process immediately.
fn stop_signal() -> Result<impl Future<Output = ()>, StartupError> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    let mut hangup = tokio::signal::unix::signal(SignalKind::hangup())?;
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
