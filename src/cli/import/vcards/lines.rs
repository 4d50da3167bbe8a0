//! Splits a file of vCards into cards and properties. Works on bytes, because a line may be folded within
//! a character.

use std::ops::Range;

use super::{
    head::{Head, ends_soft, is_folded},
    property_names::{is_known, is_read},
};
use crate::cli::import::long_lines::MAX_ROW_BYTES;

const BEGIN: &[u8] = b"BEGIN:VCARD";
const END: &[u8] = b"END:VCARD";
const MARK: &[u8] = b"\xEF\xBB\xBF";
const AGENT: &[u8] = b"AGENT";
/// The properties with the line and the reason of a rejected card.
pub(crate) const ANNOTATIONS: [&[u8]; 2] = [b"X-IMPORT-LINE:", b"X-IMPORT-REASON:"];

/// A line of the file, without its line break.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) text: &'t [u8],
}

/// The lines of a card, or lines that are no part of one.
pub(super) struct Part<'t> {
    /// The lines between `BEGIN` and `END`.
    pub(super) lines: Vec<Line<'t>>,
    pub(super) line: u64,
    pub(super) raw: Range<usize>,
    pub(super) is_card: bool,
    /// The card has its `END`.
    pub(super) is_whole: bool,
    /// A line is too long, and may be truncated.
    pub(super) has_long_line: bool,
    /// The first lines of nested cards, which versions 2.1 and 3.0 use for agents.
    pub(super) agents: Vec<Line<'t>>,
}

/// The lines of a property.
pub(super) struct Spelled<'t> {
    /// The first line, and those that continue it.
    pub(super) pieces: Vec<&'t [u8]>,
    /// Lines that have no head and continue nothing.
    pub(super) strays: Vec<&'t [u8]>,
}

/// Splits a file at carriage returns, line feeds, or both.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (mut at, mut number) = (0, 0);
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (text, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        // Concatenated files have a byte order mark each.
        let unmarked = text.strip_prefix(MARK).unwrap_or(text);
        let start = at + text.len() - unmarked.len();
        let line_break = if after.starts_with(b"\r\n") { 2 } else { 1 };
        at += text.len() + line_break;
        number += 1;
        Some(Line {
            number,
            start,
            text: unmarked,
        })
    })
}

/// Splits a part of a file into lines with their line breaks.
pub(crate) fn with_line_breaks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = lines(bytes).map(|line| line.start);
    let ends = lines(bytes).skip(1).map(|line| line.start);
    let ranges = starts.zip(ends.chain([bytes.len()]));
    ranges.filter_map(|(start, end)| bytes.get(start..end))
}

/// Splits a file into cards and the text between them. A card without an end stops before the next one.
pub(super) fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    // Open cards: one, and nested ones of agents.
    let mut depth = 0_usize;
    let mut previous: &[u8] = b"";
    for line in lines(bytes) {
        let last = parts.last_mut().filter(|part| !part.is_card || depth > 0);
        match last {
            Some(part) if depth > 0 && is_begin(line.text) && is_agent(previous) => {
                depth += 1;
                part.agents.push(line);
                part.extend(line);
            }
            Some(part) if depth > 0 && !starts_part(line, previous) => {
                depth -= usize::from(is_end(line.text));
                part.is_whole = depth == 0;
                if depth == 1 && !is_end(line.text) {
                    part.lines.push(line);
                }
                part.extend(line);
            }
            Some(part) if !begins(line.text) && !starts_part(line, previous) => part.extend(line),
            _ if is_filler(line.text) => {}
            _ => {
                let part = Part::beginning(line);
                depth = usize::from(part.is_card);
                parts.push(part);
            }
        }
        if !is_filler(line.text) {
            previous = line.text;
        }
    }
    parts
}

impl<'t> Part<'t> {
    fn beginning(line: Line<'t>) -> Self {
        Self {
            lines: Vec::new(),
            line: line.number,
            raw: line.start..line.start + line.text.len(),
            is_card: begins(line.text),
            is_whole: false,
            has_long_line: line.text.len() > MAX_ROW_BYTES,
            agents: Vec::new(),
        }
    }

    fn extend(&mut self, line: Line<'t>) {
        self.has_long_line |= line.text.len() > MAX_ROW_BYTES;
        // Trailing empty lines are not part of it.
        if !is_filler(line.text) {
            self.raw.end = line.start + line.text.len();
        }
    }
}

