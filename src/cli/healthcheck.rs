//! The command `healthcheck`: whether the server on this machine is ready.

use std::{net::SocketAddr, time::Duration};

use contact_service::{config::Config, server::SERVICE_NAME};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks by gRPC, or where that is served with TLS, whose certificate is for other names than
/// this machine's, at `METRICS_ADDR`.
///
/// # Errors
/// A line that says what is amiss.
pub(crate) async fn healthcheck(config: &Config) -> Result<(), String> {
    let (address, ask) = match (&config.tls, config.metrics_addr) {
        (None, _) => {
            let address = on_this_machine(config.listen_addr);
            (address, futures::future::Either::Left(ask_grpc(address)))
        }
        (Some(_), Some(address)) => {
            let address = on_this_machine(address);
            (address, futures::future::Either::Right(ask_http(address)))
        }
        (Some(_), None) => {
            return Err("METRICS_ADDR: is where to ask when TLS_CERT is set, and is none".into());
        }
    };
    tokio::time::timeout(TIMEOUT, ask)
        .await
        .unwrap_or_else(|_| Err(format!("no answer from {address} in time")))
}

fn on_this_machine(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

fn nothing_answers(address: SocketAddr) -> String {
    format!("nothing answers on {address}")
}

async fn ask_grpc(address: SocketAddr) -> Result<(), String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|_| nothing_answers(address))?;
    let service = SERVICE_NAME.to_owned();
    let response = HealthClient::new(channel)
        .check(HealthCheckRequest { service })
        .await
        .map_err(|status| format!("not ready: {}", status.code()))?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        ServingStatus::NotServing | ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            Err("not ready".to_owned())
        }
    }
}

async fn ask_http(address: SocketAddr) -> Result<(), String> {
    let response = reqwest::get(format!("http://{address}/readyz")).await;
    let response = response.map_err(|_| nothing_answers(address))?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err("not ready".to_owned())
    }
}
