//! Logs and traces: lines for people or for programs, spans for a collector, never with
//! personal data.

mod export;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use self::export::WatchedExporter;
use crate::{
    call_trace,
    config::{Config, LogFormat, WrongSetting},
};

const SERVICE: &str = "contact-service";
/// A collector that is away must not hold up the end.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// What was started, and has to be ended so that nothing of it is lost.
#[derive(Debug)]
#[must_use = "spans that are not exported when the process ends are lost"]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Exports the spans that still wait.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
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
    let lines = match config.log_format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    let provider = config.trace_endpoint.as_deref().map(provider).transpose()?;
    // The filters stand beside the lines, not in them: filters of one layer forget a
    // line of ours whenever a library (sqlx does) only asks whether it may log.
    let all = tracing_subscriber::registry()
        .with(lines)
        .with(provider.as_ref().map(spans))
        .with(filter)
        .with(filter_fn(may_be_logged));
    // A second start in one process, as tests make it, keeps the first.
    if all.try_init().is_ok() && provider.is_some() {
        call_trace::are_exported();
    }
    Ok(Telemetry(provider))
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
        .with_filter(filter_fn(is_ours))
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
