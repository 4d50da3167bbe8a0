//! How a mail leaves: over SMTP, or as a file for trying the service out.

use std::{fmt, sync::Arc, time::Duration};

use lettre::{
    Message,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret;

use super::{
    folder::MailFolder,
    settings::{Encryption, SmtpUrl},
};
use crate::domain::mail::QueuedMail;

/// For the whole dialogue, and so for each of its steps.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(25);
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How a mail leaves.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Over SMTP.
    Smtp(Arc<Relay>),
    /// As a file in a folder.
    Folder(MailFolder),
}

/// The server that takes mails over. Every mail has a connection of its own: one that was
/// shared could have been closed meanwhile, or hold the remains of a mail that was given up.
pub struct Relay {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
}

/// It may hold a password, so it is not shown.
impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay(…)")
    }
}

/// Why a mail did not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What happened, free of personal data.
    pub(super) code: String,
    /// Whether trying again is of no use.
    pub(super) is_final: bool,
    /// Whether it is the address that was refused for good, or a mail to it, and not whom the
    /// mail comes from.
    pub(super) is_bounce: bool,
}

impl Refusal {
    pub(super) fn temporary(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            is_final: false,
            is_bounce: false,
        }
    }
}

impl Refusal {
    /// Of this service or its sender, whatever the mail: the operator has to mend something,
    /// and until then no mail is given up early.
    fn not_final(self) -> Self {
        Self {
            is_final: false,
            ..self
        }
    }
}

impl Transport {
    /// Over SMTP, to the server of `url`.
    ///
    /// # Errors
    /// A line that says why TLS cannot be set up.
    pub fn smtp(url: &SmtpUrl) -> Result<Self, String> {
        let tls = match url.encryption {
            Encryption::None => None,
            Encryption::Offered | Encryption::Required | Encryption::Wrapped => Some(
                TlsParameters::new(url.host.clone())
                    .map_err(|_| "TLS cannot be set up for this host".to_owned())?,
            ),
        };
        let credentials = url.credentials.as_ref().map(|(user, password)| {
            Credentials::new(user.clone(), password.expose_secret().to_owned())
        });
        Ok(Self::Smtp(Arc::new(Relay {
            host: url.host.clone(),
            port: url.port,
            encryption: url.encryption,
            tls,
            credentials,
            hello: ClientId::default(),
        })))
    }

    /// Hands a mail over.
    pub(super) async fn send(&self, mail: &QueuedMail, message: &Message) -> Result<(), Refusal> {
        match self {
            Self::Smtp(relay) => {
                let sending = relay.send(message);
                match tokio::time::timeout(SEND_TIMEOUT, sending).await {
                    Ok(verdict) => verdict,
                    Err(_) => Err(Refusal::temporary("timeout")),
                }
            }
            Self::Folder(folder) => {
                let bytes = message.formatted();
                let written = folder.write(&mail.customer_number, mail.id, bytes).await;
                written.map_err(|error| Refusal::temporary(format!("file: {}", error.kind())))
            }
        }
    }
}

impl Relay {
    /// The server's answer to the mail is the verdict. What it makes of the goodbye after
    /// that concerns nobody: the library would wait for it, and take a silent server for
    /// one that did not take the mail.
    async fn send(&self, message: &Message) -> Result<(), Refusal> {
        let connected = self.connect().await;
        let mut connection = connected.map_err(|error| refusal(&error).not_final())?;
        let verdict = hand_over(&mut connection, message).await;
        tokio::spawn(async move {
            let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
        });
        verdict
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let wrapper = self
            .tls
            .clone()
            .filter(|_| self.encryption == Encryption::Wrapped);
        let server = (self.host.as_str(), self.port);
        let timeout = Some(SEND_TIMEOUT);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, timeout, &self.hello, wrapper, None)
                .await?;
        let upgrades = match self.encryption {
            Encryption::Required => true,
            Encryption::Offered => connection.can_starttls(),
            Encryption::None | Encryption::Wrapped => false,
        };
        if let Some(tls) = self.tls.clone().filter(|_| upgrades) {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await?;
        }
        Ok(connection)
    }
}

async fn hand_over(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), Refusal> {
    let envelope = message.envelope();
    let sender = Mail::new(envelope.from().cloned(), Vec::new());
    let accepted = connection.command(sender).await;
    accepted.map_err(|error| refusal(&error).not_final())?;
    let addressed = address(connection, message).await;
    addressed.map_err(|error| {
        let refusal = refusal(&error);
        Refusal {
            is_bounce: refusal.is_final,
            ..refusal
        }
    })
}

/// What follows the name of the sender.
async fn address(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), SmtpError> {
    for recipient in message.envelope().to() {
        let recipient = Rcpt::new(recipient.clone(), Vec::new());
        connection.command(recipient).await?;
    }
    connection.command(Data).await?;
    connection.message(&message.formatted()).await?;
    Ok(())
}

/// A 5xx is final, but for 50x to 53x, which complain of the dialogue or the login: there
/// the operator has to mend something, and the mail can still leave.
fn refusal(error: &SmtpError) -> Refusal {
    let Some(code) = error.status().map(u16::from) else {
        return Refusal::temporary(if error.is_tls() {
            "TLS"
        } else if error.is_timeout() {
            "timeout"
        } else {
            "connection"
        });
    };
    Refusal {
        code: format!("SMTP {code}"),
        is_final: is_final(code),
        is_bounce: false,
    }
}

fn is_final(code: u16) -> bool {
    (540..600).contains(&code)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn only_what_is_about_the_mail_itself_is_final() {
        for code in [550, 551, 552, 553, 554, 556] {
            assert!(is_final(code), "{code}");
        }
        for code in [421, 450, 451, 452, 500, 502, 503, 530, 534, 535, 538] {
            assert!(!is_final(code), "{code}");
        }
    }

    /// A server that refuses the first line that begins so; "": whoever connects.
    async fn refusing(beginning: &'static str) -> SmtpUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let mut said = Some(String::new());
            while let Some(line) = said {
                let answer =
                    if line.starts_with(beginning) && line.is_empty() == beginning.is_empty() {
                        "554 5.7.1 no\r\n"
                    } else if line.is_empty() {
                        "220 here\r\n"
                    } else {
                        "250 yes\r\n"
                    };
                writer.write_all(answer.as_bytes()).await.unwrap();
                said = lines.next_line().await.unwrap_or_default();
            }
        });
        SmtpUrl::parse(&format!("smtp://{address}")).unwrap()
    }

    #[rstest]
    #[case::whoever_connects("", false)]
    #[case::the_sender("MAIL", false)]
    #[case::the_recipient("RCPT", true)]
    #[tokio::test]
    async fn a_server_that_refuses_everybody_gives_up_no_mail(
        #[case] beginning: &'static str,
        #[case] is_final: bool,
    ) {
        let Transport::Smtp(relay) = Transport::smtp(&refusing(beginning).await).unwrap() else {
            panic!("no relay");
        };
        let message = Message::builder()
            .from("service@example.com".parse().unwrap())
            .to("anna@example.com".parse().unwrap())
            .body(String::new())
            .unwrap();
        let refusal = relay.send(&message).await.unwrap_err();
        assert_eq!(refusal.code, "SMTP 554");
        assert_eq!((refusal.is_final, refusal.is_bounce), (is_final, is_final));
    }
}
