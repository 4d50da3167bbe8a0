//! The TLS configuration of the gRPC port, reloaded when its files change.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use x509_cert::{Certificate, der::Decode};

use crate::{error::file_cause, observability::metrics};

/// Short enough: certificates are renewed days before they expire.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The files of the TLS configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain (PEM).
    pub cert: PathBuf,
    /// The private key of the certificate (PEM).
    pub key: PathBuf,
    /// The certificate authorities of client certificates (PEM); `None` requires no client
    /// certificate.
    pub client_ca: Option<PathBuf>,
}

/// The current TLS configuration. Clones share it.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    loaded: Arc<ArcSwap<LoadedTls>>,
}

struct LoadedTls {
    contents: Contents,
    config: Arc<ServerConfig>,
    /// The earliest end of the validity of the chain, since the Unix epoch; `None` if it cannot be read.
    expiry: Option<Duration>,
}

/// The contents of the certificate, key and authority files.
type Contents = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// Prints nothing, because it holds a private key.
impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls(…)")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One line with the setting, the file and the cause, without content of the file.
    pub fn load(files: TlsFiles) -> Result<Self, String> {
        let loaded = read(&files)?;
        Ok(Self {
            files,
            loaded: Arc::new(ArcSwap::from_pointee(loaded)),
        })
    }

    /// Returns the earliest end of the validity of the certificate chain, since the Unix epoch; `None` if
    /// it cannot be read.
    pub fn expiry(&self) -> Option<Duration> {
        self.loaded.load().expiry
    }

    /// Returns an acceptor with the current configuration.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded.load().config))
    }

    /// Reloads the files whenever they change. Files that cannot be read, as during a write, leave
    /// the current configuration in place.
    pub(super) async fn watch_files(self) {
        let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_failure = None;
        metrics::certificate_expiry(self.loaded.load().expiry);
        loop {
            ticks.tick().await;
            let tls = self.clone();
            let Ok(reloaded) = tokio::task::spawn_blocking(move || tls.reload()).await else {
                continue;
            };
            match reloaded {
                Ok(true) => {
                    metrics::certificate_expiry(self.loaded.load().expiry);
                    tracing::info!("TLS files reloaded");
                }
                Ok(false) => last_failure = None,
                Err(error) => {
                    if last_failure.as_ref() != Some(&error) {
                        tracing::error!(error, "reload of TLS files failed: previous files in use");
                    }
                    last_failure = Some(error);
                }
            }
        }
    }

    /// Reloads the files if they changed; returns true if they did.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    fn reload(&self) -> Result<bool, String> {
        if contents(&self.files)? == self.loaded.load().contents {
            return Ok(false);
        }
        self.loaded.store(Arc::new(read(&self.files)?));
        Ok(true)
    }
}

fn contents(files: &TlsFiles) -> Result<Contents, String> {
    let client_ca = files.client_ca.as_ref();
    Ok((
        content("TLS_CERT", &files.cert)?,
        content("TLS_KEY", &files.key)?,
        client_ca
            .map(|file| content("TLS_CLIENT_CA", file))
            .transpose()?,
    ))
}

fn content(setting: &str, file: &PathBuf) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| {
        format!(
            "{setting}: {} cannot be read: {}",
            file.display(),
            file_cause(&error)
        )
    };
    fs::read(file).map_err(failed)
}

fn read(files: &TlsFiles) -> Result<LoadedTls, String> {
    let contents = contents(files)?;
    let (cert, key, client_ca) = &contents;
    let chain = certificates("TLS_CERT", cert)?;
    let expiry = chain.iter().filter_map(end_of_validity).min();
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "TLS_KEY: contains no private key in PEM format".to_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = match client_ca {
        Some(client_ca) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("TLS_CLIENT_CA", client_ca)? {
                roots
                    .add(authority)
                    .map_err(|error| format!("TLS_CLIENT_CA: {error}"))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| format!("TLS_CLIENT_CA: {error}"))?,
            )
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("TLS_KEY: does not match TLS_CERT: {error}"))?;
    // A client of HTTP/1.1 is served where JSON over HTTP is on, and else disconnected.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(LoadedTls {
        contents,
        expiry,
        config: Arc::new(config),
    })
}

fn end_of_validity(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(validity.not_after.to_unix_duration())
}

fn certificates(setting: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| format!("{setting}: contains no certificate in PEM format"))
}
