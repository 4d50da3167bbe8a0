//! Classifies failed dialogues: by the class a failure is counted, and the address marked where it
//! is [`Class::Mailbox`] (rule 32).

use std::io;

use super::{
    phase::Phase,
    reply::{Reply, Unreadable},
};
use crate::{
    domain::enhanced_status::EnhancedStatus, mail::refusal::Refusal,
    observability::metrics::RejectionClass as Class,
};

/// The refusal that a reply expresses.
pub(super) fn of_reply(phase: Phase, reply: &Reply) -> Refusal {
    let status = reply.enhanced_status();
    let code = reply.code;
    let failure = match status {
        Some(status) => format!("SMTP {code} {status} at {phase}"),
        None => format!("SMTP {code} at {phase}"),
    };
    Refusal::new(failure, classify(phase, reply, status))
}

/// Nothing came within the phase's time.
pub(super) fn timeout(phase: Phase) -> Refusal {
    Refusal::new(format!("timeout at {phase}"), Class::Connection)
}

/// The attempt was abandoned because too many others wait.
pub(super) fn crowded(phase: Phase) -> Refusal {
    Refusal::new(
        format!("slow at {phase} while many mails wait"),
        Class::Connection,
    )
}

/// The connection ended or failed.
pub(super) fn unreadable(phase: Phase, why: Unreadable) -> Refusal {
    match why {
        Unreadable::Closed => {
            Refusal::new(format!("connection closed at {phase}"), Class::Connection)
        }
        Unreadable::Failed(kind) => broken(phase, kind),
        Unreadable::NotSmtp => Refusal::new(format!("no SMTP reply at {phase}"), Class::Protocol),
    }
}

/// Reading or writing failed.
pub(super) fn broken(phase: Phase, kind: io::ErrorKind) -> Refusal {
    Refusal::new(format!("{kind} at {phase}"), Class::Connection)
}

/// A failure of TLS; `what` names it.
pub(super) fn tls(what: &str) -> Refusal {
    Refusal::new(format!("TLS: {what}"), Class::Tls)
}

/// Classifies a reply. [`Class::Mailbox`] is the verdict on the recipient's mailbox alone: replies
/// before RCPT are about this service, its sender or its login, whatever their codes say.
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
            return unless_mailbox(status.map_or(Class::Policy, of_status), Class::Policy);
        }
        Phase::Sender => {
            return unless_mailbox(status.map_or(Class::Sender, of_status), Class::Sender);
        }
        Phase::Recipient | Phase::Data | Phase::Text | Phase::EndOfData => {}
    }
    status.map_or_else(|| of_code(reply.code), of_status)
}

/// Classifies an enhanced status code (RFC 3463, and the registry of its codes).
fn of_status(status: EnhancedStatus) -> Class {
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
        // A class that contradicts the three digits is no verdict on the mailbox.
        _ => Class::Other,
    }
}

/// Classifies a permanent failure without an enhanced code: as one of the mailbox, where the digits
/// name nothing else.
fn of_code(code: u16) -> Class {
    match code {
        // RFC 4954.
        530 | 534 | 535 | 538 => Class::Authentication,
        // RFC 7504: the host takes no mail, which is no verdict on the mailbox's domain (556 is).
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
