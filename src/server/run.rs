//! Startup of everything a process serves, and its graceful shutdown.

use std::{future::Future, time::Duration};

use chrono::TimeDelta;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
};
use tonic::codec::CompressionEncoding;

use super::{
    background,
    connections::{Acceptor, ReadPacers},
    descriptors::{grpc_connections, max_connections},
    readiness::{self, Readiness},
    router::{self, MESSAGE_BYTES},
    testing::TestControl,
    tls::Tls,
};
use crate::{
    api::{
        admission::{Admission, Limits, ResponseBudget},
        auth::Authenticator,
        service::ContactApi,
    },
    app::App,
    brand::Brand,
    connection_limit::ConnectionLimit,
    crypto::keyring::VersionedKeys,
    mail::Outbox,
    observability::metrics::{Limit, Metrics, NotReady},
    storage::Database,
    web::{self, ListenerLimits},
};

/// Newcomers that may wait until a connection makes room.
const MAX_WAITING: usize = 64;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The dependencies and settings of a server.
#[derive(Debug)]
pub struct Parts {
    /// The database, which readiness probes use and shutdown closes.
    pub database: Database,
    /// The use cases.
    pub app: App,
    /// Verifies the tokens of requests.
    pub authenticator: Authenticator,
    /// The keys that sign page tokens.
    pub service_keys: VersionedKeys,
    /// The limits of connections and requests.
    pub limits: Limits,
    /// True serves JSON over HTTP and gRPC-Web on the gRPC port.
    pub serves_http_json: bool,
    /// The worker that sends e-mails; `None` if this process sends none.
    pub outbox: Option<Outbox>,
    /// The listener of the confirmation page and its public origin; `None` disables the page.
    pub page: Option<(TcpListener, String)>,
    /// The appearance of the provider on the page.
    pub brand: Brand,
    /// The TLS configuration of the gRPC port; `None` serves plaintext.
    pub tls: Option<Tls>,
    /// The listener of metrics and probes; `None` disables them.
    pub monitoring: Option<(TcpListener, Metrics)>,
    /// True if customers are asked once a year to review their contacts.
    pub reminds_of_reviews: bool,
    /// Retention of audit events.
    pub events_kept_for: TimeDelta,
    /// Control of the clock and the mails, for tests of consumers; `None` in production.
    pub testing: Option<TestControl>,
    /// The time that requests in flight have to complete after shutdown began.
    pub drain: Duration,
}

/// Serves until `stop` resolves. Then readiness is withdrawn, requests in flight may complete, and
/// after the drain the rest is aborted.
///
/// # Errors
/// One line that states why the server could not start or why it failed.
pub async fn serve(
    listener: TcpListener,
    mut parts: Parts,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let (stopping, stopped) = watch::channel(());
    // Clients that compress do so in every RPC of a connection. Health responses are too small for it.
    let health_service = health_service
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE_BYTES.usual);
    let budget = parts.limits.response_budget();
    let contact_api = ContactApi::new(parts.app.clone(), parts.service_keys.clone());
    let admission = Admission::new(
        parts.authenticator.clone(),
        &parts.limits,
        MESSAGE_BYTES,
        stopped.clone(),
    );
    let serves_http_json = parts.serves_http_json;
    let testing = parts.testing.take();
    let router = router::router(contact_api, &admission, health_service, serves_http_json)?;
    let router = router::with_testing(router, testing, &admission);
    let readiness = Readiness::new(health);
    // Registered before the port is served: a watch of an unknown service would fail.
    readiness.set(Some(NotReady::Starting)).await;
    let mut periodic_jobs = start_periodic_jobs(&parts, &readiness);
    let mut services = start_services(&mut parts, &stopped)?;
    let monitoring = parts.monitoring.take();
    let mut tasks = start_tasks(&parts, &readiness, monitoring);
    let stall_timeout = parts.limits.stall_timeout;
    tasks.spawn(budget.clone().close_stalled(stall_timeout, stopped.clone()));
    let acceptor = acceptor(&mut parts, budget, &mut tasks);
    let (incoming, accept_all) = acceptor.accept_all(listener);
    tasks.spawn(accept_all);
    let (begin_drain, drain_begins) = oneshot::channel::<()>();
    let server = router.serve_with_incoming_shutdown(incoming, async move {
        let _ = drain_begins.await;
    });
    tokio::pin!(server);
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = stop => None,
        // A restart is better than a process that serves but sends no e-mails.
        Some(_) = services.join_next() => {
            tracing::error!("confirmation page or mail worker failed");
            None
        }
    };
    // Awaited, so that a probe in progress cannot report the service as ready again.
    periodic_jobs.shutdown().await;
    let ended = if let Some(ended) = ended {
        ended
    } else {
        tracing::info!(drain_seconds = parts.drain.as_secs(), "shutdown started");
        readiness.set(Some(NotReady::Stopping)).await;
        let _ = begin_drain.send(());
        drop(stopping);
        // An idle connection or an open stream would keep the server running forever.
        let drained = tokio::time::timeout(parts.drain, async {
            let ended = (&mut server).await;
            while services.join_next().await.is_some() {}
            ended
        });
        drained.await.unwrap_or(Ok(()))
    };
    services.shutdown().await;
    tasks.shutdown().await;
    close(parts.database).await;
    tracing::info!("stopped");
    ended.map_err(|error| format!("gRPC server failed: {error}"))
}

