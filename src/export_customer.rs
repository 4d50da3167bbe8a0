//! `export N`: everything on file about a customer, as JSON.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use contact_service::{
    api,
    app::App,
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Invalid},
};

/// What the command takes.
#[derive(Debug, Args)]
pub(crate) struct ExportCustomer {
    /// The customer's number
    customer_number: String,
    /// Where it goes, instead of the standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

impl ExportCustomer {
    /// The customer, before anything is opened.
    ///
    /// # Errors
    /// A line that says what is wrong with it.
    pub(crate) fn number(&self) -> Result<CustomerNumber, String> {
        CustomerNumber::parse(&self.customer_number)
            .map_err(|Invalid(why)| format!("<CUSTOMER_NUMBER>: {why}"))
    }

    /// # Errors
    /// A line that says why it cannot be given out.
    pub(crate) async fn run(&self, app: &App) -> Result<(), String> {
        let export = app
            .export_customer(&Actor::command_line(), self.number()?)
            .await
            .map_err(|error| {
                if error == Error::CustomerNotFound {
                    "<CUSTOMER_NUMBER>: is not on file".to_owned()
                } else {
                    error.to_string()
                }
            })?;
        let json = api::export_as_json(export).map_err(|error| error.to_string())?;
        let Some(path) = &self.output else {
            let written = writeln!(io::stdout(), "{json}");
            return written.map_err(|error| format!("the export cannot be written: {error}"));
        };
        write(path, &json)
            .map_err(|error| format!("{} cannot be written: {}", path.display(), error.kind()))
    }
}

/// For its owner only, and under its name when it is whole.
fn write(path: &Path, json: &str) -> io::Result<()> {
    let mut first = path.as_os_str().to_owned();
    first.push(".part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&first)?;
    writeln!(file, "{json}")?;
    file.sync_all()?;
    fs::rename(&first, path)
}
