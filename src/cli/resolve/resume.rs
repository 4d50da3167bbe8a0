//! Reads the rows of an interrupted run, so that another continues after them.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::{
    format::{OutputFormat, Record},
    partial_file::{PartialFile, unusable},
    purpose::PurposeArg,
    row::Row,
};
use crate::cli::startup_error::StartupError;

/// Reads the rows of all complete customers, hands them to `add` customer by customer, and cuts
/// off the rest: an incomplete line, and a customer that lacks a purpose. Returns the last customer.
pub(super) fn replay(
    file: &PartialFile,
    format: OutputFormat,
    purposes: &[PurposeArg],
    mut add: impl FnMut(Vec<Row>) -> Result<(), StartupError>,
) -> Result<Option<String>, StartupError> {
    let unreadable = |error: io::Error| StartupError::unreadable(file.path(), &error);
    let mut lines = CompleteLines {
        reader: BufReader::new(file.file()),
        path: file.path(),
        count: 0,
        length: 0,
    };
    let mut last = None;
    let mut complete = 0;
    let mut rows: Vec<Row> = Vec::with_capacity(purposes.len());
    if format == OutputFormat::Csv
        && let Some(header) = lines.next()?
        && header != csv_header()
    {
        return Err(lines.damaged());
    }
    while let Some(line) = lines.next()? {
        let row = Row::parse(&line, format).ok_or_else(|| lines.damaged())?;
        let is_next = purposes.get(rows.len()) == Some(&row.purpose);
        let mut others = rows.iter();
        if !is_next || others.any(|other| other.customer_number != row.customer_number) {
            return Err(lines.damaged());
        }
        rows.push(row);
        if rows.len() == purposes.len() {
            last = rows.first().map(|row| row.customer_number.clone());
            complete = lines.length;
            add(std::mem::take(&mut rows))?;
        }
    }
    file.file().set_len(complete).map_err(unreadable)?;
    Ok(last)
}

fn csv_header() -> Vec<u8> {
    format!("{}\n", Row::COLUMNS.join(",")).into_bytes()
}

/// The lines of a partial file. In CSV as well a row is a line: a value with a line feed is none of
/// a single-line name, and a line of the file of customer numbers has none.
struct CompleteLines<'a, R> {
    reader: R,
    path: &'a Path,
    /// The number of lines so far, and their length in bytes.
    count: u64,
    length: u64,
}

impl<R: BufRead> CompleteLines<'_, R> {
    /// Returns the next line with its line feed; `None`: the end, or a line that lacks one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, StartupError> {
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line);
        let read = read.map_err(|error| StartupError::unreadable(self.path, &error))?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        self.count += 1;
        self.length += read as u64;
        Ok(Some(line))
    }

    fn damaged(&self) -> StartupError {
        let reason = format!(
            "cannot be continued: line {} is not one of this run; delete the file",
            self.count
        );
        unusable(self.path, reason)
    }
}
