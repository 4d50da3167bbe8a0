//! Replies of an SMTP server (RFC 5321, 4.2), read from whatever bytes a server sends.
//!
//! The three digits count. The text may hold any bytes and be of any length: what exceeds the
//! bounds is read over, or left unread once the verdict is known.

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
    /// The number that the three digits make.
    pub(super) code: u16,
    /// Texts of the lines after code and separator, as far as they are kept.
    pub(super) texts: Vec<String>,
    /// The end of the reply was not read, so that no further command may follow.
    pub(super) is_cut: bool,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The connection was closed before the three digits.
    Closed,
    /// The reading failed.
    Failed(io::ErrorKind),
    /// The server sent something that begins with no code.
    NotSmtp,
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Newline,
    Closed,
    TooMuch,
}

impl Reply {
    /// Reads the next reply. Of several lines the last one's code counts.
    pub(super) async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Self, Unreadable> {
        let mut left = MAX_REPLY_BYTES;
        let mut code = None;
        let mut texts = Vec::new();
        loop {
            let (line, end) = match read_line(reader, &mut left).await {
                // The code of the lines before is the verdict.
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

    /// The enhanced status code. It begins the text of a line (RFC 2034); a code elsewhere in the
    /// text counts where no line begins with one. Of several codes one that is not about the
    /// mailbox counts, so that a doubt marks no address.
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

/// Reads up to the next line feed, and keeps the beginning.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    left: &mut usize,
) -> Result<(Vec<u8>, End), Unreadable> {
    let mut line = Vec::new();
    loop {
        let available = match reader.fill_buf().await {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Many servers end TLS without its farewell; a reset after the digits is no other case.
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
        *left = left.saturating_sub(used);
        if newline.is_some() {
            return Ok((line, End::Newline));
        }
        if *left == 0 {
            return Ok((line, End::TooMuch));
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

/// The code that a text begins with, as in `5.1.1 text`, `#5.1.1: text` or `(5.7.1) text`.
fn leading_status(text: &str) -> Option<EnhancedStatus> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "#([<{\"':".contains(c));
    statuses_in(text.split_whitespace().next()?)
        .next()
        .filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// All codes in a text. Addresses such as 192.0.2.1 hold none, as they have a fourth number.
fn statuses_in(text: &str) -> impl Iterator<Item = EnhancedStatus> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|word| EnhancedStatus::parse(word.trim_end_matches('.')))
}

#[cfg(test)]
mod tests;
