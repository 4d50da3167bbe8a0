//! The transport of e-mails: SMTP, or files for development.

use std::sync::Arc;

use lettre::Message;

use super::{
    folder::MailFolder,
    handover::Handover,
    send_error::SendError,
    settings::{HeloName, SmtpUrl},
    smtp::{Letter, Relay},
};
use crate::{domain::mail::QueuedMail, observability::metrics::RejectionClass};

/// The transport of e-mails.
#[derive(Clone, Debug)]
pub enum Transport {
    /// A mail server.
    Smtp(Arc<Relay>),
    /// Files in a directory.
    Folder(MailFolder),
}

impl Transport {
    /// Creates the transport to the server of `url`, with `helo_name` in EHLO.
    ///
    /// # Errors
    /// The cause why TLS cannot be set up, in one line.
    pub fn smtp(url: &SmtpUrl, helo_name: HeloName) -> Result<Self, String> {
        Ok(Self::Smtp(Arc::new(Relay::new(url.clone(), helo_name)?)))
    }

    /// Returns the mail server for log lines, or `files`.
    pub(super) fn server(&self) -> String {
        match self {
            Self::Smtp(relay) => relay.server(),
            Self::Folder(_) => "files".to_owned(),
        }
    }

    /// Sends an e-mail.
    pub(super) async fn send(
        &self,
        mail: &QueuedMail,
        message: &Message,
        handover: &Handover<'_>,
    ) -> Result<(), SendError> {
        let text = message.formatted();
        match self {
            Self::Smtp(relay) => {
                let from = message.envelope().from().map(AsRef::as_ref);
                let letter = Letter {
                    from: from.unwrap_or_default(),
                    to: mail.recipient.as_str(),
                    text: &text,
                };
                relay.send(&letter, handover).await
            }
            Self::Folder(folder) => {
                let written = folder.write(&mail.customer_number, mail.id, text).await;
                written.map_err(|error| {
                    let failure = format!("file: {}", error.kind());
                    SendError::new(failure, RejectionClass::System)
                })
            }
        }
    }
}
