//! Bounces in plain text: qmail and Yahoo (QSBMF), Exim and kundenserver, and sendmail before 8.8.
//!
//! Each format has a fixed first line, a fixed line before its list of addresses, and a fixed form of
//! that list. All other texts are ignored.

use super::{
    address::plain,
    mime::{Email, Part},
    notice::Notice,
};
use crate::domain::{
    delivery_report::DeliveryStatus, email_address::EmailAddress, enhanced_status::EnhancedStatus,
};

const QSBMF: [&str; 2] = [
    "Hi. This is the",
    "Sorry, we were unable to deliver your message to the following address",
];
const EXIM: &str = "This message was created automatically by mail delivery software";
const SENDMAIL: &str = "The original message was received at";

/// The ends of the texts before the lists of Exim and sendmail.
const LISTS: [(&str, DeliveryStatus); 6] = [
    (
        "The following address(es) failed:",
        DeliveryStatus::FailedPermanently,
    ),
    (
        "The following addresses failed:",
        DeliveryStatus::FailedPermanently,
    ),
    (
        "has not yet been delivered is:",
        DeliveryStatus::FailedTemporarily,
    ),
    (
        "have not yet been delivered are:",
        DeliveryStatus::FailedTemporarily,
    ),
    (
        "----- The following addresses had permanent fatal errors -----",
        DeliveryStatus::FailedPermanently,
    ),
    (
        "----- The following addresses had transient non-fatal errors -----",
        DeliveryStatus::FailedTemporarily,
    ),
];
/// The lines by which Exim and sendmail name the address before an alias or a forwarding.
const ORIGINS: [&str; 3] = [
    "generated from ",
    "ultimately generated from ",
    "expanded from: ",
];

/// Exim lists the addresses of a bounce in this header, too.
const FAILED_RECIPIENTS: &str = "X-Failed-Recipients";
/// Limits the comparison of the header with the text.
const MAX_FAILED_RECIPIENTS: usize = 1000;

/// Reads the notices of a message. Returns `None` if it has none of the formats.
pub(super) fn read(email: &Email<'_>) -> Option<Vec<Notice>> {
    let text = email
        .parts()
        .find(|part| part.is(&["text/plain"]))
        .map(Part::text);
    let entries = text.as_deref().and_then(entries);
    let header = email.header(FAILED_RECIPIENTS);
    if entries.is_none() && header.is_none() {
        return None;
    }
    let entries = entries.unwrap_or_default();
    let header = header.unwrap_or_default();
    let failed = header
        .split(',')
        .take(MAX_FAILED_RECIPIENTS)
        .filter_map(plain);
    let is_listed = |address: &EmailAddress| {
        let mut listed = entries.iter().filter_map(|entry| entry.address.as_ref());
        listed.any(|listed| listed.is_same_as(address))
    };
    let unlisted = failed
        .filter(|address| !is_listed(address))
        .map(|address| Notice {
            address: Some(address),
            status: Some(DeliveryStatus::FailedPermanently),
            ..Notice::default()
        });
    let unlisted: Vec<_> = unlisted.collect();
    Some(
        entries
            .into_iter()
            .map(Entry::into_notice)
            .chain(unlisted)
            .collect(),
    )
}

/// An address of a list, and the reasons of its failure.
#[derive(Debug)]
struct Entry {
    address: Option<EmailAddress>,
    status: DeliveryStatus,
    reasons: Vec<String>,
}

impl Entry {
    /// Reads the line with the address, which a colon or a note may follow.
    fn new(line: &str, status: DeliveryStatus) -> Self {
        let word = line.split_whitespace().next().unwrap_or_default();
        Self {
            address: plain(word.trim_end_matches(':')),
            status,
            reasons: Vec::new(),
        }
    }

    fn into_notice(self) -> Notice {
        let origin = self.reasons.iter().find_map(|line| origin(line));
        Notice {
            address: origin.or(self.address),
            status: Some(self.status),
            enhanced_status: enhanced_status(&self.reasons.join(" ")),
            time: None,
        }
    }
}

/// Returns the entries of a text, or `None` if it has none of the formats.
fn entries(text: &str) -> Option<Vec<Entry>> {
    let first = text.trim_start();
    if QSBMF.iter().any(|opening| first.starts_with(opening)) {
        return Some(paragraphs(text));
    }
    let is_known = first.starts_with(EXIM) || first.starts_with(SENDMAIL);
    is_known.then(|| list(text))
}

/// Reads the paragraphs that begin with `<address>:`, up to the one that begins with a dash.
fn paragraphs(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut is_first_line = true;
    let mut is_entry = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            is_first_line = true;
            is_entry = false;
            continue;
        }
        if is_first_line {
            if line.starts_with('-') {
                break;
            }
            is_entry = line.starts_with('<') && line.trim_end().ends_with(">:");
            if is_entry {
                entries.push(Entry::new(line, DeliveryStatus::FailedPermanently));
            }
        } else if is_entry && let Some(entry) = entries.last_mut() {
            entry.reasons.push(line.to_owned());
        }
        is_first_line = false;
    }
    entries
}

/// Reads the list of a text by Exim or sendmail: addresses in angle brackets, or indented by up to
/// three spaces and with reasons that are indented further.
fn list(text: &str) -> Vec<Entry> {
    let mut lines = text.lines();
    let Some(status) = find_list(&mut lines) else {
        return Vec::new();
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut has_brackets = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.starts_with("---") {
            break;
        }
        let is_bracketed = indent == 0 && content.starts_with('<');
        has_brackets |= is_bracketed;
        if is_bracketed || (!has_brackets && (1..=3).contains(&indent)) {
            entries.push(Entry::new(content, status));
        } else if indent == 0 && !has_brackets {
            // Prose after the list.
            break;
        } else if let Some(entry) = entries.last_mut() {
            entry.reasons.push(content.to_owned());
        }
    }
    entries
}

/// Moves to the list. The text before it is wrapped differently by each version.
fn find_list<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<DeliveryStatus> {
    let mut paragraph = String::new();
    for line in lines {
        let line = line.trim();
        if line.is_empty() {
            paragraph.clear();
            continue;
        }
        paragraph.push(' ');
        paragraph.push_str(line);
        let known = LISTS.iter().find(|(end, _)| paragraph.ends_with(end));
        if let Some((_, status)) = known {
            return Some(*status);
        }
    }
    None
}

fn origin(line: &str) -> Option<EmailAddress> {
    let line = line.trim_start_matches(['(', ' ']);
    let address = ORIGINS
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))?;
    let word = address.split_whitespace().next()?;
    plain(word.trim_end_matches([')', ':', ',']))
}

/// Finds the code of the quoted SMTP reply, such as `550 5.1.1` or `550-5.1.1`, or the code that
/// qmail appends, such as `(#5.1.1)`.
fn enhanced_status(reasons: &str) -> Option<EnhancedStatus> {
    let words = || reasons.split_whitespace();
    let mut pairs = words().zip(words().skip(1).chain([""]));
    let quoted = pairs.find_map(|(word, next)| {
        let (code, enhanced) = word.split_once('-').unwrap_or((word, next));
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        is_code.then(|| EnhancedStatus::parse(enhanced)).flatten()
    });
    let appended = || {
        let (_, rest) = reasons.rsplit_once("(#")?;
        EnhancedStatus::parse(rest.split_once(')')?.0)
    };
    quoted.or_else(appended)
}

#[cfg(test)]
mod tests;
