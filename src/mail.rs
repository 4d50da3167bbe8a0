//! Mail that leaves: templates in both languages, the worker that empties the outbox,
//! and the transport.
//!
//! Which mail is due is decided in `app`, in the transaction of what the mail tells
//! of. Here it is sent, outside any transaction, and struck off.

mod bounce;
mod delivery;
mod folder;
mod handover;
mod message;
mod outbox;
mod refusal;
mod sender;
mod settings;
mod signal;
mod smtp;
mod templates;
mod transport;
mod workers;

pub use self::{
    folder::MailFolder,
    outbox::{Outbox, OutboxParts},
    sender::Sender,
    settings::{HeloName, PublicUrl, SmtpUrl},
    signal::MailSignal,
    templates::Templates,
    transport::Transport,
};
