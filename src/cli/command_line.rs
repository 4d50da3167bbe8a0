//! The commands and their arguments, as clap parses them.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use contact_service::config::Settings;

use crate::cli::{
    backup::BackUp, call::CallRpc, export::ExportCustomer, help, import::ImportFile,
    keys::KeysAction, migrate::MigrateAction, report_bounces::ReportBounces, resolve::ResolveFile,
    token::MintToken, verify_data::VerifyData,
};

/// Contact persons of a hosting provider's customers and recipients of its messages, over gRPC
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve gRPC (the default); an embedded database is migrated first
    Serve {
        /// Load sample customers and print calls ready to paste
        #[arg(long)]
        demo: bool,
        /// Serve tests of consumers: temporary data, free ports, a clock to move, addresses and token as JSON
        #[arg(long)]
        testing: bool,
    },
    /// Migrate the schema of the database, or list its migrations
    Migrate {
        #[command(subcommand)]
        action: MigrateAction,
    },
    /// Call one RPC of a running server, with the request and the response in JSON
    Call(CallRpc),
    /// Mint an access token with the development key of a server on this machine
    Token(MintToken),
    /// Resolve the recipients for purposes, of the customers of a file or of all
    Resolve(ResolveFile),
    /// Report bounces of mails that other services sent
    ReportBounces(ReportBounces),
    /// Export everything on file about a customer as JSON
    Export(ExportCustomer),
    /// Import contacts from a CSV or vCard file
    Import(ImportFile),
    /// Back up an embedded database while it is in use
    Backup(BackUp),
    /// Check all stored data, without changing any
    VerifyData(VerifyData),
    /// List the versions of the keys
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Exit with 0 if the server on this machine is ready
    Healthcheck,
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve {
            demo: false,
            testing: false,
        }
    }
}

impl CommandLine {
    /// Parses the arguments of the process. Exits with a message if they are invalid, or after
    /// printing help.
    pub(crate) fn read() -> Self {
        let matches = help::with_sections(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}
