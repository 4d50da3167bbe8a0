//! A connection to the mail server: commands and replies, each within the timeout of its phase.

use std::{future::Future, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::{self, Instant},
};

use super::{failure, phase::Phase, reply::Reply};
use crate::mail::{send_error::SendError, workers::OverflowPermits};

/// Interval at which a slow phase checks for load.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(25);
/// Limit for the final reply of a server that closes the connection.
const FINAL_REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// A byte stream, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The connection.
pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
    overflow: OverflowPermits,
}

impl Session {
    pub(super) fn new(stream: Box<dyn Stream>, overflow: OverflowPermits) -> Self {
        Self {
            stream: BufReader::new(stream),
            overflow,
        }
    }

    /// Sends a command, given without line end, and reads the reply.
    ///
    /// # Errors
    /// A [`SendError`] if there is no reply.
    pub(super) async fn command(&mut self, phase: Phase, line: &str) -> Result<Reply, SendError> {
        let line = format!("{line}\r\n");
        if let Err(kind) = self.write(phase, line.as_bytes()).await? {
            return self.final_reply(phase, kind).await;
        }
        self.reply(phase).await
    }

    /// Sends the text of an e-mail with its final dot. The reply is yet to be read.
    ///
    /// # Errors
    /// A [`SendError`] if the server did not accept all of it.
    pub(super) async fn send_text(&mut self, text: &[u8]) -> Result<(), SendError> {
        match self.write(Phase::Text, text).await? {
            Ok(()) => Ok(()),
            Err(kind) => {
                let reply = self.final_reply(Phase::Text, kind).await?;
                Err(failure::negative_reply(Phase::Text, &reply))
            }
        }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// A [`SendError`] if there is no reply.
    pub(super) async fn reply(&mut self, phase: Phase) -> Result<Reply, SendError> {
        let reading = Reply::read(&mut self.stream);
        within(phase, &self.overflow, reading)
            .await?
            .map_err(|why| failure::unreadable(phase, why))
    }

    /// Returns the stream, for TLS.
    ///
    /// # Errors
    /// A [`SendError`] if the server has sent more bytes: they were not encrypted, and must not be
    /// read as encrypted ones.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, SendError> {
        if self.stream.buffer().is_empty() {
            Ok(self.stream.into_inner())
        } else {
            Err(failure::tls("unencrypted bytes after STARTTLS"))
        }
    }

    /// Ends the dialogue with QUIT, as RFC 5321 requires.
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
    ) -> Result<Result<(), io::ErrorKind>, SendError> {
        let stream = &mut self.stream;
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let written = within(phase, &self.overflow, writing).await?;
        Ok(written.map_err(|error| error.kind()))
    }

    /// Reads the reply with which many servers close the connection, such as 421 or 552.
    async fn final_reply(&mut self, phase: Phase, kind: io::ErrorKind) -> Result<Reply, SendError> {
        let reading = Reply::read(&mut self.stream);
        match time::timeout(FINAL_REPLY_TIMEOUT, reading).await {
            Ok(Ok(reply)) if reply.code >= 400 => Ok(reply),
            _ => Err(failure::broken(phase, kind)),
        }
    }
}

/// Waits for `work` until the timeout of the phase, or until no permit for slow attempts is left.
pub(super) async fn within<T>(
    phase: Phase,
    overflow: &OverflowPermits,
    work: impl Future<Output = T>,
) -> Result<T, SendError> {
    let deadline = Instant::now() + phase.timeout();
    tokio::pin!(work);
    loop {
        let next_check = deadline.min(Instant::now() + PRESSURE_INTERVAL);
        if let Ok(done) = time::timeout_at(next_check, &mut work).await {
            return Ok(done);
        }
        if Instant::now() >= deadline {
            return Err(failure::timeout(phase));
        }
        if phase.is_abandonable() && overflow.is_exhausted() {
            return Err(failure::overloaded(phase));
        }
    }
}