async fn close(database: Database) {
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, database.close()).await;
    if closed.is_err() {
        tracing::warn!("closing the database connections timed out");
    }
}

/// Returns the acceptor of the connections that requests arrive on.
fn acceptor(parts: &mut Parts, responses: ResponseBudget, tasks: &mut JoinSet<()>) -> Acceptor {
    let tls = parts.tls.take();
    if let Some(tls) = &tls {
        tasks.spawn(tls.clone().watch_files());
    }
    let connections = grpc_connections(parts.limits.connections, MAX_WAITING);
    Acceptor {
        tls,
        limit: ConnectionLimit::new(connections, MAX_WAITING, Limit::Connections),
        responses,
        pacers: ReadPacers::default(),
        accepts_http_1: parts.serves_http_json,
    }
}

/// Starts the tasks that run until the end of the shutdown: metrics, probes, and the audit events of
/// denied requests.
fn start_tasks(
    parts: &Parts,
    readiness: &Readiness,
    monitoring: Option<(TcpListener, Metrics)>,
) -> JoinSet<()> {
    let app = || parts.app.clone();
    let authenticator = || parts.authenticator.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(authenticator().record_denials(app()));
    if let Some((listener, metrics)) = monitoring {
        tasks.spawn(background::count_hashes(app()));
        let router = web::monitoring_router(metrics.clone(), readiness.flag());
        let limits = ListenerLimits::monitoring(max_connections());
        tasks.spawn(web::serve(listener, router, limits, std::future::pending()));
        tasks.spawn(background::count_mails(app()));
        tasks.spawn(background::watch_delivery_failures(app()));
        tasks.spawn(background::count_failed_contacts(app()));
        let database = || parts.database.clone();
        tasks.spawn(background::count_unreachable_nodes(database()));
        tasks.spawn(background::run_upkeep(metrics, database(), authenticator()));
    }
    tasks
}

/// Starts the readiness probe and the periodic jobs, which end when the drain begins.
fn start_periodic_jobs(parts: &Parts, readiness: &Readiness) -> JoinSet<()> {
    let app = || parts.app.clone();
    let mut jobs = JoinSet::new();
    jobs.spawn(readiness::probe(
        parts.database.clone(),
        app(),
        readiness.clone(),
    ));
    jobs.spawn(background::delete_expired_hourly(app()));
    jobs.spawn(background::delete_old_events(app(), parts.events_kept_for));
    jobs.spawn(app().sequence_events());
    jobs.spawn(background::delete_personal_data(app()));
    jobs.spawn(background::run_email_expiry(app()));
    if parts.reminds_of_reviews {
        jobs.spawn(background::remind_of_reviews(app()));
    }
    jobs
}

/// Starts the mail worker and the confirmation page, which end by themselves once `stopped` changes.
fn start_services(parts: &mut Parts, stopped: &watch::Receiver<()>) -> Result<JoinSet<()>, String> {
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.changed().await;
        }
    };
    let mut services = JoinSet::new();
    if let Some(outbox) = parts.outbox.take() {
        services.spawn(outbox.run(parts.app.mail_signal().clone(), stop()));
    }
    if let Some((listener, origin)) = parts.page.take() {
        let router = web::router(parts.app.clone(), origin, &parts.brand)?;
        let limits = ListenerLimits::page(max_connections());
        services.spawn(web::serve(listener, router, limits, stop()));
    }
    Ok(services)
}
