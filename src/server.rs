//! The gRPC server: listener, limits, health, reflection, and a clean stop. Beside it
//! the page for the public, the worker that sends mail, and what time brings about.

mod background;
mod connections;
mod descriptors;
mod tls;

use std::{
    future::Future,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::TimeDelta;
use futures::Stream;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
};
use tonic::{
    codec::CompressionEncoding,
    transport::server::{Router, Server},
};
use tonic_health::pb::health_server::{Health, HealthServer};

use self::{
    background::Readiness,
    connections::{Acceptor, Connection},
    descriptors::grpc_connections,
};
pub use self::{
    descriptors::{max_connections, max_descriptors, raise_descriptor_limit},
    tls::{Tls, TlsFiles},
};
use crate::{
    api::{
        admission::{
            dispatch::{Guard, Limits},
            open_rpcs::OpenRpcs,
            peer::ResponseBudget,
        },
        auth::Authenticator,
        proto::{FILE_DESCRIPTOR_SET, contact_service_server::ContactServiceServer},
        service::ContactApi,
    },
    app::App,
    connection_limit::ConnectionLimit,
    crypto::keyring::VersionedKeys,
    mail::Outbox,
    observability::metrics::{Limit, Metrics, NotReady},
    storage::Database,
    web::{self, ListenerLimits},
};

/// Name under which readiness is asked; the empty name asks whether we are alive.
pub const SERVICE_NAME: &str = "contact.v1.ContactService";

const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// `StreamRecipients` asks by the thousand.
const MAX_STREAMED_BYTES: usize = 256 * 1024;
/// What a client may send ahead of the server on one stream: its longest message, and the start of the
/// next.
const STREAM_WINDOW_BYTES: u32 = 320 * 1024;
const MAX_STREAMS: u32 = 100;
/// A token of 40 KiB, with other metadata, still gets an answer with a reason: clients learn this
/// limit from SETTINGS, and beyond it fail with a text of their own or a bare 431. Per connection
/// h2 keeps one header block at most that is not complete, of up to 6 frames of 16 KiB with this
/// limit as with a third of it; what requests in flight may keep of theirs is `api::guard`'s limit.
const MAX_HEADER_BYTES: u32 = 48 * 1024;
/// tonic lifts this limit of hyper: unlimited malformed streams would cost nothing.
const MAX_LOCAL_RESETS: usize = 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Newcomers that may wait until a connection makes room.
const WAITING: usize = 64;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server is made of.
#[derive(Debug)]
pub struct Parts {
    /// The database, asked for readiness and closed at the end.
    pub database: Database,
    /// The use cases.
    pub app: App,
    /// Who may call.
    pub authenticator: Authenticator,
    /// What signs page tokens.
    pub service_keys: VersionedKeys,
    /// How much is let in.
    pub limits: Limits,
    /// What sends mails; `None`: nobody does in this process.
    pub outbox: Option<Outbox>,
    /// Where the confirmation page is served, and the origin that browsers know it by;
    /// `None`: nowhere.
    pub page: Option<(TcpListener, String)>,
    /// What gRPC is served with; `None`: without TLS.
    pub tls: Option<Tls>,
    /// Where metrics and probes are served; `None`: nowhere.
    pub monitoring: Option<(TcpListener, Metrics)>,
    /// How long the trail is kept.
    pub events_kept_for: TimeDelta,
    /// How long calls in flight may go on after the stop was asked for.
    pub drain: Duration,
}

/// Serves until `stop` ends: then readiness is withdrawn, calls in flight may end,
/// and after the drain the rest is cut off.
///
/// # Errors
/// A line that says why the server could not be built or broke down.
pub async fn serve(
    listener: TcpListener,
    mut parts: Parts,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let (stopping, stopped) = watch::channel(());
    // Clients that compress do so in every RPC of a connection; a health answer is too small for it.
    let health_service = health_service
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let budget = parts.limits.response_budget();
    let router = router(&parts, &stopped, health_service)?;
    let flag = Arc::new(AtomicBool::new(false));
    let readiness = Readiness { health, flag };
    // Known from the start: who watches an unknown service is sent away.
    readiness.tell(Some(NotReady::Starting)).await;
    let mut rounds = start_rounds(&parts, &readiness);
    let mut companions = start_companions(&mut parts, &stopped)?;
    let monitoring = parts.monitoring.take();
    let mut tasks = start_tasks(&parts, &readiness, monitoring);
    let patience = parts.limits.response_patience;
    tasks.spawn(budget.clone().close_stalled(patience, stopped.clone()));
    let incoming = incoming(listener, parts.tls.take(), budget, parts.limits, &mut tasks);
    let (begin_drain, drain_begins) = oneshot::channel::<()>();
    let server = router.serve_with_incoming_shutdown(incoming, async move {
        let _ = drain_begins.await;
    });
    tokio::pin!(server);
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = stop => None,
        // Better to be started anew than to serve on without mail.
        Some(_) = companions.join_next() => {
            tracing::error!("the page or the worker that sends mail broke down");
            None
        }
    };
    // Awaited, so that a probe under way cannot call the service ready again.
    rounds.shutdown().await;
    let ended = if let Some(ended) = ended {
        ended
    } else {
        tracing::info!("stopping: no new calls, waiting for those in flight");
        readiness.tell(Some(NotReady::Stopping)).await;
        let _ = begin_drain.send(());
        drop(stopping);
        // An idle connection or an open stream would hold the server for ever.
        let drained = tokio::time::timeout(parts.drain, async {
            let ended = (&mut server).await;
            while companions.join_next().await.is_some() {}
            ended
        });
        drained.await.unwrap_or(Ok(()))
    };
    companions.shutdown().await;
    tasks.shutdown().await;
    close(parts.database).await;
    tracing::info!("stopped");
    ended.map_err(|error| format!("the server broke down: {error}"))
}

