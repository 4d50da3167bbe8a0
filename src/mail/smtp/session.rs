//! One connection to the mail server: commands out, replies in, each within its phase's time.

use std::{future::Future, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::{self, Instant},
};

use super::{phase::Phase, refusal, reply::Reply};
use crate::mail::{refusal::Refusal, workers::Crowd};

/// A phase that takes longer may be cut short when too many mails wait.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(25);
/// How long a server that refuses further bytes may take to say why.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The connection.
pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
    crowd: Crowd,
}

impl Session {
    pub(super) fn new(stream: Box<dyn Stream>, crowd: Crowd) -> Self {
        Self {
            stream: BufReader::new(stream),
            crowd,
        }
    }

    /// Sends a command, without its line end, and reads the reply, whatever it says.
    ///
    /// # Errors
    /// A [`Refusal`] where there is none.
    pub(super) async fn command(&mut self, phase: Phase, line: &str) -> Result<Reply, Refusal> {
        let line = format!("{line}\r\n");
        if let Err(kind) = self.write(phase, line.as_bytes()).await? {
            return self.last_word(phase, kind).await;
        }
        self.reply(phase).await
    }

    /// Sends the text of a mail and the dot that ends it. The reply is still to be read.
    ///
    /// # Errors
    /// A [`Refusal`] where the server did not take all of it.
    pub(super) async fn send_text(&mut self, text: &[u8]) -> Result<(), Refusal> {
        match self.write(Phase::Text, text).await? {
            Ok(()) => Ok(()),
            Err(kind) => {
                let reply = self.last_word(Phase::Text, kind).await?;
                Err(refusal::of_reply(Phase::Text, &reply))
            }
        }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// A [`Refusal`] where there is none.
    pub(super) async fn reply(&mut self, phase: Phase) -> Result<Reply, Refusal> {
        let reading = Reply::read(&mut self.stream);
        within(phase, &self.crowd, reading)
            .await?
            .map_err(|why| refusal::unreadable(phase, why))
    }

    /// Gives the stream back for TLS.
    ///
    /// # Errors
    /// A [`Refusal`] where the server has sent more than it should: these bytes were not
    /// encrypted, and must not count as if they were.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, Refusal> {
        if self.stream.buffer().is_empty() {
            Ok(self.stream.into_inner())
        } else {
            Err(refusal::tls("unencrypted bytes after STARTTLS"))
        }
    }

    /// Ends the dialogue as RFC 5321 wants it.
    pub(super) async fn quit(mut self) {
        if self.stream.write_all(b"QUIT\r\n").await.is_ok() && self.stream.flush().await.is_ok() {
            let _ = Reply::read(&mut self.stream).await;
        }
        let _ = self.stream.shutdown().await;
    }

    async fn write(
        &mut self,
        phase: Phase,
        bytes: &[u8],
    ) -> Result<Result<(), io::ErrorKind>, Refusal> {
        let stream = &mut self.stream;
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let written = within(phase, &self.crowd, writing).await?;
        Ok(written.map_err(|error| error.kind()))
    }

    /// A server that closes the connection often says why, such as 421 or 552.
    async fn last_word(&mut self, phase: Phase, kind: io::ErrorKind) -> Result<Reply, Refusal> {
        let reading = Reply::read(&mut self.stream);
        match time::timeout(LAST_WORD_TIMEOUT, reading).await {
            Ok(Ok(reply)) if reply.code >= 400 => Ok(reply),
            _ => Err(refusal::broken(phase, kind)),
        }
    }
}

/// Waits for `work` as long as the phase may take, or until the crowd is too large.
pub(super) async fn within<T>(
    phase: Phase,
    crowd: &Crowd,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let deadline = Instant::now() + phase.timeout();
    tokio::pin!(work);
    loop {
        let next_look = deadline.min(Instant::now() + PRESSURE_INTERVAL);
        if let Ok(done) = time::timeout_at(next_look, &mut work).await {
            return Ok(done);
        }
        if Instant::now() >= deadline {
            return Err(refusal::timeout(phase));
        }
        if phase.is_abandonable() && crowd.is_full() {
            return Err(refusal::crowded(phase));
        }
    }
}
