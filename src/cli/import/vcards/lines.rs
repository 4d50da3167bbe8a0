//! The lines of a file of vCards: where each card begins and ends, and the properties between. All of it
//! on bytes, because a line may be folded within a character.

use std::ops::Range;

use super::{property::Head, values::is_read};
use crate::cli::import::long_lines::MAX_ROW_BYTES;

const BEGIN: &[u8] = b"BEGIN:VCARD";
const END: &[u8] = b"END:VCARD";
const MARK: &[u8] = b"\xEF\xBB\xBF";
const AGENT: &[u8] = b"AGENT";
/// Properties that are not read, and that programs write.
const USUAL: [&str; 19] = [
    "VERSION", "NOTE", "URL", "ADR", "LABEL", "BDAY", "REV", "PHOTO", "LOGO", "SOUND", "KEY",
    "AGENT", "MAILER", "PRODID", "CLASS", "GEO", "TZ", "IMPP", "END",
];
/// Precede the reason of a rejected card.
pub(in crate::cli::import) const REJECTED: [&[u8]; 2] = [b"X-IMPORT-LINE:", b"X-IMPORT-REASON:"];

/// A line of the file, without its line break.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) text: &'t [u8],
}

/// The lines of a card, or lines that are no part of one.
pub(super) struct Part<'t> {
    /// Those of the card itself, without its first and last one.
    pub(super) lines: Vec<Line<'t>>,
    pub(super) line: u64,
    pub(super) raw: Range<usize>,
    pub(super) is_card: bool,
    /// The last line of the card is there.
    pub(super) is_whole: bool,
    /// A line is too long, and may be cut.
    pub(super) has_long_line: bool,
    /// Where cards within the card begin, as versions 2.1 and 3.0 write those of agents.
    pub(super) agents: Vec<Line<'t>>,
}

/// A property as the lines of the file spell it.
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
        // Files that were put together have the mark of each.
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

/// The lines of a part of a file, each with its line break.
pub(in crate::cli::import) fn with_line_breaks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = lines(bytes).map(|line| line.start);
    let ends = lines(bytes).skip(1).map(|line| line.start);
    let ranges = starts.zip(ends.chain([bytes.len()]));
    ranges.filter_map(|(start, end)| bytes.get(start..end))
}

/// Splits a file into cards, and into what is between them. A card that does not end takes no
/// other one along.
pub(super) fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    // Cards that are open: one, and those of agents within it.
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
        // Empty lines after the last one are no part of it.
        if !is_filler(line.text) {
            self.raw.end = line.start + line.text.len();
        }
    }
}

/// Groups the lines of a card into properties. Empty lines are passed over; one ends a soft line
/// break, unless there is one after each line: such line breaks are CR CR LF.
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
            Some(last) if !Head::is_there(line.text) => last.strays.push(line.text),
            _ if Head::is_there(line.text) => properties.push(Spelled {
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
        ends_soft && Head::of(&self.pieces).is_some_and(|(head, _)| head.is_quoted_printable())
    }

    /// The name of a property that is read, and whose head cannot be: it has no colon, or a quote is
    /// open.
    pub(super) fn damaged_name(&self) -> Option<String> {
        let first = self.pieces.first().filter(|_| self.strays.is_empty());
        let first = first.filter(|_| Head::of(&self.pieces).is_none());
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

/// Returns true if a line begins as a usual property does: no text goes on like this after a soft
/// line break.
fn is_known_head(line: &[u8]) -> bool {
    let (name, rest) = Head::split_name(line);
    let is_usual = USUAL.contains(&name) || name.starts_with("X-") || is_read(name);
    is_usual && matches!(rest.first(), Some(b':' | b';'))
}

/// Returns true if a line ends with an equals sign; blanks after it were added in transit.
pub(super) fn ends_soft(piece: &[u8]) -> bool {
    piece.trim_ascii_end().ends_with(b"=")
}

pub(super) fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// Returns true if a card begins with the line, also an indented one: only in an open card, that
/// continues another line.
pub(in crate::cli::import) fn begins(line: &[u8]) -> bool {
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
    let [rejected, _] = REJECTED;
    let is_rejected = line.text.starts_with(rejected);
    is_begin(line.text) || (is_rejected && !begins(previous))
}

fn is_agent(line: &[u8]) -> bool {
    let name = line.get(..AGENT.len()).unwrap_or_default();
    name.eq_ignore_ascii_case(AGENT) && line.trim_ascii_end().ends_with(b":")
}

/// Empty lines, and what DOS and other programs end or fill a file with.
pub(super) fn is_filler(line: &[u8]) -> bool {
    let is_nothing = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x1A);
    line.iter().all(is_nothing)
}