async fn close(database: Database) {
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, database.close()).await;
    if closed.is_err() {
        tracing::warn!("the database connections did not close in time");
    }
}

fn router<H: Health>(
    parts: &Parts,
    stopped: &watch::Receiver<()>,
    health: HealthServer<H>,
) -> Result<Router, String> {
    let contact_api = ContactApi::new(parts.app.clone(), parts.service_keys.clone());
    // The limits below hold for messages once they are decompressed.
    let contact_service = ContactServiceServer::new(contact_api)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let streams = contact_service
        .clone()
        .max_decoding_message_size(MAX_STREAMED_BYTES);
    let unary = contact_service.max_decoding_message_size(MAX_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error| format!("reflection cannot be built: {error}");
    let reflection_v1 = reflection().build_v1().map_err(failed)?;
    let reflection_v1alpha = reflection().build_v1alpha().map_err(failed)?;
    let open_rpcs = OpenRpcs::new(parts.limits, stopped.clone());
    let guard = Guard::new(
        (unary, MAX_MESSAGE_BYTES),
        streams,
        parts.authenticator.clone(),
        parts.limits,
        stopped.clone(),
    );
    Ok(Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(guard)
        .add_service(open_rpcs.bound(health))
        .add_service(
            open_rpcs.bound(
                reflection_v1
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES),
            ),
        )
        .add_service(
            open_rpcs.bound(
                reflection_v1alpha
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES),
            ),
        ))
}

/// Returns the connections that requests come over.
fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
    responses: ResponseBudget,
    limits: Limits,
    tasks: &mut JoinSet<()>,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    if let Some(tls) = &tls {
        tasks.spawn(tls.clone().follow_files());
    }
    let connections = grpc_connections(limits.connections, WAITING);
    let acceptor = Acceptor {
        tls,
        limit: ConnectionLimit::new(connections, WAITING, Limit::Connections),
        responses,
    };
    let (connections, accept_all) = acceptor.accept_all(listener);
    tasks.spawn(accept_all);
    connections
}

/// Starts what goes on to the very end: metrics, probes, and the events of denied requests.
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
        let router = web::monitoring_router(metrics.clone(), Arc::clone(&readiness.flag));
        let limits = ListenerLimits::monitoring(max_connections());
        tasks.spawn(web::serve(listener, router, limits, std::future::pending()));
        tasks.spawn(background::count_mails(app()));
        tasks.spawn(background::count_failed_contacts(app()));
        let database = parts.database.clone();
        tasks.spawn(background::measure(metrics, database, authenticator()));
    }
    tasks
}

/// Starts the probe of readiness and the periodic jobs, which end when the drain begins.
fn start_rounds(parts: &Parts, readiness: &Readiness) -> JoinSet<()> {
    let app = || parts.app.clone();
    let mut rounds = JoinSet::new();
    rounds.spawn(background::probe(
        parts.database.clone(),
        app(),
        readiness.clone(),
    ));
    rounds.spawn(background::sweep_hourly(app()));
    rounds.spawn(background::retain_events(app(), parts.events_kept_for));
    rounds.spawn(app().place_events());
    rounds.spawn(background::clean(app()));
    rounds.spawn(background::see_to_deadlines(app()));
    rounds
}

/// What is served and done beside gRPC, and ends by itself when it is stopped.
fn start_companions(
    parts: &mut Parts,
    stopped: &watch::Receiver<()>,
) -> Result<JoinSet<()>, String> {
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.changed().await;
        }
    };
    let mut companions = JoinSet::new();
    if let Some(outbox) = parts.outbox.take() {
        companions.spawn(outbox.run(parts.app.mail_signal().clone(), stop()));
    }
    if let Some((listener, origin)) = parts.page.take() {
        let router = web::router(parts.app.clone(), origin)?;
        let limits = ListenerLimits::page(max_connections());
        companions.spawn(web::serve(listener, router, limits, stop()));
    }
    Ok(companions)
}
