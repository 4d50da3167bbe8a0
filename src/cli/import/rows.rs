//! The records of a CSV file, each with the line where it begins.
//!
//! Where a record ends is found here: after a quote that is not closed the library would go on
//! to the next quote of the file, and the rows between would be lost. What a record holds is
//! read by the library.

use std::ops::Range;

use csv::{ReaderBuilder, StringRecord};

use super::{
    decoding::{Decoder, Source, UNREADABLE, is_doubtful},
    header::Header,
    long_lines::{MAX_ROW_BYTES, TOO_LARGE},
    mapping::Mapping,
};

/// Delimiters that spreadsheets and other systems put between fields.
const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];
/// Titles may precede the header; it is one of so many first rows.
const HEADER_ROWS: usize = 20;
/// The longest value has 1,000 characters: no quote is closed after this many bytes.
const LONGEST_FIELD: usize = 64 * 1024;
/// A row takes some 500 bytes of memory, however short it is.
pub(super) const MAX_ROWS: usize = 1_000_000;
const BAD_QUOTES: &str = "row: a quote is not closed, or is within a field";

/// A row of a file, or a card.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins.
    pub(super) line: u64,
    /// Its bytes in the file, without the line break after them.
    pub(super) raw: Range<usize>,
    pub(super) content: Content,
    /// Values that are left out, by the names of their columns.
    pub(super) notes: Vec<&'static str>,
}

/// The cells of a row, or the reason why it has none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The values of the columns.
    Fields(StringRecord),
    /// Nothing that can be read, for this reason.
    Damaged(String),
    /// No contact, for this reason.
    NoContact(&'static str),
}

/// The form of a file, which is also that of its rejected rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv {
        delimiter: u8,
        /// The bytes of the header.
        header: Range<usize>,
    },
    Cards,
}

/// The rows of a file, and how they were read.
pub(super) struct Sheet {
    pub(super) header: Header,
    pub(super) format: Format,
    pub(super) decoder: Decoder,
    pub(super) rows: Vec<Row>,
}

impl Sheet {
    /// Reads a CSV file.
    ///
    /// # Errors
    /// A line that says why the file has no header that can be used, or that it has too many lines.
    pub(super) fn read(source: &Source, mappings: &[Mapping]) -> Result<Self, String> {
        let bytes = source.bytes.as_slice();
        // Each line of a cell may become a row, if its quote is not closed.
        if breaks(bytes) > MAX_ROWS as u64 {
            return Err("has more than 1,000,000 lines: split it".to_owned());
        }
        let decoder = source.decoder(bytes.split(|byte| matches!(byte, b'\n' | b'\r')));
        let mut rest = Rest::new(without_end_of_file(bytes));
        let told = rest.take_told_delimiter();
        let (header, names, delimiter) = find_header(&mut rest, decoder, told, mappings)?;
        // Only the rows of the rejected file keep a doubt.
        let decoder = decoder.proven_unless(|decoder| {
            let mut rows = rest
                .clone()
                .take_rows(&header, delimiter, decoder)
                .into_iter();
            rows.any(|row| {
                let is_rejected = match &row.content {
                    Content::Fields(fields) => header.has_unreadable(fields),
                    Content::Damaged(_) | Content::NoContact(_) => true,
                };
                is_rejected && bytes.get(row.raw).is_some_and(is_doubtful)
            })
        });
        let rows = rest.take_rows(&header, delimiter, decoder);
        let format = Format::Csv {
            delimiter,
            header: names,
        };
        Ok(Self {
            header,
            format,
            decoder,
            rows,
        })
    }
}

