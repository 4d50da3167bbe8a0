//! How a mail leaves: over SMTP, or as a file for trying the service out.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::settings::{Encryption, SmtpUrl};

/// For the whole dialogue, and so for each of its steps.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(25);

/// How a mail leaves.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Over SMTP. Every mail has a connection of its own: one that was shared could have
    /// been closed meanwhile, or hold the remains of a mail that was given up.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// As `<id>.eml` in a folder.
    Folder(PathBuf),
}

/// Why a mail did not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What happened, free of personal data.
    pub(super) code: String,
    /// Whether trying again is of no use.
    pub(super) is_final: bool,
}

impl Refusal {
    pub(super) fn temporary(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            is_final: false,
        }
    }
}

impl Transport {
    /// Over SMTP, to the server of `url`.
    ///
    /// # Errors
    /// A line that says why TLS cannot be set up.
    pub fn smtp(url: &SmtpUrl) -> Result<Self, String> {
        let tls = || {
            TlsParameters::new(url.host.clone())
                .map_err(|_| "TLS cannot be set up for this host".to_owned())
        };
        let tls = match url.encryption {
            Encryption::None => Tls::None,
            Encryption::Offered => Tls::Opportunistic(tls()?),
            Encryption::Required => Tls::Required(tls()?),
            Encryption::Wrapped => Tls::Wrapper(tls()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&url.host)
            .port(url.port)
            .tls(tls)
            .timeout(Some(SEND_TIMEOUT));
        if let Some((user, password)) = &url.credentials {
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self::Smtp(builder.build()))
    }

    /// Hands a mail over.
    pub(super) async fn send(&self, id: Uuid, message: &Message) -> Result<(), Refusal> {
        match self {
            Self::Smtp(smtp) => {
                let envelope = message.envelope().clone();
                let bytes = message.formatted();
                let sending = smtp.send_raw(&envelope, &bytes);
                match tokio::time::timeout(SEND_TIMEOUT, sending).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(refusal(&error)),
                    Err(_) => Err(Refusal::temporary("timeout")),
                }
            }
            Self::Folder(folder) => {
                let (folder, bytes) = (folder.clone(), message.formatted());
                tokio::task::spawn_blocking(move || write(&folder, id, &bytes))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
                    .map_err(|error| Refusal::temporary(format!("file: {}", error.kind())))
            }
        }
    }
}

/// A 5xx is final, but for those that complain of the dialogue or the login: there the
/// operator has to mend something, and the mail can still leave.
fn refusal(error: &lettre::transport::smtp::Error) -> Refusal {
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
    }
}

fn is_final(code: u16) -> bool {
    (540..600).contains(&code)
}

/// Under another name first, so that nobody reads half a mail.
fn write(folder: &Path, id: Uuid, bytes: &[u8]) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let unfinished = folder.join(format!("{id}.part"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(format!("{id}.eml")))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_file_is_written_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let mails = folder.path().join("data/mail");
        let id = Uuid::from_u128(1);
        for content in ["one", "two"] {
            write(&mails, id, content.as_bytes()).unwrap();
            let file = mails.join(format!("{id}.eml"));
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(&mails).unwrap().count(), 1);
    }
}
