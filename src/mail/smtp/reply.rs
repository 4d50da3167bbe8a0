//! Parses replies of an SMTP server (RFC 5321, 4.2) from arbitrary bytes.
//!
//! Only the code matters. The text may have any bytes and any length: excess bytes are skipped, or
//! left unread once the code is known.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::domain::enhanced_status::EnhancedStatus;

/// Bytes of a line that are kept; RFC 5321 allows 512.
const MAX_LINE_BYTES: usize = 1024;
/// Lines of a reply that are kept.
const MAX_LINES: usize = 100;
/// Bytes of a reply that are read.
const MAX_REPLY_BYTES: usize = 1024 * 1024;
const CODE_LENGTH: usize = 3;

/// The reply to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The reply code, such as 250.
    pub(super) code: u16,
    /// The texts of the lines, without code and separator, up to the limits above.
    pub(super) texts: Vec<String>,
    /// True if the end of the reply was not read, so that no command may follow.
    pub(super) is_cut: bool,
}

/// The cause of a missing reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The connection was closed before the code.
    Closed,
    /// Reading failed.
    Failed(io::ErrorKind),
    /// The server sent a line without a code.
    NotSmtp,
}

/// The end of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Newline,
    Closed,
    TooLong,
}

impl Reply {
    /// Reads the next reply. The code of the last line is the code of the reply.
    pub(super) async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Self, Unreadable> {
        let mut remaining = MAX_REPLY_BYTES;
        let mut code = None;
        let mut texts = Vec::new();
        loop {
            let (line, end) = match read_line(reader, &mut remaining).await {
                // The code of the lines before is the code of the reply.
                Err(_) if code.is_some() => (Vec::new(), End::Closed),
                read => read?,
            };
            let line = line.trim_ascii();
            let parsed = split_code(line);
            let (is_last, text) = match parsed {
                Some((line_code, separator, text)) => {
                    code = Some(line_code);
                    (separator != Some(b'-'), text)
                }
                // Some servers break the text of a reply without repeating its code.
                None if code.is_some() => (false, line),
                None if line.is_empty() && end == End::Newline => continue,
                None if end == End::Closed => return Err(Unreadable::Closed),
                None => return Err(Unreadable::NotSmtp),
            };
            if texts.len() < MAX_LINES {
                texts.push(String::from_utf8_lossy(text).into_owned());
            }
            if let Some(code) = code.filter(|_| is_last || end != End::Newline) {
                return Ok(Self {
                    code,
                    texts,
                    is_cut: end != End::Newline,
                });
            }
        }
    }

    /// Returns true for a positive completion (2yz).
    pub(super) const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Returns true for an intermediate reply (3yz): the server waits for more.
    pub(super) const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Returns true for a permanent failure (5yz).
    pub(super) const fn is_permanent_failure(&self) -> bool {
        self.code / 100 == 5
    }

    /// Returns the enhanced status code: the first word of a line (RFC 2034), or else a code within the
    /// text. Of several codes, one that is not about the mailbox is preferred, so that no address is
    /// marked in doubt.
    pub(super) fn enhanced_status(&self) -> Option<EnhancedStatus> {
        let leading: Vec<_> = self
            .texts
            .iter()
            .filter_map(|text| leading_status(text))
            .collect();
        let found = if leading.is_empty() {
            let class = self.code / 100;
            let words = self.texts.iter().flat_map(|text| statuses_in(text));
            words.filter(|status| status.class == class).collect()
        } else {
            leading
        };
        let not_about_mailbox = found.iter().find(|status| !status.is_about_mailbox());
        not_about_mailbox.or(found.first()).copied()
    }
}

/// Reads up to the next line feed, and keeps the first bytes.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    remaining: &mut usize,
) -> Result<(Vec<u8>, End), Unreadable> {
    let mut line = Vec::new();
    loop {
        let available = match reader.fill_buf().await {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Many servers close TLS without close_notify; a reset after the code is the same case.
            Err(_) if line.len() >= CODE_LENGTH => return Ok((line, End::Closed)),
            Err(error) => return Err(Unreadable::Failed(error.kind())),
        };
        if available.is_empty() {
            return Ok((line, End::Closed));
        }
        let newline = available.iter().position(|byte| *byte == b'\n');
        let content = available.split_at(newline.unwrap_or(available.len())).0;
        let room = MAX_LINE_BYTES.saturating_sub(line.len());
        line.extend(content.iter().take(room));
        let used = content.len() + usize::from(newline.is_some());
        reader.consume(used);
        *remaining = remaining.saturating_sub(used);
        if newline.is_some() {
            return Ok((line, End::Newline));
        }
        if *remaining == 0 {
            return Ok((line, End::TooLong));
        }
    }
}

/// Splits `250-text` into its parts; a reply may end after the digits.
fn split_code(line: &[u8]) -> Option<(u16, Option<u8>, &[u8])> {
    let (digits, rest) = line.split_at_checked(CODE_LENGTH)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (separator, text) = match rest.split_first() {
        Some((separator @ (b' ' | b'-' | b'\t'), text)) => (Some(*separator), text),
        _ => (None, rest),
    };
    Some((code, separator, text))
}

/// Returns the code at the start of a text, as in `5.1.1 text`, `#5.1.1: text` or `(5.7.1) text`.
fn leading_status(text: &str) -> Option<EnhancedStatus> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "#([<{\"':".contains(c));
    statuses_in(text.split_whitespace().next()?)
        .next()
        .filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns all codes in a text. An address such as 192.0.2.1 is none, as it has a fourth number.
fn statuses_in(text: &str) -> impl Iterator<Item = EnhancedStatus> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|word| EnhancedStatus::parse(word.trim_end_matches('.')))
}

#[cfg(test)]
mod tests;
