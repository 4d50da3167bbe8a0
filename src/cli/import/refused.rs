//! The rejected rows as a file next to the one that was read, to be corrected and imported again. Each
//! is written as it stood, byte for byte, so that it is rejected again until it is changed. A file of
//! an earlier run may have been corrected: it is never overwritten.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    columns::Column,
    decoding::Source,
    rows::{Format, Row, Sheet, field_end},
    vcards,
};
use crate::cli::atomic_file::{PartFile, cannot};

const LINE_BREAK: &[u8] = b"\r\n";
#[cfg(unix)]
const ANY_READING_OR_WRITING: u32 = 0o666;
#[cfg(unix)]
const OWNER_READS_AND_WRITES: u32 = 0o600;

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
    pub(super) fn begin(beside: &Path, format: &Format) -> Result<Self, String> {
        let path = name_beside(beside, format);
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
        source: &Source,
        sheet: &Sheet,
        refused: &[Refused<'_>],
    ) -> Result<Finished, String> {
        let path = self.path.clone();
        let done = self.replace(source, sheet, refused);
        let earlier = done.map_err(|error| cannot("written", &path, &error))?;
        Ok(Finished { path, earlier })
    }

    fn replace(
        self,
        source: &Source,
        sheet: &Sheet,
        refused: &[Refused<'_>],
    ) -> io::Result<Option<PathBuf>> {
        if refused.is_empty() {
            return set_aside(&self.path);
        }
        let out = BufWriter::new(self.part.file());
        write(out, source, sheet, refused)?;
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

/// `contacts.refused.csv` for `contacts.csv`; a file whose extension says something else keeps it.
fn name_beside(path: &Path, format: &Format) -> PathBuf {
    let extension = match format {
        Format::Csv { .. } => "csv",
        Format::Cards => "vcf",
    };
    let refused = format!("refused.{extension}");
    let given = path.extension().unwrap_or_default();
    if given.eq_ignore_ascii_case(extension) {
        return path.with_extension(refused);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(refused);
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
    let extension = path.extension().unwrap_or_default().to_owned();
    let free = loop {
        let mut numbered: OsString = number.to_string().into();
        numbered.push(".");
        numbered.push(&extension);
        let name = path.with_extension(numbered);
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

fn write(
    mut out: impl Write,
    source: &Source,
    sheet: &Sheet,
    refused: &[Refused<'_>],
) -> io::Result<()> {
    source.write_mark(&mut out, sheet.decoder)?;
    match &sheet.format {
        Format::Csv { delimiter, header } => {
            let delimiter = *delimiter;
            let header = raw(source, header);
            let skipped = reasons_end(sheet, header, delimiter);
            let told = cells(Column::Line.name(), Column::Reason.name(), delimiter);
            write_line(&mut out, source, &told, header.get(skipped..))?;
            for Refused { row, reason } in refused {
                let bytes = raw(source, &row.raw);
                let skipped = reasons_end(sheet, bytes, delimiter);
                let reason = format!("\"{}\"", reason.replace('"', "\"\""));
                let told = cells(&row.line.to_string(), &reason, delimiter);
                write_line(&mut out, source, &told, bytes.get(skipped..))?;
            }
        }
        Format::Cards => {
            for Refused { row, reason } in refused {
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

/// The reason is in quotes and begins with a letter: a quote that a row before it leaves open is not
/// closed by it.
fn write_line(
    out: &mut impl Write,
    source: &Source,
    told: &str,
    row: Option<&[u8]>,
) -> io::Result<()> {
    source.write(out, told.as_bytes())?;
    source.write(out, row.unwrap_or_default())?;
    source.write(out, LINE_BREAK)
}

/// Where line and reason of an earlier run end in a row.
fn reasons_end(sheet: &Sheet, row: &[u8], delimiter: u8) -> usize {
    if !sheet.header.has_reasons {
        return 0;
    }
    let after = |start| {
        let end = field_end(row, start, delimiter)?;
        (row.get(end) == Some(&delimiter)).then_some(end + 1)
    };
    after(0).and_then(after).unwrap_or_default()
}

/// A card with its line and reason as its first properties; before what is no card.
fn write_card(out: &mut impl Write, source: &Source, row: &Row, reason: &str) -> io::Result<()> {
    let bytes = raw(source, &row.raw);
    let mut lines = vcards::with_line_breaks(bytes);
    let [mut line, mut why] = vcards::REJECTED.map(<[u8]>::to_vec);
    line.extend(row.line.to_string().as_bytes());
    why.extend(reason.as_bytes());
    let is_told = |line: &&[u8]| vcards::REJECTED.iter().any(|name| line.starts_with(name));
    let first = lines.next().filter(|line| !is_told(line));
    let (begin, first) = if vcards::begins(first.unwrap_or_default()) {
        (first, None)
    } else {
        (None, first)
    };
    for text in begin
        .into_iter()
        .map(with_end)
        .chain([with_end(&line), with_end(&why)])
    {
        source.write(out, &text)?;
    }
    let mut last: &[u8] = b"";
    for text in first.into_iter().chain(lines.filter(|line| !is_told(line))) {
        source.write(out, text)?;
        last = text;
    }
    if last.ends_with(b"\n") || last.ends_with(b"\r") {
        return Ok(());
    }
    source.write(out, LINE_BREAK)
}

/// A line with a line break, of its own or a usual one.
fn with_end(line: &[u8]) -> Vec<u8> {
    let mut text = line.trim_ascii_end().to_vec();
    text.extend(LINE_BREAK);
    text
}

fn raw<'s>(source: &'s Source, range: &Range<usize>) -> &'s [u8] {
    source.bytes.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
