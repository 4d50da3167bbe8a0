//! TLS to the mail server, and the names of its failures.

use std::{io, sync::Arc};

use rustls::{CertificateError, ClientConfig, Error as TlsError, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::failure;
use crate::mail::send_error::SendError;

/// Encrypts connections, with the certificate authorities that the system trusts.
pub(super) struct Encryptor {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Encryptor {
    /// Creates an encryptor for the server `host`.
    ///
    /// # Errors
    /// The cause why TLS cannot be set up, in one line.
    pub(super) fn new(host: &str) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| "TLS cannot be set up: the host is not a name for certificates")?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    pub(super) async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<TlsStream<S>, SendError> {
        let connecting = self.connector.connect(self.name.clone(), stream);
        connecting
            .await
            .map_err(|error| failure::tls(describe(&error)))
    }
}

/// Names the failure of a handshake, without text of the server.
fn describe(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(TlsError::InvalidCertificate(error)) => describe_certificate(error),
        Some(TlsError::NoCertificatesPresented) => "the server has no certificate",
        Some(TlsError::InvalidMessage(_)) => "the server does not speak TLS here",
        Some(_) => "handshake failed",
        None => "connection lost in the handshake",
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is open: unknown variants get the general name"
)]
fn describe_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not yet valid"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate is for another name"
        }
        CertificateError::Revoked => "certificate revoked",
        // `Other` is the error of webpki for a self-signed certificate that is its own authority.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Other(_) => "certificate not trusted",
        _ => "certificate not acceptable",
    }
}
