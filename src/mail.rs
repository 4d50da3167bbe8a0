//! Outgoing e-mail: templates in both languages, the outbox worker, and the transport. `dsn` reads the
//! bounces of other services' mails.
//!
//! `app` queues an e-mail in the transaction of the change that it reports (transactional outbox).
//! The worker sends it outside of any transaction, and deletes it from the outbox.

mod bounce;
mod claims;
mod delivery;
mod domain_name;
pub mod dsn;
mod folder;
mod handover;
mod local_time;
mod message;
mod outbox;
mod send_error;
mod sender;
mod settings;
mod signal;
mod smtp;
mod templates;
mod transport;
mod workers;

pub use self::{
    delivery::OutboxParts,
    folder::{MailFolder, StoredMail},
    outbox::Outbox,
    sender::Sender,
    settings::{HeloName, PublicUrl, SmtpUrl},
    signal::MailSignal,
    templates::Templates,
    transport::Transport,
};