/// Groups the lines of a card into properties. Empty lines are skipped. An empty line ends a soft line
/// break, unless every line is followed by one, which is how CR CR LF reads.
pub(super) fn properties<'t>(lines: &[Line<'t>]) -> Vec<Spelled<'t>> {
    let mut properties: Vec<Spelled<'t>> = Vec::new();
    let empty = lines.iter().filter(|line| is_filler(line.text)).count();
    let is_spaced = empty > lines.len() - empty;
    let mut is_after_empty = false;
    for line in lines {
        if is_filler(line.text) {
            is_after_empty = !is_spaced;
            continue;
        }
        let can_continue = !is_after_empty && !is_known_head(line.text);
        is_after_empty = false;
        match properties.last_mut() {
            Some(last) if is_folded(line.text) || (can_continue && last.is_continued()) => {
                last.pieces.push(line.text);
            }
            Some(last) if !Head::starts(line.text) => last.strays.push(line.text),
            _ if Head::starts(line.text) => properties.push(Spelled {
                pieces: vec![line.text],
                strays: Vec::new(),
            }),
            _ => properties.push(Spelled {
                pieces: vec![line.text],
                strays: vec![line.text],
            }),
        }
    }
    properties
}

impl Spelled<'_> {
    /// Returns true if the last piece ends with the soft line break of quoted-printable.
    fn is_continued(&self) -> bool {
        let ends_soft = self.pieces.last().is_some_and(|piece| ends_soft(piece));
        ends_soft && Head::parse(&self.pieces).is_some_and(|(head, _)| head.is_quoted_printable())
    }

    /// Returns the name of a property whose head is malformed, with no colon or an open quote, if the
    /// import reads it.
    pub(super) fn malformed_name(&self) -> Option<String> {
        let first = self.pieces.first().filter(|_| self.strays.is_empty());
        let first = first.filter(|_| Head::parse(&self.pieces).is_none());
        let without_separator = self.strays.iter().filter(|line| {
            let (name, rest) = Head::split_name(line);
            is_folded(rest) && name == name.to_ascii_uppercase()
        });
        let mut names = first.into_iter().chain(without_separator).map(|line| {
            let (name, _) = Head::split_name(line);
            name.to_ascii_uppercase()
        });
        names.find(|name| is_read(name))
    }
}

/// Returns true if a line begins with a known property, and so does not continue a soft line break.
fn is_known_head(line: &[u8]) -> bool {
    let (name, rest) = Head::split_name(line);
    is_known(name) && matches!(rest.first(), Some(b':' | b';'))
}

/// Returns true if a card begins with the line. It may be indented, which continues a line only within
/// an open card.
pub(crate) fn begins(line: &[u8]) -> bool {
    is_plainly(line.trim_ascii_start(), BEGIN)
}

fn is_begin(line: &[u8]) -> bool {
    is_plainly(line, BEGIN)
}

fn is_end(line: &[u8]) -> bool {
    is_plainly(line, END)
}

/// Compares a line with `expected`, ignoring case and blanks around the colon.
fn is_plainly(line: &[u8], expected: &[u8]) -> bool {
    let is_indented = is_folded(line);
    let line = line.trim_ascii();
    let words = line.iter().filter(|byte| !byte.is_ascii_whitespace());
    !is_indented
        && line.len() < 2 * expected.len()
        && words
            .map(u8::to_ascii_uppercase)
            .eq(expected.iter().copied())
}

/// Returns true if a line cannot belong to the part before it.
fn starts_part(line: Line<'_>, previous: &[u8]) -> bool {
    let [rejected, _] = ANNOTATIONS;
    let is_rejected = line.text.starts_with(rejected);
    is_begin(line.text) || (is_rejected && !begins(previous))
}

fn is_agent(line: &[u8]) -> bool {
    let name = line.get(..AGENT.len()).unwrap_or_default();
    name.eq_ignore_ascii_case(AGENT) && line.trim_ascii_end().ends_with(b":")
}

/// Returns true for empty lines, and for NUL and end-of-file characters that programs append.
pub(super) fn is_filler(line: &[u8]) -> bool {
    let is_nothing = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x1A);
    line.iter().all(is_nothing)
}
