//! The line by which tests of consumers find their server.

use std::net::SocketAddr;

use contact_service::config::Config;
use serde::Serialize;

use crate::cli::{demo::mint_token, startup_error::StartupError};

/// The line on standard output, by which tests find the server.
#[derive(Serialize)]
struct Started<'a> {
    /// Host and port of gRPC.
    grpc: SocketAddr,
    /// The base of URLs of RPCs in JSON.
    http: String,
    /// Host and port of the confirmation page.
    page: Option<SocketAddr>,
    /// A token with all scopes for all customers, valid for 12 hours.
    token: &'a str,
    /// The folder that is deleted when the server ends: database, keys and mails.
    data_dir: &'a str,
}

/// Prints the line that says that the server listens.
pub(super) fn print_started(
    config: &Config,
    grpc: SocketAddr,
    page: Option<SocketAddr>,
) -> Result<(), StartupError> {
    let started = Started {
        grpc,
        http: format!("http://{grpc}"),
        page,
        token: &mint_token(config)?,
        data_dir: &config.data_dir.to_string_lossy(),
    };
    let line = serde_json::to_string(&started);
    let line = line.map_err(|error| StartupError::Library(error.to_string()))?;
    println!("{line}");
    Ok(())
}