/// Takes the rows up to the header, and gives it with its bytes and its delimiter.
fn find_header(
    rest: &mut Rest<'_>,
    decoder: Decoder,
    told: Option<u8>,
    mappings: &[Mapping],
) -> Result<(Header, Range<usize>, u8), String> {
    let (mut most, mut problem) = (0, "no line can be read as a header".to_owned());
    for _ in 0..HEADER_ROWS {
        while rest.take_empty_line() {}
        if rest.is_empty() {
            break;
        }
        let by_known = |delimiter: &u8| {
            let names = rest.clone().take(*delimiter, decoder).fields;
            Header::count_known(&names, mappings)
        };
        // Of equals the last one would be found.
        let guessed = DELIMITERS.into_iter().rev().max_by_key(by_known);
        let delimiter = told.or(guessed).unwrap_or(b',');
        let record = rest.take(delimiter, decoder);
        let (line, raw) = (record.line, record.raw);
        if let Some(damage) = record.damage {
            // The first problem is reported unless a later line names more columns.
            if problem.starts_with("no line") {
                problem = format!("line {line} cannot be read as a header: {damage}");
            }
            continue;
        }
        match Header::recognize(&record.fields, mappings) {
            // A column that is ignored because its name is garbled would be lost silently.
            Ok(()) if record.fields.iter().any(|name| name.contains(UNREADABLE)) => {
                return Err(format!(
                    "line {line}: the header cannot be decoded with certainty: name the file's \
                     encoding with --encoding, such as windows-1252"
                ));
            }
            Ok(()) => {
                let header = Header::read(&record.fields, mappings);
                let header = header.map_err(|why| format!("line {line}: {why}"))?;
                return Ok((header, raw, delimiter));
            }
            Err(known) if known > most || problem.starts_with("no line") => {
                most = known;
                let why = Header::read(&record.fields, mappings).err();
                problem = format!("line {line} {}", why.unwrap_or_default());
            }
            Err(_) => {}
        }
    }
    Err(problem)
}

/// The text before the signs with which DOS ends a file.
fn without_end_of_file(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_suffix(b"\x1A") {
        bytes = rest;
    }
    bytes
}

fn is_blank(fields: &StringRecord) -> bool {
    fields.iter().all(|field| field.trim().is_empty())
}

/// A record as it was read.
struct Record {
    line: u64,
    raw: Range<usize>,
    fields: StringRecord,
    damage: Option<String>,
}

impl Record {
    fn into_row(mut self, header: &Header) -> Row {
        let nameless = header.nameless_value(&self.fields);
        if let Some(place) = nameless.filter(|_| self.damage.is_none()) {
            let damage = format!("row: field {place} has a value, and its column no name");
            self.damage = Some(damage);
        }
        Row {
            line: self.line,
            raw: self.raw,
            content: match self.damage {
                Some(damage) => Content::Damaged(damage),
                None => Content::Fields(self.fields),
            },
            notes: Vec::new(),
        }
    }
}

/// What of a file is still to be read.
#[derive(Clone)]
struct Rest<'t> {
    bytes: &'t [u8],
    at: usize,
    line: u64,
}

impl<'t> Rest<'t> {
    const fn new(bytes: &'t [u8]) -> Self {
        let (at, line) = (0, 1);
        Self { bytes, at, line }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn first_line(&self) -> &'t [u8] {
        let rest = self.rest();
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }

    /// Excel's first line `sep=;`.
    fn take_told_delimiter(&mut self) -> Option<u8> {
        let line = self.first_line();
        let told = line.strip_prefix(b"\"").unwrap_or(line);
        let told = told.strip_suffix(b"\"").unwrap_or(told);
        let (name, told) = told.split_at_checked(4)?;
        let told = name.eq_ignore_ascii_case(b"sep=").then_some(told)?;
        let delimiter = DELIMITERS.into_iter().find(|d| told == [*d])?;
        self.advance(line.len());
        Some(delimiter)
    }

    fn take_empty_line(&mut self) -> bool {
        let line = self.first_line();
        let is_empty = line.trim_ascii().is_empty() && !self.is_empty();
        if is_empty {
            self.advance(line.len());
        }
        is_empty
    }

    /// Takes all rows but those of nothing, which spreadsheets leave behind.
    fn take_rows(&mut self, header: &Header, delimiter: u8, decoder: Decoder) -> Vec<Row> {
        let mut rows = Vec::new();
        while !self.is_empty() {
            let record = self.take_of_width(delimiter, decoder, header.width());
            if record.damage.is_some() || !is_blank(&record.fields) {
                rows.push(record.into_row(header));
            }
        }
        rows
    }

