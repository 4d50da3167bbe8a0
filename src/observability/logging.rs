//! Logs and traces: lines for people or for programs, spans for a collector, never with
//! personal data.
//!
//! Logging never waits for its reader: lines go to a bounded queue, which a thread of its own
//! writes to standard error, and are dropped and counted while it is full.

mod export;

use std::{
    io::{self, IsTerminal},
    panic,
    sync::mpsc,
    thread,
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use self::export::WatchedExporter;
use crate::{
    config::{Config, LogFormat, WrongSetting},
    observability::{metrics, rpc_span},
};

const SERVICE: &str = "contact-service";
/// The target of lines that name who was denied, which is for no collector of traces.
const SECURITY: &str = "contact_service::security";
/// A collector that is away must not hold up the end.
const LAST_EXPORT: Duration = Duration::from_secs(3);
/// Nor must a reader that takes no lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How many lines wait for the reader; one has some 200 bytes, and few have more than 1,000.
const MAX_WAITING_LINES: usize = 4096;

/// What was started, and has to be ended so that nothing of it is lost.
#[derive(Debug)]
#[must_use = "lines and spans that wait when the process ends are lost"]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
    /// Flushed when it is dropped, after the spans.
    _lines: LogLines,
}

/// The thread that writes log lines.
#[derive(Debug)]
struct LogLines(Option<WorkerGuard>);

impl Drop for LogLines {
    fn drop(&mut self) {
        // The guard waits for its thread, and prints when that takes too long: which waits as well.
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
    /// Exports the spans that still wait, and writes the lines.
    pub async fn end(self) {
        let Some(provider) = self.spans else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_EXPORT));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be exported");
        }
    }
}

/// Starts logging to standard error, and exporting spans where a collector is named. Asks for
/// a tokio runtime.
///
/// # Errors
/// [`WrongSetting`] for a filter that cannot be read, or a collector that cannot be used.
pub fn start(config: &Config) -> Result<Telemetry, WrongSetting> {
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|_| {
        let why = "must be a level, such as info, or a list such as warn,contact_service=debug";
        WrongSetting::new("RUST_LOG", why)
    })?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .finish(io::stderr());
    let dropped = writer.error_counter();
    let provider = config.trace_endpoint.as_deref().map(provider).transpose()?;
    // The filters stand beside the lines, not in them: filters of one layer forget a
    // line of ours whenever a library (sqlx does) only asks whether it may log.
    let all = tracing_subscriber::registry()
        .with(lines(config.log_format, writer))
        .with(provider.as_ref().map(spans))
        .with(filter)
        .with(filter_fn(may_be_logged));
    // A second start in one process, as tests make it, keeps the first.
    if all.try_init().is_ok() {
        metrics::count_dropped_log_lines(move || dropped.dropped_lines());
        log_panics();
        if provider.is_some() {
            rpc_span::are_exported();
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

/// The default hook writes to standard error itself, and so waits for its reader.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let cause = panic.payload_as_str();
        tracing::error!(location, cause, "panicked");
    }));
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, WrongSetting> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|_| {
            WrongSetting::new(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "no exporter can be made for it",
            )
        })?;
    // It was judged as a setting: it has a host.
    let url = url::Url::parse(endpoint).ok();
    let host = url
        .as_ref()
        .and_then(url::Url::host_str)
        .unwrap_or_default();
    let host = host.to_owned();
    let port = url
        .and_then(|url| url.port_or_known_default())
        .unwrap_or_default();
    let resource = Resource::builder()
        .with_service_name(SERVICE)
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(WatchedExporter::new(exporter, host, port))
        .with_resource(resource.build())
        .build())
}

fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_location(false)
        .with_threads(false)
        .with_filter(filter_fn(|metadata| {
            is_ours(metadata) && metadata.target() != SECURITY
        }))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("contact_service")
}

/// Libraries log frames, statements, and even phone numbers at their finer levels,
/// and PostgreSQL's notices quote rows: of those only the coarser levels pass,
/// whatever the filter says.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_notice = metadata.target().starts_with("sqlx::postgres::notice");
    is_ours(metadata) || (*metadata.level() <= Level::INFO && !is_notice)
}
