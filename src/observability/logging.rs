//! Logs and traces: lines in text or JSON, and spans for a collector, without personal data.
//!
//! Logging never blocks: lines go to a bounded queue, which a thread writes to standard error, and
//! are dropped and counted while it is full.

mod export;

use std::{
    io::{self, IsTerminal},
    panic,
    sync::mpsc,
    thread,
    time::Duration,
};

use opentelemetry::{Key, KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig, tonic_types::transport::ClientTlsConfig};
use opentelemetry_sdk::{
    Resource,
    resource::{
        EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector,
        TelemetryResourceDetector,
    },
    trace::SdkTracerProvider,
};
use tracing::{Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use self::export::WatchedExporter;
use crate::{
    config::{Collector, Config, ConfigError, LogFormat},
    observability::{metrics, rpc_span},
};

const SERVICE: &str = "contact-service";
const SERVICE_NAME: Key = Key::from_static_str("service.name");
/// The beginning of the SDK's name of a service without one.
const NO_NAME: &str = "unknown_service";
/// The target of lines with the subject of a denied request, which are not exported as traces.
const SECURITY: &str = "contact_service::security";
/// Limit of the last export at shutdown.
const LAST_EXPORT: Duration = Duration::from_secs(3);
/// Limit of the last log lines at shutdown.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Lines in the queue; most have about 200 bytes, few more than 1,000.
const MAX_WAITING_LINES: usize = 4096;

/// The running logger and exporter. End it at shutdown, so that nothing is lost.
#[derive(Debug)]
#[must_use = "queued lines and spans are lost unless it is ended"]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
    /// Flushed on drop, after the spans.
    _lines: LogLines,
}

/// The thread that writes log lines.
#[derive(Debug)]
struct LogLines(Option<WorkerGuard>);

impl Drop for LogLines {
    fn drop(&mut self) {
        // The guard waits for its thread, and prints if that takes too long, which blocks as well.
        let guard = self.0.take();
        let (flushed, is_flushed) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(guard);
            drop(flushed);
        });
        let _ = is_flushed.recv_timeout(LAST_LINES);
    }
}

impl Telemetry {
    /// Exports the queued spans, and writes the queued lines.
    pub async fn end(self) {
        let Some(provider) = self.spans else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_EXPORT));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("failed to export the last spans");
        }
    }
}

/// Starts logging to standard error, and the export of spans if a collector is configured. Requires a
/// tokio runtime.
///
/// # Errors
/// [`ConfigError`] for an invalid filter or collector.
pub fn start(config: &Config) -> Result<Telemetry, ConfigError> {
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|_| {
        let why = "must be a level, such as info, or a list such as warn,contact_service=debug";
        ConfigError::new("RUST_LOG", why)
    })?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .finish(io::stderr());
    let dropped = writer.error_counter();
    let provider = config.collector.as_ref().map(provider).transpose()?;
    // Global filters, because filters of a layer lose our next line after a library (sqlx) has queried
    // the enabled levels.
    let all = tracing_subscriber::registry()
        .with(lines(config.log_format, writer))
        .with(provider.as_ref().map(spans))
        .with(filter)
        .with(filter_fn(may_be_logged));
    // A second start in one process, as in tests, keeps the first.
    if all.try_init().is_ok() {
        metrics::count_dropped_log_lines(move || dropped.dropped_lines());
        log_panics();
        if let Some(provider) = &provider {
            rpc_span::enable_export(provider.tracer(SERVICE));
        }
    }
    Ok(Telemetry {
        spans: provider,
        _lines: LogLines(Some(guard)),
    })
}

fn lines<S>(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    }
}

/// Logs panics: the default hook writes to standard error itself, which can block.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let cause = panic.payload_as_str();
        tracing::error!(location, cause, "panicked");
    }));
}

/// The exporter and the SDK read their settings from the environment, which `config` validated.
fn provider(collector: &Collector) -> Result<SdkTracerProvider, ConfigError> {
    let mut exporter = SpanExporter::builder().with_tonic();
    if collector.has_tls {
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    let exporter = exporter.build().map_err(|error| {
        let why = format!("the exporter of traces rejects it: {error}");
        ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", why)
    })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(WatchedExporter::new(exporter, collector.clone()))
        .with_resource(resource())
        .build())
}

/// Returns the attributes of the environment, and defaults for those that it lacks.
fn resource() -> Resource {
    let name = SdkProvidedResourceDetector.detect().get(&SERVICE_NAME);
    let name = name.filter(|name| !name.as_str().starts_with(NO_NAME));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty()
        .with_attribute(version)
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ])
        .with_service_name(name.unwrap_or_else(|| SERVICE.into()))
        .build()
}

fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_location(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_filter(filter_fn(|metadata| {
            is_ours(metadata) && metadata.target() != SECURITY
        }))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("contact_service")
}

/// Rejects lines that may hold personal data, regardless of the filter: libraries log frames,
/// statements and even phone numbers at debug and trace, and notices of PostgreSQL quote rows.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_notice = metadata.target().starts_with("sqlx::postgres::notice");
    is_ours(metadata) || (*metadata.level() <= Level::INFO && !is_notice)
}
