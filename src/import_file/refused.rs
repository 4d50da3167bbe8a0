//! The refused rows as a file beside the one that was read, to be corrected and taken again.

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
use crate::command_files::{cannot, part_of};

const EXTENSION: &str = "refused.csv";
const UTF_8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A row, and why it is refused.
pub(super) struct Refused<'s> {
    pub(super) row: &'s Row,
    pub(super) reason: String,
}

/// The file, which appears under its name when it is whole.
pub(super) struct RefusedFile {
    first: PathBuf,
    last: PathBuf,
    file: File,
}

impl RefusedFile {
    /// Begins the file before anything is taken: it must not turn out at the end that it cannot
    /// be written. Whoever may not read the rows may not read it either.
    ///
    /// # Errors
    /// A line that says why it cannot be made.
    pub(super) fn begin(beside: &Path) -> Result<Self, String> {
        let last = beside.with_extension(EXTENSION);
        let first = part_of(&last);
        let create = || {
            let file = File::create(&first)?;
            file.set_permissions(fs::metadata(beside)?.permissions())?;
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| cannot("written", &first, &error))?;
        Ok(Self { first, last, file })
    }

    /// Writes the rows in the order of their lines, under the columns of their file; gives the
    /// name of the file. Without any there is no file, and none of an earlier try.
    ///
    /// # Errors
    /// A line that says why it cannot be written.
    pub(super) fn finish(
        self,
        sheet: &Sheet,
        is_marked: bool,
        refused: &[Refused<'_>],
    ) -> Result<PathBuf, String> {
        let last = self.last.clone();
        let done = if refused.is_empty() {
            match fs::remove_file(&last) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            }
        } else {
            write(&self.file, sheet, is_marked, refused)
                .and_then(|()| self.file.sync_all())
                .and_then(|()| fs::rename(&self.first, &last))
        };
        done.map_err(|error| cannot("written", &last, &error))?;
        Ok(last)
    }
}

/// What did not get its last name is of no use.
impl Drop for RefusedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.first);
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
    let is_kept = |index| !matches!(columns.get(index), Some(Column::Line | Column::Reason));
    let fields = record.iter().enumerate();
    fields.filter_map(move |(index, field)| is_kept(index).then_some(field))
}
