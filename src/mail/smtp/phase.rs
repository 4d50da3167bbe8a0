//! The phases of an SMTP dialogue, and their timeouts.

use std::{fmt, time::Duration};

/// A phase of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Lookup,
    Connect,
    Handshake,
    Greeting,
    Hello,
    StartTls,
    Authentication,
    Sender,
    Recipient,
    Data,
    Text,
    EndOfData,
}

impl Phase {
    /// Returns the timeout: from RFC 5321, 4.5.3.2 where it names one.
    pub(super) const fn timeout(self) -> Duration {
        match self {
            Self::Lookup | Self::Connect => Duration::from_secs(30),
            Self::Handshake => Duration::from_mins(1),
            Self::Greeting
            | Self::Hello
            | Self::StartTls
            | Self::Authentication
            | Self::Sender
            | Self::Recipient => Duration::from_mins(5),
            Self::Data => Duration::from_mins(2),
            Self::Text => Duration::from_mins(3),
            Self::EndOfData => Duration::from_mins(10),
        }
    }

    /// Returns true if the attempt can be abandoned without the risk of a second copy: the server
    /// accepts an e-mail only with its reply to the end of the data.
    pub(super) const fn is_abandonable(self) -> bool {
        !matches!(self, Self::EndOfData)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "DNS lookup",
            Self::Connect => "connect",
            Self::Handshake => "TLS handshake",
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Authentication => "AUTH",
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Text => "text",
            Self::EndOfData => "end of data",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
