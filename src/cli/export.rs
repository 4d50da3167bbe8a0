//! `export N`: everything on file about a customer, as JSON.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use contact_service::{
    api,
    app::App,
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, Invalid},
};

use crate::cli::atomic_file::{PartFile, cannot};

/// What the command takes.
#[derive(Debug, Args)]
pub(crate) struct ExportCustomer {
    /// The customer's number
    customer_number: String,
    /// Where it goes, instead of the standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

/// A customer, and the file that is to take its export.
pub(crate) struct Begun {
    number: CustomerNumber,
    file: Option<PartFile>,
}

impl ExportCustomer {
    /// Looks at the customer's number and begins the file before anything is opened: where nothing
    /// can be given out, the trail must not say that it was.
    ///
    /// # Errors
    /// A line that says what is wrong with them.
    pub(crate) fn begin(&self) -> Result<Begun, String> {
        let number = CustomerNumber::parse(&self.customer_number)
            .map_err(|Invalid(why)| format!("<CUSTOMER_NUMBER>: {why}"))?;
        let file = self.output.as_deref().map(begin_file).transpose()?;
        Ok(Begun { number, file })
    }

    /// # Errors
    /// A line that says why it cannot be given out.
    pub(crate) async fn run(&self, app: &App, begun: Begun) -> Result<(), String> {
        let export = app
            .export_customer(&Actor::command_line(), begun.number)
            .await
            .map_err(|error| {
                if error == Error::CustomerNotFound {
                    "<CUSTOMER_NUMBER>: is not on file".to_owned()
                } else {
                    error.to_string()
                }
            })?;
        let json = api::export_as_json(export).map_err(|error| error.to_string())?;
        let Some((path, file)) = self.output.as_ref().zip(begun.file) else {
            let written = writeln!(io::stdout(), "{json}");
            return written.map_err(|error| format!("the export cannot be written: {error}"));
        };
        writeln!(file.file(), "{json}")
            .and_then(|()| file.finish())
            .map_err(|error| cannot("written", path, &error))
    }
}

fn begin_file(path: &Path) -> Result<PartFile, String> {
    let failed = |error: io::Error| cannot("written", path, &error);
    if path.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    PartFile::create(path).map_err(failed)
}
