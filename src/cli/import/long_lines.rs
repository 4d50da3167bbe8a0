//! Reads a file and truncates lines that are far too long, which limits the memory of a single line.
//! A truncated line is still longer than [`MAX_ROW_BYTES`], so that its row is rejected.

use std::{
    io::{self, Read},
    ops::Range,
};

use encoding_rs::{Encoding, ISO_2022_JP, UTF_16BE, UTF_16LE};

/// Limit of a row, and of a line of a vCard.
pub(super) const MAX_ROW_BYTES: usize = 1024 * 1024;
/// The reason for rejecting a longer one.
pub(super) const TOO_LARGE: &str = "row: must be at most 1 MiB; a longer line is cut off here";
/// Characters of other encodings have up to four times as many bytes as in UTF-8.
const MAX_BYTES_PER_UTF_8_BYTE: usize = 4;
const CHUNK_BYTES: u64 = 64 * 1024;

/// The limit of a line in an encoding.
#[derive(Clone, Copy)]
struct Cut {
    /// Bytes of a code unit: line breaks are aligned to it.
    unit: usize,
    line_breaks: [[u8; 2]; 2],
    max: usize,
}

impl Cut {
    fn of(encoding: Option<&'static Encoding>) -> Self {
        let is_converted = encoding.is_some_and(|e| e != encoding_rs::UTF_8 && !e.is_single_byte());
        let line_breaks = if encoding == Some(UTF_16LE) {
            [[b'\n', 0], [b'\r', 0]]
        } else {
            [[0, b'\n'], [0, b'\r']]
        };
        let is_utf_16 = encoding == Some(UTF_16LE) || encoding == Some(UTF_16BE);
        let longest = MAX_ROW_BYTES + 4;
        Self {
            unit: if is_utf_16 { 2 } else { 1 },
            line_breaks,
            max: if encoding == Some(ISO_2022_JP) {
                // The truncated part could contain the switch back to ASCII.
                usize::MAX
            } else if is_converted {
                MAX_BYTES_PER_UTF_8_BYTE * longest
            } else {
                longest
            },
        }
    }

    /// Returns the range of the first line break of `bytes`.
    fn line_break(self, bytes: &[u8]) -> Option<Range<usize>> {
        let start = if self.unit == 1 {
            bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
        } else {
            let mut units = bytes.chunks_exact(self.unit);
            let at = units.position(|unit| self.line_breaks.iter().any(|each| unit == each));
            at.map(|at| at * self.unit)
        };
        start.map(|start| start..start + self.unit)
    }
}

/// Reads at most `max_bytes` + 1 bytes. Returns the file with truncated lines, and the number of bytes
/// read.
pub(super) fn read(
    file: impl Read,
    max_bytes: u64,
    find_encoding: impl FnOnce(&[u8]) -> Option<&'static Encoding>,
) -> io::Result<(Vec<u8>, u64)> {
    let mut file = file.take(max_bytes.saturating_add(1));
    let (mut kept, mut read) = (Vec::new(), 0);
    let mut chunk = Vec::new();
    let mut next = |chunk: &mut Vec<u8>| {
        chunk.clear();
        file.by_ref().take(CHUNK_BYTES).read_to_end(chunk)
    };
    next(&mut chunk)?;
    let cut = Cut::of(find_encoding(&chunk));
    let (mut line_start, mut is_cut) = (0, false);
    while !chunk.is_empty() {
        read += chunk.len() as u64;
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let line_break = cut.line_break(rest);
            let end = line_break.as_ref().map_or(rest.len(), |range| range.start);
            let remaining = cut.max.saturating_sub(kept.len() - line_start);
            is_cut |= end > remaining;
            kept.extend(rest.iter().take(end.min(remaining)));
            let Some(line_break) = line_break else { break };
            end_line(&mut kept, cut, is_cut);
            kept.extend(rest.get(line_break.clone()).unwrap_or_default());
            rest = rest.get(line_break.end..).unwrap_or_default();
            (line_start, is_cut) = (kept.len(), false);
        }
        next(&mut chunk)?;
    }
    end_line(&mut kept, cut, is_cut);
    Ok((kept, read))
}

