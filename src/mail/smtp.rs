//! The SMTP client (RFC 5321), which sends one e-mail to the operator's mail server.
//!
//! It is written by hand because the clients of the usual libraries fail on replies that are not
//! UTF-8 or longer than a few kilobytes, do not fall back to HELO, and have one timeout for all
//! phases.

mod failure;
mod phase;
mod reply;
mod session;
mod tls;

use std::{fmt, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;
use tokio::{
    net::{TcpStream, lookup_host},
    time,
};

use self::{
    phase::Phase,
    reply::Reply,
    session::{Session, Stream, within},
    tls::Encryptor,
};
use super::{
    handover::Handover,
    send_error::SendError,
    settings::{Encryption, HeloName, SmtpUrl},
};
use crate::observability::metrics::RejectionClass;

/// Limit for the reply to QUIT, which nothing depends on.
const QUIT_TIMEOUT: time::Duration = time::Duration::from_secs(1);

/// The mail server. Every e-mail has a connection of its own: a shared one could have been closed by
/// the server, or be in the middle of an abandoned dialogue.
pub struct Relay {
    url: SmtpUrl,
    helo_name: HeloName,
    encryptor: Option<Encryptor>,
}

/// The URL may hold a password.
impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay(…)")
    }
}

/// The envelope of an e-mail, and its text with CRLF line ends.
pub(super) struct Letter<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) text: &'a [u8],
}

/// The extensions that the server offers in its reply to EHLO.
#[derive(Debug, Default)]
struct Extensions {
    starttls: bool,
    smtputf8: bool,
    login: Option<Mechanism>,
}

/// A mechanism of authentication; PLAIN is preferred, as it takes one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mechanism {
    Login,
    Plain,
}

impl Relay {
    /// Creates a client for the server of `url`, with `helo_name` in EHLO.
    ///
    /// # Errors
    /// The cause why TLS cannot be set up, in one line.
    pub(super) fn new(url: SmtpUrl, helo_name: HeloName) -> Result<Self, String> {
        let encryptor = match url.encryption {
            Encryption::None => None,
            Encryption::Offered | Encryption::Required | Encryption::Wrapped => {
                Some(Encryptor::new(&url.host)?)
            }
        };
        Ok(Self {
            url,
            helo_name,
            encryptor,
        })
    }

    /// Returns host and port for log lines.
    pub(super) fn server(&self) -> String {
        format!("{}:{}", self.url.host, self.url.port)
    }

    /// Sends an e-mail. The reply to the end of its text is the verdict.
    pub(super) async fn send(
        &self,
        letter: &Letter<'_>,
        handover: &Handover<'_>,
    ) -> Result<(), SendError> {
        let stream = self.connect(handover).await?;
        let helo_name = self.helo_name.for_connection(stream.local_addr().ok());
        let stream: Box<dyn Stream> = match &self.encryptor {
            Some(encryptor) if self.url.encryption == Encryption::Wrapped => {
                encrypt(encryptor, stream, handover).await?
            }
            _ => Box::new(stream),
        };
        self.converse(stream, &helo_name, letter, handover).await
    }

