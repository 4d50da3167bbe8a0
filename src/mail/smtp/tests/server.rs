//! A scripted server at the other end of a pipe.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    time,
};

use crate::{
    clock::Clock,
    mail::{
        HeloName, SmtpUrl,
        handover::{Handover, Lease},
        send_error::SendError,
        smtp::{Letter, Relay},
        workers::OverflowPermits,
    },
};

/// The text of every mail.
pub(super) const TEXT: &str = "Subject: x\r\n\r\n.\r\n..b\r\nc\r\n";

/// The action of a server instead of its usual reply.
#[derive(Clone, Copy)]
pub(super) enum Say {
    Bytes(&'static [u8]),
    /// The usual reply, after this time.
    After(Duration),
    Close,
}

/// A server that accepts every mail, except for scripted replies.
#[derive(Default)]
pub(super) struct Server {
    script: Vec<(&'static str, Say)>,
    offers: &'static str,
    has_no_overflow: bool,
    has_no_claim: bool,
    from: Option<&'static str>,
}

/// The outcome of sending a mail.
pub(super) struct Dialogue {
    pub(super) verdict: Result<(), SendError>,
    pub(super) commands: Vec<String>,
    pub(super) text: Vec<u8>,
    pub(super) copies: usize,
    pub(super) elapsed: Duration,
}

impl Server {
    /// Scripts the reply to a command with this prefix; "" is the connection, "text" the final dot.
    pub(super) fn at(mut self, beginning: &'static str, say: Say) -> Self {
        self.script.push((beginning, say));
        self
    }

    pub(super) const fn offering(mut self, extension: &'static str) -> Self {
        self.offers = extension;
        self
    }

    /// Exhausts the permits for slow attempts.
    pub(super) const fn under_load(mut self) -> Self {
        self.has_no_overflow = true;
        self
    }

    pub(super) const fn without_claim(mut self) -> Self {
        self.has_no_claim = true;
        self
    }

    pub(super) const fn from(mut self, sender: &'static str) -> Self {
        self.from = Some(sender);
        self
    }

    fn usual_reply(&self, command: &str) -> String {
        match command {
            "" => "220 mx.example ESMTP\r\n".into(),
            "DATA" => "354 go on\r\n".into(),
            "AUTH LOGIN" => "334 VXNlcm5hbWU6\r\n".into(),
            // The first of the two answers to AUTH LOGIN.
            "dQ==" => "334 UGFzc3dvcmQ6\r\n".into(),
            _ if command.starts_with("AUTH PLAIN") && self.offers.ends_with("later") => {
                "334 \r\n".into()
            }
            _ if command.starts_with("EHLO") && !self.offers.is_empty() => {
                format!("250-mx.example\r\n250 {}\r\n", self.offers)
            }
            _ => "250 Ok\r\n".into(),
        }
    }

    /// Returns the commands and the texts of the accepted mails, without the final dots.
    async fn serve(self, stream: DuplexStream) -> (Vec<String>, Vec<Vec<u8>>) {
        let mut stream = BufReader::new(stream);
        let (mut commands, mut texts) = (Vec::new(), Vec::new());
        let mut command = String::new();
        loop {
            let key = if command.is_empty() {
                ""
            } else {
                command.as_str()
            };
            let scripted = self.script.iter().find(|(beginning, _)| {
                key.is_empty() == beginning.is_empty() && key.starts_with(beginning)
            });
            let usual = self.usual_reply(key).into_bytes();
            let reply = match scripted.map(|(_, say)| *say) {
                None => usual,
                Some(Say::Bytes(bytes)) => bytes.to_vec(),
                Some(Say::After(wait)) => {
                    time::sleep(wait).await;
                    usual
                }
                Some(Say::Close) => return (commands, texts),
            };
            if stream.write_all(&reply).await.is_err() || !reply.ends_with(b"\n") {
                return (commands, texts);
            }
            if key == "DATA" && reply.starts_with(b"35") {
                let Some(text) = read_text(&mut stream).await else {
                    return (commands, texts);
                };
                texts.push(text);
                "text".clone_into(&mut command);
                continue;
            }
            command.clear();
            let read = stream.read_line(&mut command).await;
            if read.unwrap_or_default() == 0 || command == "QUIT\r\n" {
                return (commands, texts);
            }
            command.truncate(command.len() - 2);
            commands.push(command.clone());
        }
    }
}

async fn read_text(stream: &mut BufReader<DuplexStream>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        if line == b".\r\n" {
            return Some(text);
        }
        text.extend(line);
    }
}

/// Sends a mail to the server, without TLS.
pub(super) async fn converse(server: Server) -> Dialogue {
    converse_with("smtp://127.0.0.1?tls=none", server).await
}

pub(super) async fn converse_with(url: &str, server: Server) -> Dialogue {
    let relay = Relay::new(SmtpUrl::parse(url).unwrap(), HeloName::default()).unwrap();
    let (client, peer) = duplex(64 * 1024);
    let now: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().unwrap();
    let end = if server.has_no_claim {
        TimeDelta::zero()
    } else {
        TimeDelta::days(1)
    };
    let lease = Lease::new(Clock::manual(now), now + end);
    let overflow = OverflowPermits::new(usize::from(!server.has_no_overflow));
    let letter = Letter {
        from: server.from.unwrap_or("service@example.com"),
        to: "anna@example.com",
        text: TEXT.as_bytes(),
    };
    let serving = tokio::spawn(server.serve(peer));
    let handover = Handover {
        lease: &lease,
        overflow: &overflow,
    };
    let began = time::Instant::now();
    let client = Box::new(client);
    let verdict = relay
        .converse(client, "contact.example", &letter, &handover)
        .await;
    let elapsed = began.elapsed();
    let (commands, texts) = serving.await.unwrap();
    Dialogue {
        verdict,
        commands,
        copies: texts.len(),
        text: texts.concat(),
        elapsed,
    }
}
