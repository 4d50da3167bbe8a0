//! The export of spans, with a warning when the collector is away. The SDK drops what fails
//! without a word.

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

use crate::error::connection_cause;

const PATIENCE: Duration = Duration::from_secs(3);

/// Exports by OTLP, and logs when that begins to fail and when it works again.
#[derive(Debug)]
pub(super) struct WatchedExporter {
    inner: OtlpExporter,
    host: String,
    port: u16,
    fails: AtomicBool,
}

impl WatchedExporter {
    pub(super) const fn new(inner: OtlpExporter, host: String, port: u16) -> Self {
        Self {
            inner,
            host,
            port,
            fails: AtomicBool::new(false),
        }
    }

    fn report(&self, fails: bool) {
        if self.fails.swap(fails, Ordering::Relaxed) == fails {
            return;
        }
        let collector = format!("{}:{}", self.host, self.port);
        if fails {
            let cause = match self.connect() {
                Ok(()) => "it does not take them".to_owned(),
                Err(error) => connection_cause(&error),
            };
            tracing::warn!(
                collector,
                cause,
                "spans are lost: they could not be exported"
            );
        } else {
            tracing::info!(collector, "spans are exported again");
        }
    }

    /// Spans are exported from a thread of their own, which may wait.
    fn connect(&self) -> io::Result<()> {
        let host = self.host.trim_matches(['[', ']']);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
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