/// Removes an incomplete UTF-8 character from the end of a truncated line.
fn end_line(kept: &mut Vec<u8>, cut: Cut, is_cut: bool) {
    if !is_cut || cut.unit > 1 {
        return;
    }
    let is_lead = |byte: &u8| byte & 0xC0 != 0x80;
    let Some(back) = kept.iter().rev().take(4).position(is_lead) else {
        return;
    };
    let start = kept.len() - back - 1;
    let length = match kept.get(start) {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..) => 4,
        Some(_) | None => 1,
    };
    if back + 1 < length {
        kept.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GBK, UTF_8, WINDOWS_1252};
    use rstest::rstest;

    use super::*;

    const ROW: &str = "K-1;STANDARD;Anna";

    fn kept(bytes: &[u8], encoding: Option<&'static Encoding>) -> Vec<u8> {
        let (kept, count) = read(bytes, u64::MAX, |_| encoding).unwrap();
        assert_eq!(count, bytes.len() as u64);
        kept
    }

    /// A row of many of these, between two others.
    fn with_long_line(repeated: &str, line_break: &str) -> String {
        let long = repeated.repeat(3 * MAX_ROW_BYTES);
        [ROW, line_break, &long, line_break, ROW, line_break].concat()
    }

    #[rstest]
    #[case::ascii("x", "\n")]
    #[case::carriage_returns("x", "\r")]
    #[case::two_bytes("ä", "\r\n")]
    #[case::three_bytes("€x", "\n")]
    #[case::four_bytes("x🦀", "\n")]
    fn long_line_is_truncated_between_characters(#[case] repeated: &str, #[case] line_break: &str) {
        let text = with_long_line(repeated, line_break);
        let kept = String::from_utf8(kept(text.as_bytes(), None)).unwrap();
        let lines: Vec<_> = kept.split(line_break).collect();
        assert_eq!([lines[0], lines[2], lines[3]], [ROW, ROW, ""]);
        let length = lines[1].len();
        assert!(
            length > MAX_ROW_BYTES && length < MAX_ROW_BYTES + 8,
            "{length}"
        );
        assert!(text.contains(lines[1]));
    }

    #[test]
    fn long_last_line_is_truncated() {
        let text = [ROW, "\n", &"ä".repeat(MAX_ROW_BYTES)].concat();
        let kept = String::from_utf8(kept(text.as_bytes(), Some(UTF_8))).unwrap();
        assert!(kept.len() < MAX_ROW_BYTES + 64);
        assert!(text.starts_with(&kept));
    }

    #[rstest]
    #[case::little_endian(UTF_16LE, u16::to_le_bytes)]
    #[case::big_endian(UTF_16BE, u16::to_be_bytes)]
    fn truncated_utf_16_stays_decodable(
        #[case] encoding: &'static Encoding,
        #[case] to_bytes: fn(u16) -> [u8; 2],
    ) {
        // Both of its bytes could be taken for a line feed.
        let text = with_long_line("\u{A0A}", "\n");
        let bytes: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
        let kept = kept(&bytes, Some(encoding));
        assert!(kept.len() < 5 * MAX_ROW_BYTES);
        let (decoded, had_errors) = encoding.decode_without_bom_handling(&kept);
        assert!(!had_errors);
        let lines: Vec<_> = decoded.split('\n').collect();
        assert_eq!([lines[0], lines[2], lines[3]], [ROW, ROW, ""]);
        assert!(lines[1].len() > MAX_ROW_BYTES);
    }

    #[rstest]
    #[case::one_byte(WINDOWS_1252)]
    #[case::two_bytes(GBK)]
    fn truncated_line_is_too_long_in_every_encoding(#[case] encoding: &'static Encoding) {
        let text = with_long_line("é", "\n");
        let (bytes, ..) = encoding.encode(&text);
        let kept = kept(&bytes, Some(encoding));
        assert!(kept.len() < 5 * MAX_ROW_BYTES);
        let (decoded, ..) = encoding.decode_without_bom_handling(&kept);
        let lines: Vec<_> = decoded.split('\n').collect();
        assert_eq!([lines[0], lines[2], lines[3]], [ROW, ROW, ""]);
        assert!(lines[1].len() > MAX_ROW_BYTES);
    }

    #[test]
    fn escapes_at_the_end_of_a_line_are_preserved() {
        let text = with_long_line("あ", "\n");
        let (bytes, ..) = ISO_2022_JP.encode(&text);
        assert_eq!(kept(&bytes, Some(ISO_2022_JP)), bytes.as_ref());
    }

    #[test]
    fn other_lines_are_unchanged() {
        let lines = ["x".repeat(MAX_ROW_BYTES), "ä".into(), String::new()];
        let text = lines.join("\r\n").repeat(3);
        assert_eq!(kept(text.as_bytes(), None), text.as_bytes());
    }

    #[test]
    fn reading_stops_after_the_limit() {
        let (kept, count) = read(io::repeat(b'x'), 100_000, |_| None).unwrap();
        assert_eq!((kept.len(), count), (100_001, 100_001));
    }
}
