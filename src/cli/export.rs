//! `export`: everything on file about a customer, as JSON.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use contact_service::{
    api,
    app::App,
    config::Config,
    domain::{audit::Actor, ids::CustomerNumber},
    error::Error,
    observability::logging,
};

use crate::cli::{
    atomic_file::AtomicFile,
    bootstrap::{app_without_keys, connect_existing},
    startup_error::StartupError,
};

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct ExportCustomer {
    /// The customer's number
    customer_number: String,
    /// Write to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportCustomer {
    /// Writes the export. The arguments are checked and the file is created before the audit log
    /// records an export, so that it records none that cannot be written.
    pub(crate) async fn run(&self, config: &Config) -> Result<(), StartupError> {
        config.database_url()?;
        let number = CustomerNumber::parse(&self.customer_number).map_err(|violation| {
            StartupError::setting("<CUSTOMER_NUMBER>", violation.to_string())
        })?;
        let output = self.output.as_deref();
        let file = output.map(AtomicFile::create_output).transpose()?;
        let _telemetry = logging::start(config)?;
        let database = connect_existing(config).await?;
        let app = app_without_keys(config, &database)?;
        let written = self.write(&app, number, file).await;
        database.close().await;
        written
    }

    async fn write(
        &self,
        app: &App,
        number: CustomerNumber,
        file: Option<AtomicFile>,
    ) -> Result<(), StartupError> {
        let export = app.export_customer(&Actor::command_line(), number).await;
        let export = export.map_err(|error| {
            if error == Error::CustomerNotFound {
                StartupError::setting("<CUSTOMER_NUMBER>", "is not on file")
            } else {
                error.into()
            }
        })?;
        let json = api::export_as_json(export)?;
        let Some((path, file)) = self.output.as_ref().zip(file) else {
            let written = writeln!(io::stdout(), "{json}");
            return written.map_err(|error| StartupError::Output {
                output: "export",
                reason: error.to_string(),
            });
        };
        writeln!(file.file(), "{json}")
            .and_then(|()| file.commit())
            .map_err(|error| StartupError::unwritable(path, &error))
    }
}
