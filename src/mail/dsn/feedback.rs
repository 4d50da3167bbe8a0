//! Feedback reports: complaints of recipients (RFC 5965).

use super::{
    address::plain,
    fields::{Field, Item, items, without_comments},
    mime::Email,
    notice::Notice,
};
use crate::domain::delivery_report::DeliveryStatus;

const TYPE: &str = "message/feedback-report";
/// The types of feedback by which a recipient rejects a mail. Others report about authentication
/// (RFC 6591) or withdraw a complaint (RFC 6430).
const COMPLAINTS: [&str; 4] = ["abuse", "fraud", "opt-out", "other"];

/// Reads the notices of a message. Returns `None` if it is no complaint.
///
/// Only `Original-Rcpt-To` names the recipient: the returned message is often redacted.
pub(super) fn read(email: &Email<'_>) -> Option<Vec<Notice>> {
    let text = email.parts().find(|part| part.is(&[TYPE]))?.text();
    let fields = items(&text).filter_map(|item| match item {
        Item::Field(field) => Some(field),
        Item::Blank | Item::Other => None,
    });
    let fields: Vec<_> = fields.collect();
    let kind = fields.iter().find(|field| field.is("Feedback-Type"))?;
    let kind = without_comments(&kind.value);
    if !COMPLAINTS
        .iter()
        .any(|complaint| kind.eq_ignore_ascii_case(complaint))
    {
        return None;
    }
    let recipients = fields.iter().filter(|field| field.is("Original-Rcpt-To"));
    Some(recipients.map(notice).collect())
}

fn notice(recipient: &Field<'_>) -> Notice {
    Notice {
        address: plain(&recipient.value),
        status: Some(DeliveryStatus::Complaint),
        ..Notice::default()
    }
}
