//! The binary: parses the command line and dispatches.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

mod cli;

use std::process::ExitCode;

use crate::cli::{
    command_line::{Command, CommandLine},
    healthcheck::healthcheck,
    keys::keys,
    migrate::migrate,
    serve::{serve, serve_testing},
    startup_error::StartupError,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of an import that is complete except for rejected rows.
const EXIT_REJECTED_ROWS: u8 = 3;
/// The exit code of a run that held reports of failures.
const EXIT_HELD_REPORTS: u8 = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let _failpoints = fail::FailScenario::setup();
    match Box::pin(run(CommandLine::read())).await {
        Ok(code) => code,
        Err(error) => {
            error.print();
            ExitCode::FAILURE
        }
    }
}

async fn run(command_line: CommandLine) -> Result<ExitCode, StartupError> {
    let command = command_line.command.unwrap_or_default();
    if let Command::Serve {
        demo,
        testing: true,
    } = command
    {
        serve_testing(command_line.settings, demo).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = command_line.settings.validate()?;
    match command {
        Command::Serve { demo, .. } => serve(config, demo).await?,
        Command::Migrate { action } => migrate(&config, action).await?,
        Command::Call(call) => call.run(&config).await?,
        Command::Token(token) => println!("{}", token.mint(&config)?),
        Command::Resolve(resolve) => resolve.run(&config).await?,
        Command::ReportBounces(report) => {
            if report.run(&config).await? {
                return Ok(EXIT_HELD_REPORTS.into());
            }
        }
        Command::Export(export) => export.run(&config).await?,
        Command::Import(import) => {
            if import.run(&config).await? {
                return Ok(EXIT_REJECTED_ROWS.into());
            }
        }
        Command::Backup(backup) => backup.run(&config).await?,
        Command::Keys { action } => {
            if keys(&config, action).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::VerifyData(verify) => {
            if verify.run(&config).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Healthcheck => healthcheck(&config).await?,
    }
    Ok(ExitCode::SUCCESS)
}
