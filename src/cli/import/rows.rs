//! The records of a CSV file, each with the line where it begins.
//!
//! The end of a record is found here and not by the csv crate, which reads an unclosed quote up to
//! the next quote of the file and so loses the rows between. The crate splits a record into fields.

use std::ops::Range;

use csv::{ReaderBuilder, StringRecord};

use super::{
    encoding::{Decoder, SourceFile, UNREADABLE, is_doubtful},
    header::Header,
    long_lines::{MAX_ROW_BYTES, TOO_LARGE},
    mapping::Mapping,
};

/// Delimiters of spreadsheets and other systems.
const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];
/// Rows that are searched for the header; titles may precede it.
const HEADER_ROWS: usize = 20;
/// Limit of a quoted field in bytes; the longest valid value has 1,000 characters.
const LONGEST_FIELD: usize = 64 * 1024;
/// Limit of the lines of a file: a row takes some 500 bytes of memory, however short it is.
pub(super) const MAX_ROWS: usize = 1_000_000;
const BAD_QUOTES: &str = "row: a quote is not closed, or is within a field";

/// A row of a CSV file, or a vCard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// Its bytes in the file, without the final line break.
    pub(super) raw: Range<usize>,
    pub(super) content: Content,
    /// Messages about values that are not imported, the column first.
    pub(super) notes: Vec<&'static str>,
}

/// The cells of a row, or the reason why it has none.
///
/// Reasons are written to the file of rejected rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The values of the columns.
    Fields(StringRecord),
    /// The parse error.
    Unreadable(String),
    /// The reason why the card is no contact.
    NoContact(&'static str),
}

/// The format of a file and of its rejected rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv {
        delimiter: u8,
        /// The bytes of the header.
        header: Range<usize>,
    },
    Vcards,
}