    async fn connect(&self, handover: &Handover<'_>) -> Result<TcpStream, SendError> {
        let host = (self.url.host.as_str(), self.url.port);
        let addresses = within(Phase::Lookup, handover.overflow, lookup_host(host)).await?;
        let not_found = || SendError::new("DNS: host not found", RejectionClass::Connection);
        let mut send_error = not_found();
        for address in addresses.map_err(|_| not_found())? {
            let connecting = TcpStream::connect(address);
            match within(Phase::Connect, handover.overflow, connecting).await {
                Ok(Ok(stream)) => {
                    // Commands are short, and each waits for its reply.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => send_error = failure::broken(Phase::Connect, error.kind()),
                Err(slow) => send_error = slow,
            }
        }
        Err(send_error)
    }

    /// The dialogue from the greeting on.
    async fn converse(
        &self,
        stream: Box<dyn Stream>,
        helo_name: &str,
        letter: &Letter<'_>,
        handover: &Handover<'_>,
    ) -> Result<(), SendError> {
        let mut session = Session::new(stream, handover.overflow.clone());
        positive(Phase::Greeting, &session.reply(Phase::Greeting).await?)?;
        let mut extensions = hello(&mut session, helo_name).await?;
        if self.starts_tls(&mut session, &extensions).await?
            && let Some(encryptor) = &self.encryptor
        {
            let stream = encrypt(encryptor, session.into_stream()?, handover).await?;
            session = Session::new(stream, handover.overflow.clone());
            // The first offers were not encrypted, so they are discarded.
            extensions = hello(&mut session, helo_name).await?;
        }
        self.log_in(&mut session, &extensions).await?;
        let verdict = hand_over(&mut session, &extensions, letter, handover).await;
        tokio::spawn(async move {
            let _ = time::timeout(QUIT_TIMEOUT, session.quit()).await;
        });
        verdict
    }

    /// Negotiates TLS according to the settings. A server that offers STARTTLS and then rejects it is
    /// treated as one without TLS.
    async fn starts_tls(
        &self,
        session: &mut Session,
        extensions: &Extensions,
    ) -> Result<bool, SendError> {
        match self.url.encryption {
            Encryption::None | Encryption::Wrapped => return Ok(false),
            Encryption::Offered if !extensions.starttls => return Ok(false),
            Encryption::Required if !extensions.starttls => {
                return Err(failure::tls("STARTTLS is not offered"));
            }
            Encryption::Offered | Encryption::Required => {}
        }
        let reply = session.command(Phase::StartTls, "STARTTLS").await?;
        if reply.is_positive() {
            return Ok(true);
        }
        let closes = reply.code == 421 || reply.is_cut;
        if self.url.encryption == Encryption::Offered && !closes {
            tracing::warn!(
                code = reply.code,
                "mail server rejected STARTTLS after offering it"
            );
            return Ok(false);
        }
        Err(failure::tls(&format!("SMTP {} at STARTTLS", reply.code)))
    }

    async fn log_in(
        &self,
        session: &mut Session,
        extensions: &Extensions,
    ) -> Result<(), SendError> {
        let Some((user, password)) = &self.url.credentials else {
            return Ok(());
        };
        let password = password.expose_secret();
        let phase = Phase::Authentication;
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let reply = match extensions.login {
            Some(Mechanism::Plain) => {
                let response = encode(&format!("\0{user}\0{password}"));
                let command = format!("AUTH PLAIN {response}");
                let reply = session.command(phase, &command).await?;
                // Some servers accept the response only after a challenge.
                if reply.code == 334 {
                    session.command(phase, &response).await?
                } else {
                    reply
                }
            }
            Some(Mechanism::Login) => {
                let mut reply = session.command(phase, "AUTH LOGIN").await?;
                for text in [user.as_str(), password] {
                    if reply.code == 334 {
                        reply = session.command(phase, &encode(text)).await?;
                    }
                }
                reply
            }
            None => {
                let failure = "the server offers neither AUTH PLAIN nor AUTH LOGIN";
                return Err(SendError::new(failure, RejectionClass::Authentication));
            }
        };
        positive(phase, &reply)
    }
}

async fn encrypt(
    encryptor: &Encryptor,
    stream: impl Stream + 'static,
    handover: &Handover<'_>,
) -> Result<Box<dyn Stream>, SendError> {
    let encrypting = encryptor.encrypt(stream);
    let stream = within(Phase::Handshake, handover.overflow, encrypting).await??;
    Ok(Box::new(stream))
}

/// Introduces the service, by HELO to servers that do not know EHLO (RFC 5321, 3.2).
async fn hello(session: &mut Session, name: &str) -> Result<Extensions, SendError> {
    let phase = Phase::Hello;
    let reply = session.command(phase, &format!("EHLO {name}")).await?;
    if reply.is_positive() && !reply.is_cut {
        return Ok(Extensions::parse(&reply));
    }
    // 521 and 554 reject the client, so HELO would fail as well.
    if !reply.is_permanent_failure() || matches!(reply.code, 521 | 554) {
        positive(phase, &reply)?;
    } else {
        positive(
            phase,
            &session.command(phase, &format!("HELO {name}")).await?,
        )?;
    }
    Ok(Extensions::default())
}

/// Sends the e-mail in an open dialogue.
async fn hand_over(
    session: &mut Session,
    extensions: &Extensions,
    letter: &Letter<'_>,
    handover: &Handover<'_>,
) -> Result<(), SendError> {
    // Only the address of the sender can have other characters than ASCII.
    let parameters = if letter.text.is_ascii() && letter.from.is_ascii() {
        ""
    } else if extensions.smtputf8 {
        " BODY=8BITMIME SMTPUTF8"
    } else {
        let failure = "the server does not offer SMTPUTF8, which MAIL_FROM needs";
        return Err(SendError::new(failure, RejectionClass::Sender));
    };
    let sender = format!("MAIL FROM:<{}>{parameters}", letter.from);
    positive(
        Phase::Sender,
        &session.command(Phase::Sender, &sender).await?,
    )?;
    let recipient = format!("RCPT TO:<{}>", letter.to);
    let addressed = session.command(Phase::Recipient, &recipient).await?;
    positive(Phase::Recipient, &addressed)?;
    handover.check()?;
    let reply = session.command(Phase::Data, "DATA").await?;
    if !reply.is_intermediate() || reply.is_cut {
        return Err(failure::negative_reply(Phase::Data, &reply));
    }
    // The last check before the text is sent.
    handover.check()?;
    session.send_text(&dot_stuffed(letter.text)).await?;
    let verdict = session.reply(Phase::EndOfData).await?;
    if verdict.is_positive() {
        return Ok(());
    }
    Err(failure::negative_reply(Phase::EndOfData, &verdict))
}

fn positive(phase: Phase, reply: &Reply) -> Result<(), SendError> {
    if !reply.is_positive() {
        return Err(failure::negative_reply(phase, reply));
    }
    if reply.is_cut {
        return Err(failure::broken(phase, io::ErrorKind::InvalidData));
    }
    Ok(())
}

/// Encodes the text for transmission (RFC 5321, 4.5.2): lines end with CRLF, a leading dot is
/// doubled, and a lone dot ends the text.
fn dot_stuffed(text: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(text.len() + text.len() / 32 + 5);
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    // Lone CR and LF become CRLF, as some servers take them for line ends.
    for line in lines_of(text) {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').flat_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|byte| *byte == b'\r')
    })
}

impl Extensions {
    /// Parses the keywords, in any case and also in the old form `AUTH=LOGIN`.
    fn parse(reply: &Reply) -> Self {
        let mut found = Self::default();
        // The first line is the server's name.
        for line in reply.texts.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line
                .split(|c: char| c.is_whitespace() || c == '=')
                .filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => found.starttls = true,
                Some("SMTPUTF8") => found.smtputf8 = true,
                Some("AUTH") => {
                    let offered = words.filter_map(|word| match word {
                        "PLAIN" => Some(Mechanism::Plain),
                        "LOGIN" => Some(Mechanism::Login),
                        _ => None,
                    });
                    found.login = found.login.max(offered.max());
                }
                Some(_) | None => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
