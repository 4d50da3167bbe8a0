//! A mail in the form in which it travels (RFC 5322).
//!
//! No text of a user gets into a header: the addressee stands there by address alone,
//! and the subjects hold no names.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Body, Mailbox, Mailboxes, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, From, HeaderName, HeaderValue},
    },
};

use super::{sender::Sender, templates::Rendered, transport::Transport};
use crate::{
    domain::{email_address::EmailAddress, mail::QueuedMail},
    error::{Error, Result},
};

/// RFC 3834: no out-of-office note shall answer.
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
/// Exchange and Outlook: no receipts, out-of-office notes or other answers of programs.
const AUTO_RESPONSE_SUPPRESS: HeaderName =
    HeaderName::new_from_ascii_str("X-Auto-Response-Suppress");

/// How the bodies of a mail are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// So that every server passes it on.
    ForServers,
    /// So that whoever opens the file can read it, and copy its link.
    ForReaders,
}

impl Encoding {
    pub(super) const fn of(transport: &Transport) -> Self {
        match transport {
            Transport::Smtp(_) => Self::ForServers,
            Transport::Folder(_) => Self::ForReaders,
        }
    }

    fn body(self, text: String) -> Body {
        // The library would encode lines that are longer than a terminal is wide.
        if self == Self::ForReaders && text.split('\n').all(fits_a_line) {
            let bytes = text.replace('\n', "\r\n").into_bytes();
            return Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::EightBit);
        }
        Body::new(text)
    }
}

/// RFC 5322, 2.1.1: 998 bytes, and no line ends of other kinds within.
fn fits_a_line(line: &str) -> bool {
    line.len() < 998 && !line.contains(['\r', '\0'])
}

/// Puts a mail together. Its Message-ID is that of the row in the outbox, so that
/// whoever gets a mail twice can tell.
///
/// # Errors
/// [`Error::Internal`] when the recipient is no address for mail.
pub(super) fn compose(
    sender: &Sender,
    mail: &QueuedMail,
    rendered: Rendered,
    encoding: Encoding,
    now: DateTime<Utc>,
) -> Result<Message> {
    let failed = || Error::internal("a mail cannot be put together");
    // The library takes more for an address than the service does.
    let recipient = EmailAddress::parse(mail.recipient.as_str()).map_err(|_| failed())?;
    let (local, domain) = recipient.as_str().rsplit_once('@').ok_or_else(failed)?;
    let recipient = Address::new(local, domain).map_err(|_| failed())?;
    let sender = sender.0.clone();
    let message_id = format!("<{}@{}>", mail.id, sender.email.domain());
    let envelope = Envelope::new(Some(sender.email.clone()), vec![recipient.clone()]);
    let recipient = Mailbox::new(None, recipient);
    let mut message = Message::builder()
        .envelope(envelope.map_err(|_| failed())?)
        // Replaced below: the builder reads this header, and cannot read every legal form.
        .from(recipient.clone())
        .to(recipient)
        .subject(single_line(&rendered.subject))
        .date(SystemTime::from(now))
        .message_id(Some(message_id))
        .raw_header(HeaderValue::new(
            AUTO_SUBMITTED,
            "auto-generated".to_owned(),
        ))
        .raw_header(HeaderValue::new(AUTO_RESPONSE_SUPPRESS, "All".to_owned()))
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, encoding.body(rendered.text)))
                .singlepart(part(ContentType::TEXT_HTML, encoding.body(rendered.html))),
        )
        .map_err(|_| failed())?;
    let from = From::from(Mailboxes::from(sender));
    message.headers_mut().set(from);
    Ok(message)
}

fn part(content_type: ContentType, body: Body) -> SinglePart {
    SinglePart::builder().header(content_type).body(body)
}

/// A template of the operator may put a name into a subject.
fn single_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.replace(is_break, " ")
}

#[cfg(test)]
mod tests;
