//! Delivery status notifications (RFC 3464, and RFC 6533 for addresses in UTF-8).

use super::{
    address::{final_recipient, original_recipient},
    fields::{Field, Item, items, without_comments},
    mime::{Email, Part, parse_date},
    notice::Notice,
};
use crate::domain::{delivery_report::DeliveryStatus, enhanced_status::EnhancedStatus};

const TYPES: [&str; 2] = ["message/delivery-status", "message/global-delivery-status"];
/// The types under which gateways deliver the report, and the field that it then begins with.
const DISGUISES: [&str; 3] = [
    "text/plain",
    "text/rfc822-headers",
    "application/octet-stream",
];
const FIRST_FIELD: &str = "Reporting-MTA";

/// Reads the notices of a message. Returns `None` if it is no delivery status notification.
pub(super) fn read(email: &Email<'_>) -> Option<Vec<Notice>> {
    let is_report = email.root().is_report("delivery-status");
    let mut texts: Vec<_> = email
        .parts()
        .filter(|part| part.is(&TYPES))
        .map(Part::text)
        .collect();
    if texts.is_empty() && is_report {
        texts.extend(email.parts().filter_map(disguised));
    }
    let is_bounce = is_report || !texts.is_empty();
    let notices = texts.iter().flat_map(|text| parse(text));
    is_bounce.then(|| notices.collect())
}

fn disguised(part: &Part<'_>) -> Option<String> {
    if !part.is(&DISGUISES) {
        return None;
    }
    let text = part.text();
    let first = items(text.trim_start()).next()?;
    let is_status = matches!(first, Item::Field(field) if field.is(FIRST_FIELD));
    is_status.then_some(text)
}

/// Parses the groups of a report. Fields about the message as a whole are skipped.
fn parse(text: &str) -> Vec<Notice> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    for item in items(text) {
        match item {
            Item::Field(field) => {
                if group.ends_before(&field) {
                    groups.push(std::mem::take(&mut group));
                }
                group.insert(field);
            }
            Item::Blank if group.is_complete() => groups.push(std::mem::take(&mut group)),
            Item::Blank => group.is_interrupted = group.has_recipient(),
            Item::Other => {}
        }
    }
    groups.push(group);
    let groups = groups.into_iter().filter(Group::is_about_recipient);
    groups.map(Group::into_notice).collect()
}

/// The fields about one recipient.
#[derive(Debug, Default)]
struct Group {
    original_recipient: Option<String>,
    final_recipient: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic_code: Option<String>,
    last_attempt_date: Option<String>,
    /// A blank line came before the action.
    is_interrupted: bool,
}

impl Group {
    /// Returns true if the field belongs to the next recipient. Some servers omit the blank line
    /// between recipients, and some insert one between the fields of a recipient.
    fn ends_before(&self, field: &Field<'_>) -> bool {
        if field.is("Original-Recipient") {
            self.original_recipient.is_some()
                || (self.final_recipient.is_some()
                    && (self.action.is_some() || self.is_interrupted))
        } else if field.is("Final-Recipient") {
            self.final_recipient.is_some()
                || (self.original_recipient.is_some() && self.is_interrupted)
        } else {
            field.is("Action") && self.action.is_some()
        }
    }

    fn insert(&mut self, field: Field<'_>) {
        let slot = match field.name.to_ascii_lowercase().as_str() {
            "original-recipient" => &mut self.original_recipient,
            "final-recipient" => &mut self.final_recipient,
            "action" => &mut self.action,
            "status" => &mut self.status,
            "diagnostic-code" => &mut self.diagnostic_code,
            "last-attempt-date" => &mut self.last_attempt_date,
            _ => return,
        };
        slot.get_or_insert(field.value);
    }

    fn has_recipient(&self) -> bool {
        self.original_recipient.is_some() || self.final_recipient.is_some()
    }

    fn is_complete(&self) -> bool {
        self.has_recipient() && self.action.is_some()
    }

    fn is_about_recipient(&self) -> bool {
        self.has_recipient() || self.action.is_some()
    }

    fn into_notice(self) -> Notice {
        let original = self.original_recipient.as_deref();
        let original = original.and_then(original_recipient);
        let status = self.status.as_deref().and_then(leading_code);
        Notice {
            // The address before a forwarding is the one that the sender knows.
            address: original.or_else(|| final_recipient(self.final_recipient.as_deref()?)),
            status: self
                .action
                .as_deref()
                .and_then(outcome)
                .or_else(|| implied_outcome(status?)),
            enhanced_status: self.most_specific(status),
            time: self.last_attempt_date.as_deref().and_then(parse_date),
        }
    }

    /// Returns the status, or the code of the reply in `Diagnostic-Code` if the status says nothing
    /// but the class: servers write `5.0.0` for all replies that they do not map.
    fn most_specific(&self, status: Option<EnhancedStatus>) -> Option<EnhancedStatus> {
        let is_specific = |status: &EnhancedStatus| (status.subject, status.detail) != (0, 0);
        let reply = || reply_code(self.diagnostic_code.as_deref()?);
        status.filter(is_specific).or_else(reply).or(status)
    }
}

/// Maps an action (RFC 3464, 2.3.3). Returns `None` for an unknown one.
fn outcome(action: &str) -> Option<DeliveryStatus> {
    let action = without_comments(action).to_ascii_lowercase();
    match action.split_whitespace().next()? {
        // Also with a status of class 4: the server has stopped retrying.
        "failed" => Some(DeliveryStatus::FailedPermanently),
        "delayed" => Some(DeliveryStatus::FailedTemporarily),
        "delivered" | "relayed" | "expanded" => Some(DeliveryStatus::Delivered),
        _ => None,
    }
}

/// Maps the class of a status, for reports without a known action.
fn implied_outcome(status: EnhancedStatus) -> Option<DeliveryStatus> {
    match status.class {
        2 => Some(DeliveryStatus::Delivered),
        4 => Some(DeliveryStatus::FailedTemporarily),
        5 => Some(DeliveryStatus::FailedPermanently),
        _ => None,
    }
}

/// Parses the code at the beginning of a text, before a blank or a comment.
fn leading_code(text: &str) -> Option<EnhancedStatus> {
    let text = without_comments(text);
    let token = text.split(|c: char| c.is_whitespace() || matches!(c, ';' | ','));
    EnhancedStatus::parse(token.into_iter().next()?)
}

/// Parses the code of an SMTP reply such as `smtp; 550 5.1.1 unknown` or `smtp; 550-5.1.1 unknown`.
fn reply_code(diagnostic_code: &str) -> Option<EnhancedStatus> {
    let (_, reply) = diagnostic_code.split_once(';')?;
    let reply = reply.trim_start();
    let (digits, rest) = reply.split_at_checked(3)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    leading_code(
        rest.strip_prefix(['-', ' '])?
            .trim_start_matches([' ', '#']),
    )
}

#[cfg(test)]
mod tests;
