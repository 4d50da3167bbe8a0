//! `serve`: starts the server and runs it until a signal stops it.

mod keys;

use std::{net::SocketAddr, time::Duration};

use contact_service::{
    api::{self, admission::Limits},
    app::{App, AppParts, CODE_ANSWER_TIME},
    brand::{Brand, Logo},
    clock::Clock,
    config::Config,
    crypto::random::Random,
    mail::{MailFolder, Outbox, OutboxParts, PublicUrl, Templates, Transport},
    observability::{logging, metrics::Metrics},
    server::{self, Parts, Tls},
    storage::DatabaseUrl,
};
use tokio::{net::TcpListener, signal::unix::SignalKind};

use self::keys::{authenticator, phone_hasher, service_keys, source_of_token_keys};
use crate::cli::{
    bootstrap::{connect, prepare_schema},
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
    config.database_url()?;
    let telemetry = logging::start(&config)?;
    let served = start_and_serve(config, demo).await;
    telemetry.end().await;
    served
}

async fn start_and_serve(config: Config, demo: bool) -> Result<(), StartupError> {
    // Before the database: a second start by mistake must not migrate anything.
    let listeners = Listeners::bind(&config).await?;
    let tls = config.tls.clone().map(Tls::load).transpose();
    let tls = tls.map_err(StartupError::Library)?;
    let (clock, random) = (Clock::System, Random::system());
    let hasher = phone_hasher(&config, &random)?;
    let service_keys = service_keys(&config, &random)?;
    let authenticator = authenticator(&config, &clock, &random).await?;
    let brand = load_brand(&config)?;
    let templates = Templates::load(config.mail_templates.as_deref(), &brand)
        .map_err(|reason| StartupError::setting("MAIL_TEMPLATES", reason))?;
    let transport = transport(&config)?;
    let database = connect(&config).await?;
    prepare_schema(&database, demo).await?;
    let app = App::new(AppParts {
        database: database.clone(),
        clock: clock.clone(),
        random: Random::system(),
        service_keys: service_keys.clone(),
        hasher,
        channel_checks_per_minute: config.channel_checks_per_minute,
        code_answer_time: CODE_ANSWER_TIME,
        mail_folder: Some(MailFolder::new(config.mail_dir())),
    });
    let address = listeners.grpc.local_addr()?;
    if demo {
        app.load_samples().await?;
        demo::print_calls(&config, &app, address).await?;
    }
    let public_url = match config.public_url.clone() {
        Some(url) => url,
        None => listeners.page_url()?,
    };
    let stop = stop_signal()?;
    // Nothing fails from here on: a failed start prints one line, and no start line before it.
    server::raise_descriptor_limit();
    log_start(&config, address, &listeners);
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
        service_keys: service_keys.clone(),
    });
    let parts = Parts {
        database,
        app,
        authenticator,
        service_keys,
        limits: Limits {
            slow_request: config.slow_request,
            ..Limits::default()
        },
        outbox: Some(outbox),
        page: listeners.page.map(|page| (page, origin)),
        brand,
        tls,
        monitoring: listeners.monitoring,
        events_kept_for: config.events_kept_for,
        reminds_of_reviews: config.reminds_of_reviews,
        drain: DRAIN,
    };
    let served = server::serve(listeners.grpc, parts, stop).await;
    served.map_err(StartupError::Library)
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

    /// The base of mailed links without `PUBLIC_URL`.
    fn page_url(&self) -> Result<PublicUrl, StartupError> {
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

fn log_start(config: &Config, address: SocketAddr, listeners: &Listeners) {
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
