//! The records of a CSV file, each with the line where it begins.
//!
//! Where a record ends is found here: behind a quote that is not closed the library would go on
//! to the next quote of the file, and the rows between would be lost. What a record holds is
//! read by the library.

use std::ops::RangeInclusive;

use csv::{ReaderBuilder, StringRecord};

use super::columns::Header;

/// What spreadsheets put between fields; with a comma for the decimals it is a semicolon.
const DELIMITERS: [u8; 3] = [b';', b',', b'\t'];
/// The longest value has 1,000 characters: no quote is closed behind this.
const LONGEST_FIELD: usize = 64 * 1024;
const BAD_QUOTES: &str = "row: a quote is not closed, or stands within a field";

/// A row of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins.
    pub(super) line: u64,
    pub(super) fields: StringRecord,
    /// Why its fields cannot be told apart.
    pub(super) damage: Option<String>,
}

impl Row {
    fn is_blank(&self) -> bool {
        self.fields.iter().all(|field| field.trim().is_empty())
    }
}

/// The rows of a file, and what they were read by.
pub(super) struct Sheet {
    pub(super) header: Header,
    pub(super) delimiter: u8,
    pub(super) rows: Vec<Row>,
}

impl Sheet {
    /// # Errors
    /// A line that says why the file has no header that can be used.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut rest = Rest { text, line: 1 };
        let told = rest.take_told_delimiter();
        while rest.take_empty_line() {}
        let by_known = |delimiter: &u8| Header::count_known(&rest.clone().take(*delimiter).fields);
        // Of equals the last one would be found.
        let guessed = DELIMITERS.into_iter().rev().max_by_key(by_known);
        let delimiter = told.or(guessed).unwrap_or(b',');
        let first = rest.take(delimiter);
        if let Some(damage) = first.damage {
            return Err(format!("the first line cannot be read: {damage}"));
        }
        let header = Header::read(first.fields)?;
        let mut rows = Vec::new();
        while !rest.text.is_empty() {
            let mut row = rest.take_of_width(delimiter, &header.widths());
            let nameless = header.nameless_value(&row.fields);
            if let Some(place) = nameless.filter(|_| row.damage.is_none()) {
                row.damage = Some(format!(
                    "row: field {place} has a value, and its column no name"
                ));
            }
            // Spreadsheets leave rows of nothing behind.
            if row.damage.is_some() || !row.is_blank() {
                rows.push(row);
            }
        }
        Ok(Self {
            header,
            delimiter,
            rows,
        })
    }
}

/// What of a file is still to be read.
#[derive(Clone)]
struct Rest<'t> {
    text: &'t str,
    line: u64,
}

impl<'t> Rest<'t> {
    /// Excel's first line `sep=;`.
    fn take_told_delimiter(&mut self) -> Option<u8> {
        let line = self.text.get(..first_line_end(self.text))?;
        let told = line.trim_matches('"').strip_prefix("sep=")?;
        let delimiter = DELIMITERS.into_iter().find(|d| told.as_bytes() == [*d])?;
        self.advance(line.len());
        Some(delimiter)
    }

    fn take_empty_line(&mut self) -> bool {
        let end = first_line_end(self.text);
        let line = self.text.get(..end).unwrap_or_default();
        let is_empty = line.trim().is_empty() && !self.text.is_empty();
        if is_empty {
            self.advance(end);
        }
        is_empty
    }

    fn take(&mut self, delimiter: u8) -> Row {
        let line = self.line;
        let (record, damage) = match record_end(self.text.as_bytes(), delimiter) {
            Some(end) => (self.advance(end), None),
            None => (
                self.advance(first_line_end(self.text)),
                Some(BAD_QUOTES.to_owned()),
            ),
        };
        Row {
            line,
            fields: split(record, delimiter),
            damage,
        }
    }

    /// A record with more or fewer fields than the header may be two whose line break was taken
    /// for a part of a field: of such a one only the first line goes.
    fn take_of_width(&mut self, delimiter: u8, widths: &RangeInclusive<usize>) -> Row {
        let start = self.clone();
        let mut row = self.take(delimiter);
        if row.damage.is_some() || widths.contains(&row.fields.len()) || row.is_blank() {
            return row;
        }
        let (has, width) = (row.fields.len(), widths.end());
        row.damage = Some(format!("row: has {has} fields, the header has {width}"));
        if self.line > start.line + 1 {
            *self = start;
            let line = self.advance(first_line_end(self.text));
            row.fields = split(line, delimiter);
        }
        row
    }

    /// Gives the text up to `end`, and goes behind the line break that stands there.
    fn advance(&mut self, end: usize) -> &'t str {
        let (taken, rest) = self.text.split_at_checked(end).unwrap_or((self.text, ""));
        let after = rest.strip_prefix("\r\n");
        let after = after.or_else(|| rest.strip_prefix(['\r', '\n']));
        self.text = after.unwrap_or(rest);
        self.line += breaks(taken) + u64::from(after.is_some());
        taken
    }
}

/// Where a record ends, before its line break. `None`: its quotes cannot be read.
fn record_end(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            at = behind_quotes(bytes, at)?;
        } else {
            let field = bytes.get(at..)?;
            let is_end = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
            at += field.iter().position(is_end).unwrap_or(field.len());
        }
        match bytes.get(at) {
            Some(byte) if *byte == delimiter => at += 1,
            None | Some(b'\r' | b'\n') => return Some(at),
            Some(_) => return None,
        }
    }
}

/// The place behind the quote that closes the one at `start`; a doubled one is a part of the field.
fn behind_quotes(bytes: &[u8], start: usize) -> Option<usize> {
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

fn first_line_end(text: &str) -> usize {
    text.find(['\r', '\n']).unwrap_or(text.len())
}

fn breaks(text: &str) -> u64 {
    let feeds = text.matches('\n').count();
    let returns = text.matches('\r').count() - text.matches("\r\n").count();
    (feeds + returns) as u64
}

fn split(record: &str, delimiter: u8) -> StringRecord {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(record.len().min(LONGEST_FIELD))
        .from_reader(record.as_bytes());
    let mut fields = StringRecord::new();
    // Text in memory can be read, and is UTF-8.
    let _ = reader.read_record(&mut fields);
    fields
}

#[cfg(test)]
mod tests;