/// The rows of a file, with their header, format and decoder.
pub(super) struct Table {
    pub(super) header: Header,
    pub(super) format: Format,
    pub(super) decoder: Decoder,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Reads a CSV file.
    ///
    /// # Errors
    /// The reason why no header was found, or that the file has too many lines.
    pub(super) fn read(source: &SourceFile, mappings: &[Mapping]) -> Result<Self, String> {
        let bytes = source.bytes.as_slice();
        // Each line of a cell may become a row, if its quote is not closed.
        if line_breaks(bytes) > MAX_ROWS as u64 {
            return Err("has more than 1,000,000 lines: split it".to_owned());
        }
        let decoder = source.decoder(bytes.split(|byte| matches!(byte, b'\n' | b'\r')));
        let mut rest = Rest::new(without_end_of_file(bytes));
        let declared = rest.take_declared_delimiter();
        let (header, names, delimiter) = find_header(&mut rest, decoder, declared, mappings)?;
        // Uncertain text in rejected rows keeps the decoder uncertain.
        let decoder = decoder.proven_unless(|decoder| {
            let mut rows = rest
                .clone()
                .take_rows(&header, delimiter, decoder)
                .into_iter();
            rows.any(|row| {
                let is_rejected = match &row.content {
                    Content::Fields(fields) => header.has_unreadable(fields),
                    Content::Unreadable(_) | Content::NoContact(_) => true,
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

/// Consumes the rows up to the header. Returns the header, its bytes and its delimiter.
fn find_header(
    rest: &mut Rest<'_>,
    decoder: Decoder,
    declared: Option<u8>,
    mappings: &[Mapping],
) -> Result<(Header, Range<usize>, u8), String> {
    let (mut max_known, mut problem) = (0, "no line can be read as a header".to_owned());
    for _ in 0..HEADER_ROWS {
        while rest.take_empty_line() {}
        if rest.is_empty() {
            break;
        }
        let by_known = |delimiter: &u8| {
            let names = rest.clone().take(*delimiter, decoder).fields;
            Header::count_known(&names, mappings)
        };
        // max_by_key returns the last of equal elements.
        let guessed = DELIMITERS.into_iter().rev().max_by_key(by_known);
        let delimiter = declared.or(guessed).unwrap_or(b',');
        let record = rest.take(delimiter, decoder);
        let (line, raw) = (record.line, record.raw);
        if let Some(parse_error) = record.parse_error {
            // The first problem is reported unless a later line names more columns.
            if problem.starts_with("no line") {
                problem = format!("line {line} cannot be read as a header: {parse_error}");
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
                let header = header.map_err(|reason| format!("line {line}: {reason}"))?;
                return Ok((header, raw, delimiter));
            }
            Err(known) if known > max_known || problem.starts_with("no line") => {
                max_known = known;
                let reason = Header::read(&record.fields, mappings).err();
                problem = format!("line {line} {}", reason.unwrap_or_default());
            }
            Err(_) => {}
        }
    }
    Err(problem)
}

/// Removes the end-of-file characters of DOS.
fn without_end_of_file(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_suffix(b"\x1A") {
        bytes = rest;
    }
    bytes
}

fn is_blank(fields: &StringRecord) -> bool {
    fields.iter().all(|field| field.trim().is_empty())
}

/// A record of the file.
struct Record {
    line: u64,
    raw: Range<usize>,
    fields: StringRecord,
    parse_error: Option<String>,
}

impl Record {
    fn into_row(mut self, header: &Header) -> Row {
        let nameless = header.nameless_value(&self.fields);
        if let Some(number) = nameless.filter(|_| self.parse_error.is_none()) {
            let reason = format!("row: field {number} has a value, and its column no name");
            self.parse_error = Some(reason);
        }
        Row {
            line: self.line,
            raw: self.raw,
            content: match self.parse_error {
                Some(reason) => Content::Unreadable(reason),
                None => Content::Fields(self.fields),
            },
            notes: Vec::new(),
        }
    }
}

/// The unread rest of a file.
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

    /// Consumes Excel's first line `sep=;`.
    fn take_declared_delimiter(&mut self) -> Option<u8> {
        let line = self.first_line();
        let text = line.strip_prefix(b"\"").unwrap_or(line);
        let text = text.strip_suffix(b"\"").unwrap_or(text);
        let (name, declared) = text.split_at_checked(4)?;
        let declared = name.eq_ignore_ascii_case(b"sep=").then_some(declared)?;
        let delimiter = DELIMITERS.into_iter().find(|d| declared == [*d])?;
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

    /// Consumes all rows. Blank rows, which spreadsheets append, are skipped.
    fn take_rows(&mut self, header: &Header, delimiter: u8, decoder: Decoder) -> Vec<Row> {
        let mut rows = Vec::new();
        while !self.is_empty() {
            let record = self.take_with_width(delimiter, decoder, header.width());
            if record.parse_error.is_some() || !is_blank(&record.fields) {
                rows.push(record.into_row(header));
            }
        }
        rows
    }

    fn take(&mut self, delimiter: u8, decoder: Decoder) -> Record {
        let line = self.line;
        let first_line = self.first_line().len();
        let end = record_end(self.rest(), delimiter);
        let (end, parse_error) = match end {
            // A line that was cut off may lack a closing quote.
            _ if first_line > MAX_ROW_BYTES => (first_line, Some(TOO_LARGE)),
            Some(end) if end > MAX_ROW_BYTES => (end, Some(TOO_LARGE)),
            Some(end) => (end, None),
            None => (first_line, Some(BAD_QUOTES)),
        };
        let raw = self.advance(end);
        let fields = if parse_error == Some(TOO_LARGE) {
            StringRecord::new()
        } else {
            self.split(&raw, delimiter, decoder)
        };
        Record {
            line,
            raw,
            fields,
            parse_error: parse_error.map(str::to_owned),
        }
    }

    /// Consumes a record. Trailing fields may be missing, and surplus ones empty. A record of several
    /// lines with a wrong number of fields may be several rows within quotes: only its first line is
    /// consumed.
    fn take_with_width(&mut self, delimiter: u8, decoder: Decoder, width: usize) -> Record {
        let start = self.clone();
        let mut record = self.take(delimiter, decoder);
        let count = record.fields.len();
        let has_surplus = record
            .fields
            .iter()
            .skip(width)
            .any(|f| !f.trim().is_empty());
        let is_short = count < width && holds_rows(&record.fields, delimiter);
        if record.parse_error.is_some() || !(has_surplus || is_short) {
            return record;
        }
        record.parse_error = Some(format!("row: has {count} fields, the header has {width}"));
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

    /// Returns the range of the next bytes, and skips the line break after them.
    fn advance(&mut self, length: usize) -> Range<usize> {
        let (taken, rest) = self.rest().split_at_checked(length).unwrap_or_default();
        let raw = self.at..self.at + taken.len();
        let line_break = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        self.at = raw.end + line_break;
        self.line += line_breaks(taken) + u64::from(line_break > 0);
        raw
    }
}

/// Returns true if a line after the first one of a field has fields of its own.
fn holds_rows(fields: &StringRecord, delimiter: u8) -> bool {
    let has_fields = |line: &str| line.contains(char::from(delimiter));
    let mut later = fields.iter().flat_map(|f| f.split(['\r', '\n']).skip(1));
    later.any(has_fields)
}

/// Returns the end of a record, before its line break; `None` if its quotes are invalid.
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

/// Returns the end of the field that begins at `start`, before its delimiter or line break.
pub(super) fn field_end(bytes: &[u8], start: usize, delimiter: u8) -> Option<usize> {
    if bytes.get(start) == Some(&b'"') {
        return after_quotes(bytes, start);
    }
    let field = bytes.get(start..)?;
    let is_end = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
    Some(start + field.iter().position(is_end).unwrap_or(field.len()))
}

/// Returns the index after the closing quote; a doubled quote is part of the field.
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

fn line_breaks(bytes: &[u8]) -> u64 {
    let is_break = |(index, byte): (usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    };
    let bytes = bytes.iter().enumerate();
    bytes.filter(|byte| is_break(*byte)).count() as u64
}

fn split(record: &str, delimiter: u8) -> StringRecord {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(record.len().clamp(1, LONGEST_FIELD))
        .from_reader(record.as_bytes());
    let mut fields = StringRecord::new();
    // Reading UTF-8 from memory does not fail.
    let _ = reader.read_record(&mut fields);
    fields
}

#[cfg(test)]
mod tests;
