//! The results as CSV or JSON lines. A file appears under its name only when it is complete.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    format::{OutputFormat, Record},
    partial_file::PartialFile,
};
use crate::cli::{atomic_file::AtomicFile, startup_error::StartupError};

/// The file or stream of the results.
pub(super) enum Target {
    Stdout,
    /// A file that cannot be resumed.
    Atomic(AtomicFile, PathBuf),
    /// A file that can be resumed, and is continued at its end.
    Partial(PartialFile),
}

impl Target {
    /// Opens standard output, or a file that replaces `path` once it is complete.
    pub(super) fn create(path: Option<&Path>) -> Result<Self, StartupError> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        let file = AtomicFile::create_output(path)?;
        Ok(Self::Atomic(file, path.to_owned()))
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>, StartupError> {
        let (file, path): (&File, &Path) = match self {
            Self::Stdout => return Ok(Box::new(io::stdout())),
            Self::Atomic(file, path) => (file.file(), path),
            Self::Partial(file) => (file.file(), file.path()),
        };
        let writer = file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        });
        let writer = writer.map_err(|error| StartupError::unwritable(path, &error))?;
        Ok(Box::new(writer))
    }
}

/// The writer of the results.
pub(super) struct Output {
    // Dropped, and thereby flushed, before the target: it removes a partial file that is empty.
    writer: Writer,
    target: Target,
    has_header: bool,
}

enum Writer {
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
    Jsonl(BufWriter<Box<dyn Write + Send>>),
}

impl Output {
    /// Writes to a target; a file that is continued has its header.
    pub(super) fn new(target: Target, format: OutputFormat) -> Result<Self, StartupError> {
        let stream = target.writer()?;
        let writer = match format {
            OutputFormat::Csv => Writer::Csv(Box::new(
                csv::WriterBuilder::new()
                    .has_headers(false)
                    .from_writer(stream),
            )),
            OutputFormat::Jsonl => Writer::Jsonl(BufWriter::new(stream)),
        };
        let has_header = matches!(&target, Target::Partial(file) if !file.is_empty());
        Ok(Self {
            writer,
            target,
            has_header,
        })
    }

    /// Writes one record.
    pub(super) fn write<R: Record>(&mut self, record: &R) -> Result<(), StartupError> {
        self.write_header::<R>()?;
        match &mut self.writer {
            Writer::Csv(csv) => csv
                .serialize(record.to_csv())
                .map_err(|error| error.to_string()),
            Writer::Jsonl(lines) => {
                let written = serde_json::to_writer(&mut *lines, record).map_err(io::Error::from);
                let written = written.and_then(|()| lines.write_all(b"\n"));
                written.map_err(|error| error.to_string())
            }
        }
        .map_err(failed)
    }

    /// Writes the header of CSV, unless it is there already.
    pub(super) fn write_header<R: Record>(&mut self) -> Result<(), StartupError> {
        if self.has_header {
            return Ok(());
        }
        self.has_header = true;
        match &mut self.writer {
            Writer::Csv(csv) => csv
                .write_record(R::COLUMNS)
                .map_err(|error| failed(error.to_string())),
            Writer::Jsonl(_) => Ok(()),
        }
    }

    /// Hands the records over to the operating system, so that they outlive a killed process.
    pub(super) fn flush(&mut self) -> Result<(), StartupError> {
        let flushed = match &mut self.writer {
            Writer::Csv(csv) => csv.flush(),
            Writer::Jsonl(lines) => lines.flush(),
        };
        flushed.map_err(|error| failed(error.to_string()))
    }

    /// Flushes the results, and commits the file.
    pub(super) fn finish(mut self) -> Result<(), StartupError> {
        self.flush()?;
        match self.target {
            Target::Stdout => Ok(()),
            Target::Atomic(file, path) => file
                .commit()
                .map_err(|error| StartupError::unwritable(&path, &error)),
            Target::Partial(file) => file.commit(),
        }
    }

    /// Adds to an error of the run that another can continue it, if its file has rows.
    pub(super) fn with_hint(mut self, error: StartupError) -> StartupError {
        // Rows that cannot be written are resolved again.
        let _ = self.flush();
        if let Target::Partial(file) = &self.target
            && !file.is_empty()
        {
            return StartupError::Resumable {
                error: Box::new(error),
                partial: file.path().to_owned(),
            };
        }
        error
    }
}

fn failed(reason: String) -> StartupError {
    StartupError::Output {
        output: "results",
        reason,
    }
}
