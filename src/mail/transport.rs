//! How a mail leaves: over SMTP, or as a file for trying the service out.

use std::sync::Arc;

use lettre::Message;

use super::{
    folder::MailFolder,
    handover::Handover,
    refusal::Refusal,
    settings::{HeloName, SmtpUrl},
    smtp::{Letter, Relay},
};
use crate::{domain::mail::QueuedMail, observability::metrics::RejectionClass};

/// How a mail leaves.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Over SMTP.
    Smtp(Arc<Relay>),
    /// As a file in a folder.
    Folder(MailFolder),
}

impl Transport {
    /// Over SMTP, to the server of `url`, which is greeted as `helo_name`.
    ///
    /// # Errors
    /// A line that says why TLS cannot be set up.
    pub fn smtp(url: &SmtpUrl, helo_name: HeloName) -> Result<Self, String> {
        Ok(Self::Smtp(Arc::new(Relay::new(url.clone(), helo_name)?)))
    }

    /// The mail server as the log names it, or `files`.
    pub(super) fn server(&self) -> String {
        match self {
            Self::Smtp(relay) => relay.server(),
            Self::Folder(_) => "files".to_owned(),
        }
    }

    /// Hands a mail over.
    pub(super) async fn send(
        &self,
        mail: &QueuedMail,
        message: &Message,
        handover: &Handover<'_>,
    ) -> Result<(), Refusal> {
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
                    Refusal::new(failure, RejectionClass::System)
                })
            }
        }
    }
}
