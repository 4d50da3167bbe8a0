//! The export of spans, with a warning if the collector is unavailable: the SDK drops failed spans
//! silently.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

use crate::{config::Collector, error::connection_cause};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Exports by OTLP, and logs when the export starts to fail and when it recovers.
#[derive(Debug)]
pub(super) struct WatchedExporter {
    inner: OtlpExporter,
    collector: Collector,
    fails: AtomicBool,
}

impl WatchedExporter {
    pub(super) const fn new(inner: OtlpExporter, collector: Collector) -> Self {
        Self {
            inner,
            collector,
            fails: AtomicBool::new(false),
        }
    }

    fn report(&self, fails: bool) {
        if self.fails.swap(fails, Ordering::Relaxed) == fails {
            return;
        }
        let collector = format!("{}:{}", self.collector.host, self.collector.port);
        if fails {
            let cause = match self.connect() {
                Ok(()) => "rejected by the collector".to_owned(),
                Err(error) => connection_cause(&error),
            };
            tracing::warn!(collector, cause, "spans are lost: export failed");
        } else {
            tracing::info!(collector, "export of spans recovered");
        }
    }

    /// Connects to find the cause of a failure. The export has a thread of its own, which may block.
    fn connect(&self) -> io::Result<()> {
        let host = self.collector.host.trim_matches(['[', ']']);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host, self.collector.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl SpanExporter for WatchedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.inner.export(batch).await;
        self.report(exported.is_err());
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