    fn take(&mut self, delimiter: u8, decoder: Decoder) -> Record {
        let line = self.line;
        let first_line = self.first_line().len();
        let end = record_end(self.rest(), delimiter);
        let (end, damage) = match end {
            // A line that was cut has not all of its quotes.
            _ if first_line > MAX_ROW_BYTES => (first_line, Some(TOO_LARGE)),
            Some(end) if end > MAX_ROW_BYTES => (end, Some(TOO_LARGE)),
            Some(end) => (end, None),
            None => (first_line, Some(BAD_QUOTES)),
        };
        let raw = self.advance(end);
        let fields = if damage == Some(TOO_LARGE) {
            StringRecord::new()
        } else {
            self.split(&raw, delimiter, decoder)
        };
        Record {
            line,
            raw,
            fields,
            damage: damage.map(str::to_owned),
        }
    }

    /// Takes a record. Missing fields are empty, and empty ones may be left over. One of several lines
    /// with another number of fields may be rows whose line break was taken for a part of a field:
    /// only its first line goes.
    fn take_of_width(&mut self, delimiter: u8, decoder: Decoder, width: usize) -> Record {
        let start = self.clone();
        let mut record = self.take(delimiter, decoder);
        let has = record.fields.len();
        let has_surplus = record
            .fields
            .iter()
            .skip(width)
            .any(|f| !f.trim().is_empty());
        let is_short = has < width && holds_rows(&record.fields, delimiter);
        if record.damage.is_some() || !(has_surplus || is_short) {
            return record;
        }
        record.damage = Some(format!("row: has {has} fields, the header has {width}"));
        if self.line > start.line + 1 {
            *self = start;
            record.raw = self.advance(self.first_line().len());
            record.fields = self.split(&record.raw, delimiter, decoder);
        }
        record
    }

    fn split(&self, raw: &Range<usize>, delimiter: u8, decoder: Decoder) -> StringRecord {
        let record = self.bytes.get(raw.clone()).unwrap_or_default();
        split(&decoder.decode(record), delimiter)
    }

    /// Gives the next bytes, and goes past the line break after them.
    fn advance(&mut self, length: usize) -> Range<usize> {
        let (taken, rest) = self.rest().split_at_checked(length).unwrap_or_default();
        let raw = self.at..self.at + taken.len();
        let line_break = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        self.at = raw.end + line_break;
        self.line += breaks(taken) + u64::from(line_break > 0);
        raw
    }
}

/// Returns true if a line after the first one of a field has fields of its own.
fn holds_rows(fields: &StringRecord, delimiter: u8) -> bool {
    let has_fields = |line: &str| line.contains(char::from(delimiter));
    let mut later = fields.iter().flat_map(|f| f.split(['\r', '\n']).skip(1));
    later.any(has_fields)
}

/// Where a record ends, before its line break. `None`: its quotes cannot be read.
fn record_end(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at = field_end(bytes, at, delimiter)?;
        match bytes.get(at) {
            Some(byte) if *byte == delimiter => at += 1,
            None | Some(b'\r' | b'\n') => return Some(at),
            Some(_) => return None,
        }
    }
}

/// Where the field that begins at `start` ends, before what separates it from the next one.
pub(super) fn field_end(bytes: &[u8], start: usize, delimiter: u8) -> Option<usize> {
    if bytes.get(start) == Some(&b'"') {
        return after_quotes(bytes, start);
    }
    let field = bytes.get(start..)?;
    let is_end = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
    Some(start + field.iter().position(is_end).unwrap_or(field.len()))
}

/// The place after the quote that closes the one at `start`; a doubled one is a part of the field.
fn after_quotes(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let field = bytes.get(at..)?.iter().take(LONGEST_FIELD);
        at += field.into_iter().position(|byte| *byte == b'"')? + 1;
        if bytes.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

fn breaks(bytes: &[u8]) -> u64 {
    let is_break = |(index, byte): (usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    };
    let places = bytes.iter().enumerate();
    places.filter(|place| is_break(*place)).count() as u64
}

fn split(record: &str, delimiter: u8) -> StringRecord {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(record.len().clamp(1, LONGEST_FIELD))
        .from_reader(record.as_bytes());
    let mut fields = StringRecord::new();
    // Text in memory can be read, and is UTF-8.
    let _ = reader.read_record(&mut fields);
    fields
}

#[cfg(test)]
mod tests;
