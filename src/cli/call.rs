//! `call`: calls one RPC of a running server.

use std::io::{ErrorKind, Read, Result as IoResult, Write, stdout};

use clap::Args;
use contact_service::{
    api::client::{RpcCall, list_rpcs},
    config::Config,
};

use crate::cli::{healthcheck::on_this_machine, startup_error::StartupError, token::MintToken};

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct CallRpc {
    /// The RPC, such as `GetCustomer`
    #[arg(value_name = "RPC", required_unless_present = "list")]
    rpc: Option<String>,
    /// The request in JSON, or - for standard input; of a stream, any number of messages
    #[arg(value_name = "JSON", default_value = "{}", hide_default_value = true)]
    request: String,
    /// The server; default: the one on this machine at `LISTEN_ADDR`
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The access token; default: one of the development key, with all scopes
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CONTACT_SERVICE_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// List the RPCs with their scopes and the fields of their requests
    #[arg(long, conflicts_with = "rpc")]
    list: bool,
}

impl CallRpc {
    /// Calls the RPC and prints its response; each message of a stream is a line.
    pub(crate) async fn run(&self, config: &Config) -> Result<(), StartupError> {
        let Some(rpc) = &self.rpc else {
            for [rpc, scope, fields] in list_rpcs() {
                println!("{rpc:28}{scope:24}{fields}");
            }
            return Ok(());
        };
        let call = RpcCall::new(rpc, &self.request()?).ok_or_else(|| {
            let reason = format!("no RPC has the name {rpc}: see contact-service call --list");
            StartupError::setting("RPC", reason)
        })?;
        let call = call.map_err(StartupError::Library)?;
        let token = match &self.token {
            Some(token) if !token.trim().is_empty() => token.trim().to_owned(),
            Some(_) | None => mint_token(config)?,
        };
        let default = || format!("http://{}", on_this_machine(config.listen_addr));
        let server = self.server.clone().unwrap_or_else(default);
        let mut printed = Ok(());
        let print = |message: &str| {
            printed = print_line(message);
            printed.is_ok()
        };
        let called = call.send(&server, &token, print).await;
        called.map_err(StartupError::Library)?;
        match printed {
            // The reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            printed => Ok(printed?),
        }
    }

    fn request(&self) -> Result<String, StartupError> {
        if self.request != "-" {
            return Ok(self.request.clone());
        }
        let mut request = String::new();
        std::io::stdin().read_to_string(&mut request)?;
        Ok(request)
    }
}

fn print_line(line: &str) -> IoResult<()> {
    let mut output = stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn mint_token(config: &Config) -> Result<String, StartupError> {
    MintToken::with_all_scopes("5m")
        .mint(config)
        .map_err(|error| {
            let reason = format!("is not set, and none can be minted here: {error}");
            StartupError::setting("CONTACT_SERVICE_TOKEN", reason)
        })
}
