//! Classifies failed dialogues. The class is the label of a metric, and [`Class::Mailbox`] marks the
//! address (rule 32).

use std::io;

use super::{
    phase::Phase,
    reply::{Reply, Unreadable},
};
use crate::{
    domain::enhanced_status::EnhancedStatus, mail::send_error::SendError,
    observability::metrics::RejectionClass as Class,
};

/// Creates the error of a negative reply.
pub(super) fn negative_reply(phase: Phase, reply: &Reply) -> SendError {
    let status = reply.enhanced_status();
    let code = reply.code;
    let failure = match status {
        Some(status) => format!("SMTP {code} {status} at {phase}"),
        None => format!("SMTP {code} at {phase}"),
    };
    SendError::new(failure, classify(phase, reply, status))
}

/// Creates the error of a phase that timed out.
pub(super) fn timeout(phase: Phase) -> SendError {
    SendError::new(format!("timeout at {phase}"), Class::Connection)
}

/// Creates the error of an attempt that was abandoned under load.
pub(super) fn overloaded(phase: Phase) -> SendError {
    SendError::new(
        format!("slow at {phase} while many mails wait"),
        Class::Connection,
    )
}

/// Creates the error of a reply that cannot be read.
pub(super) fn unreadable(phase: Phase, why: Unreadable) -> SendError {
    match why {
        Unreadable::Closed => {
            SendError::new(format!("connection closed at {phase}"), Class::Connection)
        }
        Unreadable::Failed(kind) => broken(phase, kind),
        Unreadable::NotSmtp => SendError::new(format!("no SMTP reply at {phase}"), Class::Protocol),
    }
}

/// Creates the error of a failed read or write.
pub(super) fn broken(phase: Phase, kind: io::ErrorKind) -> SendError {
    SendError::new(format!("{kind} at {phase}"), Class::Connection)
}

/// Creates the error of a TLS failure.
pub(super) fn tls(cause: &str) -> SendError {
    SendError::new(format!("TLS: {cause}"), Class::Tls)
}

/// Classifies a reply. [`Class::Mailbox`] is only about the recipient's mailbox: replies before RCPT
/// are about this service, its sender or its login, regardless of their codes.
fn classify(phase: Phase, reply: &Reply, status: Option<EnhancedStatus>) -> Class {
    if !reply.is_permanent_failure() {
        return if reply.code / 100 == 4 {
            Class::Temporary
        } else {
            Class::Protocol
        };
    }
    match phase {
        Phase::Authentication => return Class::Authentication,
        Phase::StartTls => return Class::Tls,
        Phase::Lookup | Phase::Connect | Phase::Handshake | Phase::Greeting | Phase::Hello => {
            return unless_mailbox(status.map_or(Class::Policy, classify_status), Class::Policy);
        }
        Phase::Sender => {
            return unless_mailbox(status.map_or(Class::Sender, classify_status), Class::Sender);
        }
        Phase::Recipient | Phase::Data | Phase::Text | Phase::EndOfData => {}
    }
    status.map_or_else(|| classify_code(reply.code), classify_status)
}

/// Classifies an enhanced status code (RFC 3463, and the registry of its codes).
fn classify_status(status: EnhancedStatus) -> Class {
    if status.is_about_mailbox() {
        return Class::Mailbox;
    }
    match (status.class, status.subject, status.detail) {
        (5, 1, 7 | 8) => Class::Sender,
        (5, 2, 2) => Class::MailboxFull,
        (5, 2, 3) | (5, 3, 4) | (5, 6, _) => Class::Content,
        (5, 3, _) => Class::System,
        (5, 4, _) => Class::Routing,
        (5, 5, _) => Class::Protocol,
        (5, 7, _) => Class::Policy,
        // A class that contradicts the reply code says nothing about the mailbox.
        _ => Class::Other,
    }
}

/// Classifies a permanent failure without an enhanced code. It is about the mailbox unless the code
/// has another meaning.
fn classify_code(code: u16) -> Class {
    match code {
        // RFC 4954.
        530 | 534 | 535 | 538 => Class::Authentication,
        // RFC 7504: the host accepts no mail, which says nothing about the domain of the mailbox (556 does).
        521 => Class::Routing,
        500..=539 | 555 => Class::Protocol,
        // RFC 5321: "exceeded storage allocation", of the mailbox or for this mail.
        552 => Class::MailboxFull,
        _ => Class::Mailbox,
    }
}

fn unless_mailbox(class: Class, otherwise: Class) -> Class {
    if class == Class::Mailbox {
        otherwise
    } else {
        class
    }
}

#[cfg(test)]
mod tests;
