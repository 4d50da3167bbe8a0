//! The refused rows as a file beside the one that was read, to be corrected and taken again.
//! Somebody may have corrected the one of an earlier run: it is never written over.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use csv::{StringRecord, Terminator, WriterBuilder};

use super::{
    columns::Column,
    rows::{Row, Sheet},
};
use crate::command_files::{PartFile, cannot};

const EXTENSION: &str = "refused.csv";
#[cfg(unix)]
const ANY_READING_OR_WRITING: u32 = 0o666;
#[cfg(unix)]
const OWNER_READS_AND_WRITES: u32 = 0o600;
const UTF_8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A row, and why it is refused.
pub(super) struct Refused<'s> {
    pub(super) row: &'s Row,
    pub(super) reason: String,
}

/// The file, which appears under its name when it is whole.
pub(super) struct RefusedFile {
    path: PathBuf,
    part: PartFile,
}

/// What became of the file.
pub(super) struct Finished {
    pub(super) path: PathBuf,
    /// The name that the one of an earlier run has now.
    pub(super) earlier: Option<PathBuf>,
}

impl RefusedFile {
    /// Begins the file before anything is taken: it must not turn out at the end that it cannot
    /// be written. Whoever may not read the rows may not read it either; its owner is to correct
    /// it, also where the rows may only be read.
    ///
    /// # Errors
    /// A line that says why it cannot be made.
    pub(super) fn begin(beside: &Path) -> Result<Self, String> {
        let path = name_beside(beside);
        let create = || {
            let part = PartFile::create(&path)?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(beside)?.permissions().mode();
                let mode = mode & ANY_READING_OR_WRITING | OWNER_READS_AND_WRITES;
                part.file()
                    .set_permissions(fs::Permissions::from_mode(mode))?;
            }
            Ok(part)
        };
        let part = create().map_err(|error: io::Error| cannot("written", &path, &error))?;
        Ok(Self { path, part })
    }

    /// Writes the rows in the order of their lines, under the columns of their file. Without any
    /// there is no file. One of an earlier run gets another name, unless it holds the same.
    ///
    /// # Errors
    /// A line that says why it cannot be written.
    pub(super) fn finish(
        self,
        sheet: &Sheet,
        is_marked: bool,
        refused: &[Refused<'_>],
    ) -> Result<Finished, String> {
        let path = self.path.clone();
        let done = self.replace(sheet, is_marked, refused);
        let earlier = done.map_err(|error| cannot("written", &path, &error))?;
        Ok(Finished { path, earlier })
    }

    fn replace(
        self,
        sheet: &Sheet,
        is_marked: bool,
        refused: &[Refused<'_>],
    ) -> io::Result<Option<PathBuf>> {
        if refused.is_empty() {
            return set_aside(&self.path);
        }
        write(self.part.file(), sheet, is_marked, refused)?;
        // What is there may only make room for what is safely there.
        self.part.file().sync_all()?;
        if holds_the_same(self.part.path(), &self.path)? {
            return Ok(None);
        }
        let earlier = set_aside(&self.path)?;
        self.part.finish()?;
        Ok(earlier)
    }
}

/// Only that of a CSV file leaves its extension out: cards of the same name have their own.
fn name_beside(path: &Path) -> PathBuf {
    let extension = path.extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("csv") {
        return path.with_extension(EXTENSION);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(EXTENSION);
    name.into()
}

fn holds_the_same(new: &Path, old: &Path) -> io::Result<bool> {
    match fs::metadata(old) {
        Ok(found) if found.is_file() && found.len() == fs::metadata(new)?.len() => {
            Ok(fs::read(new)? == fs::read(old)?)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Gives a file that is there the first free name of `contacts.refused.1.csv` and so on.
fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut number = 1;
    let free = loop {
        let name = path.with_extension(format!("{number}.csv"));
        // Made first, so that of two imports at once each has a name of its own.
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
            // Another import was quicker.
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            if is_gone { Ok(None) } else { Err(error) }
        }
    }
}

fn write(file: &File, sheet: &Sheet, is_marked: bool, refused: &[Refused<'_>]) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    if is_marked {
        file.write_all(UTF_8_MARK)?;
    }
    let mut writer = WriterBuilder::new()
        .delimiter(sheet.delimiter)
        .terminator(Terminator::CRLF)
        // A row that is broken has more fields than others, or fewer.
        .flexible(true)
        .from_writer(file);
    let names = [Column::Line.name(), Column::Reason.name()];
    let head = names.into_iter().chain(kept(sheet, &sheet.header.record));
    writer.write_record(head)?;
    for Refused { row, reason } in refused {
        let line = row.line.to_string();
        let told = [line.as_str(), reason.as_str()];
        writer.write_record(told.into_iter().chain(kept(sheet, &row.fields)))?;
    }
    writer.flush()
}

/// Without the line and reason of an earlier try.
fn kept<'r>(sheet: &'r Sheet, record: &'r StringRecord) -> impl Iterator<Item = &'r str> {
    let columns = sheet.header.columns();
    let is_kept = |index| {
        !matches!(
            columns.get(index),
            Some(Some(Column::Line | Column::Reason))
        )
    };
    let fields = record.iter().enumerate();
    fields.filter_map(move |(index, field)| is_kept(index).then_some(field))
}
