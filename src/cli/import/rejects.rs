//! The rejected rows as a file next to the source, to be corrected and imported again.
//!
//! Each row is written byte for byte, so that it is rejected again until it is corrected. A file of
//! an earlier run may have been corrected already: it is renamed, never overwritten.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    columns::Column,
    encoding::SourceFile,
    rows::{Format, Row, Table, field_end},
    vcards,
};
use crate::cli::{atomic_file::AtomicFile, startup_error::StartupError};

const LINE_BREAK: &[u8] = b"\r\n";
#[cfg(unix)]
const READ_WRITE_BITS: u32 = 0o666;
#[cfg(unix)]
const OWNER_READ_WRITE: u32 = 0o600;

/// A rejected row and the reason.
pub(super) struct Reject<'s> {
    pub(super) row: &'s Row,
    pub(super) reason: String,
}

/// The file in progress.
pub(super) struct RejectsFile {
    path: PathBuf,
    file: AtomicFile,
}

/// The paths after an import.
pub(super) struct Written {
    pub(super) path: PathBuf,
    /// The new path of the file of an earlier run.
    pub(super) archived: Option<PathBuf>,
}

impl RejectsFile {
    /// Creates the file before any row is imported, so that the import does not fail at its end.
    /// Its permissions are those of the source, and its owner may always correct it.
    pub(super) fn create(source: &Path, format: &Format) -> Result<Self, StartupError> {
        let path = rejects_path(source, format);
        let create = || {
            let file = AtomicFile::create(&path)?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(source)?.permissions().mode();
                let mode = mode & READ_WRITE_BITS | OWNER_READ_WRITE;
                file.file()
                    .set_permissions(fs::Permissions::from_mode(mode))?;
            }
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| StartupError::unwritable(&path, &error))?;
        Ok(Self { path, file })
    }

    /// Writes the rows in the order of their lines, under the columns of the source; no file
    /// without any. The file of an earlier run is archived unless its content is the same.
    pub(super) fn finish(
        self,
        source: &SourceFile,
        table: &Table,
        rejects: &[Reject<'_>],
    ) -> Result<Written, StartupError> {
        let path = self.path.clone();
        let replaced = self.replace(source, table, rejects);
        let archived = replaced.map_err(|error| StartupError::unwritable(&path, &error))?;
        Ok(Written { path, archived })
    }

    fn replace(
        self,
        source: &SourceFile,
        table: &Table,
        rejects: &[Reject<'_>],
    ) -> io::Result<Option<PathBuf>> {
        if rejects.is_empty() {
            return archive_previous(&self.path);
        }
        let out = BufWriter::new(self.file.file());
        write(out, source, table, rejects)?;
        // The previous file is renamed only after the new one is safely on disk.
        self.file.file().sync_all()?;
        if has_same_content(self.file.path(), &self.path)? {
            return Ok(None);
        }
        let archived = archive_previous(&self.path)?;
        self.file.commit()?;
        Ok(archived)
    }
}

/// Returns `contacts.rejects.csv` for `contacts.csv`, and `contacts.txt.rejects.csv` for
/// `contacts.txt`.
fn rejects_path(path: &Path, format: &Format) -> PathBuf {
    let extension = match format {
        Format::Csv { .. } => "csv",
        Format::Vcards => "vcf",
    };
    let suffix = format!("rejects.{extension}");
    let own_extension = path.extension().unwrap_or_default();
    if own_extension.eq_ignore_ascii_case(extension) {
        return path.with_extension(suffix);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn has_same_content(new: &Path, old: &Path) -> io::Result<bool> {
    match fs::metadata(old) {
        Ok(found) if found.is_file() && found.len() == fs::metadata(new)?.len() => {
            Ok(fs::read(new)? == fs::read(old)?)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Renames an existing file to the first free name of `contacts.rejects.1.csv` and so on.
fn archive_previous(path: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut number = 1;
    let extension = path.extension().unwrap_or_default().to_owned();
    let free = loop {
        let mut numbered: OsString = number.to_string().into();
        numbered.push(".");
        numbered.push(&extension);
        let name = path.with_extension(numbered);
        // Created first, so that concurrent imports choose different names.
        match File::create_new(&name) {
            Ok(_) => break name,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    match fs::rename(path, &free) {
        Ok(()) => Ok(Some(free)),
        Err(error) => {
            let _ = fs::remove_file(&free);
            // A concurrent import has renamed it.
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            if is_gone { Ok(None) } else { Err(error) }
        }
    }
}

fn write(
    mut out: impl Write,
    source: &SourceFile,
    table: &Table,
    rejects: &[Reject<'_>],
) -> io::Result<()> {
    source.write_mark(&mut out, table.decoder)?;
    match &table.format {
        Format::Csv { delimiter, header } => {
            let delimiter = *delimiter;
            let header = raw(source, header);
            let skipped = reasons_end(table, header, delimiter);
            let annotation = cells(Column::Line.name(), Column::Reason.name(), delimiter);
            write_line(&mut out, source, &annotation, header.get(skipped..))?;
            for Reject { row, reason } in rejects {
                let bytes = raw(source, &row.raw);
                let skipped = reasons_end(table, bytes, delimiter);
                let reason = format!("\"{}\"", reason.replace('"', "\"\""));
                let annotation = cells(&row.line.to_string(), &reason, delimiter);
                write_line(&mut out, source, &annotation, bytes.get(skipped..))?;
            }
        }
        Format::Vcards => {
            for Reject { row, reason } in rejects {
                write_card(&mut out, source, row, reason)?;
            }
        }
    }
    out.flush()
}

fn cells(line: &str, reason: &str, delimiter: u8) -> String {
    let delimiter = char::from(delimiter);
    format!("{line}{delimiter}{reason}{delimiter}")
}

/// Writes a row after its line and reason. The reason is quoted and begins with a letter, so that it
/// cannot close a quote that an earlier row leaves open.
fn write_line(
    out: &mut impl Write,
    source: &SourceFile,
    annotation: &str,
    row: Option<&[u8]>,
) -> io::Result<()> {
    source.write(out, annotation.as_bytes())?;
    source.write(out, row.unwrap_or_default())?;
    source.write(out, LINE_BREAK)
}

/// Returns the end of the line and reason columns of an earlier run.
fn reasons_end(table: &Table, row: &[u8], delimiter: u8) -> usize {
    if !table.header.has_reasons {
        return 0;
    }
    let after = |start| {
        let end = field_end(row, start, delimiter)?;
        (row.get(end) == Some(&delimiter)).then_some(end + 1)
    };
    after(0).and_then(after).unwrap_or_default()
}

/// Writes a card with its line and reason as its first properties, or before text that is no card.
fn write_card(
    out: &mut impl Write,
    source: &SourceFile,
    row: &Row,
    reason: &str,
) -> io::Result<()> {
    let bytes = raw(source, &row.raw);
    let mut lines = vcards::with_line_breaks(bytes);
    let [mut line, mut cause] = vcards::ANNOTATIONS.map(<[u8]>::to_vec);
    line.extend(row.line.to_string().as_bytes());
    cause.extend(reason.as_bytes());
    let is_annotation = |line: &&[u8]| {
        vcards::ANNOTATIONS
            .iter()
            .any(|name| line.starts_with(name))
    };
    let first = lines.next().filter(|line| !is_annotation(line));
    let (begin, first) = if vcards::begins(first.unwrap_or_default()) {
        (first, None)
    } else {
        (None, first)
    };
    for text in begin
        .into_iter()
        .map(with_line_break)
        .chain([with_line_break(&line), with_line_break(&cause)])
    {
        source.write(out, &text)?;
    }
    let mut last: &[u8] = b"";
    for text in first
        .into_iter()
        .chain(lines.filter(|line| !is_annotation(line)))
    {
        source.write(out, text)?;
        last = text;
    }
    if last.ends_with(b"\n") || last.ends_with(b"\r") {
        return Ok(());
    }
    source.write(out, LINE_BREAK)
}

/// Returns the line with CR LF instead of trailing whitespace.
fn with_line_break(line: &[u8]) -> Vec<u8> {
    let mut text = line.trim_ascii_end().to_vec();
    text.extend(LINE_BREAK);
    text
}

fn raw<'s>(source: &'s SourceFile, range: &Range<usize>) -> &'s [u8] {
    source.bytes.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
