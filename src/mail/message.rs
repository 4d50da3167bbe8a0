//! Composes messages (RFC 5322).
//!
//! Headers hold no text of users: the recipient is an address without a name, and subjects hold no
//! name but the brand's.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Attachment, Body, Mailbox, Mailboxes, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, From, HeaderName, HeaderValue},
    },
};

use super::{
    sender::Sender,
    templates::{LOGO_ID, Rendered},
    transport::Transport,
};
use crate::{
    brand::Logo,
    domain::{email_address::EmailAddress, mail::QueuedMail},
    error::{Error, Result},
};

/// RFC 3834: suppresses automatic replies.
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
/// Suppresses receipts, out-of-office notes and other automatic replies of Exchange and Outlook.
const AUTO_RESPONSE_SUPPRESS: HeaderName =
    HeaderName::new_from_ascii_str("X-Auto-Response-Suppress");

/// The transfer encoding of the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Accepted by every server.
    ForServers,
    /// Readable in a file, with a link that can be copied.
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
        // The library would encode long lines.
        if self == Self::ForReaders && text.split('\n').all(fits_a_line) {
            let bytes = text.replace('\n', "\r\n").into_bytes();
            return Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::EightBit);
        }
        Body::new(text)
    }
}

/// Returns true for a line of at most 998 bytes (RFC 5322, 2.1.1) without other line ends.
fn fits_a_line(line: &str) -> bool {
    line.len() < 998 && !line.contains(['\r', '\0'])
}

/// Composes a message. Its Message-ID is the id of the row in the outbox, so that mail programs can
/// detect a second copy.
///
/// # Errors
/// [`Error::Internal`] if the recipient is not a valid address.
pub(super) fn compose(
    sender: &Sender,
    mail: &QueuedMail,
    rendered: Rendered,
    encoding: Encoding,
    now: DateTime<Utc>,
) -> Result<Message> {
    let failed = || Error::internal("a message cannot be composed");
    // The library accepts more addresses than the service does.
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
        .multipart(bodies(rendered, encoding)?)
        .map_err(|_| failed())?;
    let from = From::from(Mailboxes::from(sender));
    message.headers_mut().set(from);
    Ok(message)
}

/// The logo is next to the HTML that shows it (RFC 2387): a remote image would be blocked, or would
/// report that the e-mail was opened.
fn bodies(rendered: Rendered, encoding: Encoding) -> Result<MultiPart> {
    let text = part(ContentType::TEXT_PLAIN, encoding.body(rendered.text));
    let html = part(ContentType::TEXT_HTML, encoding.body(rendered.html));
    let bodies = MultiPart::alternative().singlepart(text);
    let Some(logo) = rendered.logo else {
        return Ok(bodies.singlepart(html));
    };
    let content_type = ContentType::parse(Logo::CONTENT_TYPE)
        .map_err(|_| Error::internal("the logo has no media type"))?;
    let logo = Attachment::new_inline(LOGO_ID.to_owned()).body(logo.bytes().to_vec(), content_type);
    let related = MultiPart::related().singlepart(html).singlepart(logo);
    Ok(bodies.multipart(related))
}

fn part(content_type: ContentType, body: Body) -> SinglePart {
    SinglePart::builder().header(content_type).body(body)
}

/// Replaces line ends, as a custom template may put a name into a subject.
fn single_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.replace(is_break, " ")
}

#[cfg(test)]
mod tests;
