//! `healthcheck`: checks if the server on this machine is ready.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use contact_service::{config::Config, server::SERVICE_NAME};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::cli::startup_error::StartupError;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Checks gRPC health at `LISTEN_ADDR`. With TLS it checks `/readyz` at `METRICS_ADDR` instead,
/// because the certificate is not issued for the loopback address.
pub(crate) async fn healthcheck(config: &Config) -> Result<(), StartupError> {
    if config.tls.is_none() {
        let address = on_this_machine(config.listen_addr);
        return in_time(address, check_grpc(address)).await;
    }
    let address = config.metrics_addr.ok_or_else(|| {
        let reason = "must not be none when TLS_CERT is set: readiness is checked there";
        StartupError::setting("METRICS_ADDR", reason)
    })?;
    let address = on_this_machine(address);
    in_time(address, check_http(address)).await
}

async fn in_time(
    address: SocketAddr,
    check: impl Future<Output = Result<(), StartupError>>,
) -> Result<(), StartupError> {
    tokio::time::timeout(TIMEOUT, check)
        .await
        .unwrap_or(Err(StartupError::NoAnswer(address)))
}

/// Replaces an unspecified address, such as 0.0.0.0, by the loopback address.
pub(crate) fn on_this_machine(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

async fn check_grpc(address: SocketAddr) -> Result<(), StartupError> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| StartupError::Library(error.to_string()))?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|_| StartupError::NoServer(address))?;
    let service = SERVICE_NAME.to_owned();
    let response = HealthClient::new(channel)
        .check(HealthCheckRequest { service })
        .await
        .map_err(|status| StartupError::HealthCheck(status.code().to_string()))?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        ServingStatus::NotServing | ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            Err(StartupError::NotReady)
        }
    }
}

async fn check_http(address: SocketAddr) -> Result<(), StartupError> {
    let response = reqwest::get(format!("http://{address}/readyz")).await;
    let response = response.map_err(|_| StartupError::NoServer(address))?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(StartupError::NotReady)
    }
}
