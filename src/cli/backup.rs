//! `backup`: copies an embedded database while it is in use.

use std::{io, path::PathBuf};

use clap::Args;
use contact_service::{config::Config, observability::logging};

use crate::cli::{
    atomic_file::AtomicFile,
    bootstrap::{connect_to_any_schema, wrong_database},
    startup_error::StartupError,
};

const ON_SERVER: &str = "backs up an embedded database only: use pg_dump, or pg_basebackup with an \
    archive of the write-ahead log, for PostgreSQL";

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct BackUp {
    /// The new file; an existing one is never replaced
    file: PathBuf,
}

impl BackUp {
    /// Writes the backup. The file gets its name when it is complete and on disk.
    pub(crate) async fn run(&self, config: &Config) -> Result<(), StartupError> {
        if !config.database_url()?.is_sqlite() {
            return Err(wrong_database(format!("this command {ON_SERVER}")));
        }
        self.check_target()?;
        let _telemetry = logging::start(config)?;
        let database = connect_to_any_schema(config).await?;
        let file = AtomicFile::create_output(&self.file)?;
        let path = file
            .path()
            .to_str()
            .ok_or_else(|| StartupError::setting("<FILE>", "must be a path in UTF-8"))?;
        let copied = database.back_up_into(path).await;
        database.close().await;
        copied.map_err(|reason| StartupError::Output {
            output: "backup",
            reason,
        })?;
        let unwritable = |error: io::Error| StartupError::unwritable(&self.file, &error);
        let size = file.file().metadata().map_err(unwritable)?.len();
        file.commit_new().map_err(unwritable)?;
        println!(
            "backed up the database to {}: {size} bytes",
            self.file.display()
        );
        Ok(())
    }

    fn check_target(&self) -> Result<(), StartupError> {
        match self.file.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StartupError::unwritable(&self.file, &error)),
            Ok(_) => {
                let error = io::ErrorKind::AlreadyExists.into();
                Err(StartupError::unwritable(&self.file, &error))
            }
        }
    }
}
