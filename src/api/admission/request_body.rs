//! Requests on their way in: a message is read before anything is spent on it, and the progress of a
//! stream of messages is known to its response.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tonic::{Status, body::Body};

use super::concurrency_limit::{ConcurrencyLimit, Permit};
use crate::api::admission::dispatch::overloaded;
use crate::error::{Error, Result};

/// Of a gRPC message: a flag and a length.
const PREFIX_BYTES: usize = 5;

/// Reads the one message of a request, whose body then holds it. While its bytes are on their way, it
/// holds a permit of `pending`.
///
/// # Errors
/// [`Error::InvalidFields`] for more than `max_bytes` or a body that breaks off,
/// [`Error::Overloaded`] where no permit is left or it went to another request.
pub(in crate::api) async fn read_message(
    mut body: Body,
    max_bytes: usize,
    pending: &ConcurrencyLimit,
    client: &str,
) -> Result<Body> {
    let mut message = BytesMut::new();
    let mut permit: Option<Permit> = None;
    loop {
        // Most messages come with their headers.
        let frame = if let Some(frame) = body.frame().now_or_never() {
            frame
        } else {
            if permit.is_none() {
                permit = pending.acquire(client);
            }
            let permit = permit.as_mut().ok_or_else(overloaded)?;
            permit.wait_for_client();
            tokio::select! {
                frame = body.frame() => frame,
                () = permit.evicted() => return Err(overloaded()),
            }
        };
        let Some(frame) = frame else { break };
        let broken = |_| Error::invalid_field("request", "was not sent to its end");
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if message.len() + data.len() > max_bytes + PREFIX_BYTES {
            return Err(Error::invalid_field(
                "request",
                "is longer than this RPC allows",
            ));
        }
        if message.is_empty() && body.is_end_stream() {
            return Ok(Body::new(Full::new(data)));
        }
        message.extend_from_slice(&data);
        if body.is_end_stream() {
            break;
        }
    }
    Ok(Body::new(Full::new(message.freeze())))
}

/// Whether messages of a request still come. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct RequestProgress(Arc<Mutex<Progress>>);

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    /// Messages are being read or worked on.
    #[default]
    Busy,
    /// The server has asked for the next message since.
    Quiet(Instant),
    /// No more message can come, or is asked for.
    Ended,
}

impl RequestProgress {
    /// Returns the progress of a request that is whole.
    pub(in crate::api) fn ended() -> Self {
        Self(Arc::new(Mutex::new(Progress::Ended)))
    }

    /// Returns how long the server has waited for a message; `None` if it does not.
    pub(in crate::api) fn quiet_for(&self) -> Option<Duration> {
        match *self.lock() {
            Progress::Quiet(since) => Some(since.elapsed()),
            Progress::Busy | Progress::Ended => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same body, whose progress is known.
pub(in crate::api) fn observed(body: Body) -> (Body, RequestProgress) {
    let progress = RequestProgress::default();
    let observed = Observed {
        inner: body,
        messages: Messages::default(),
        progress: progress.clone(),
    };
    (Body::new(observed), progress)
}

struct Observed {
    inner: Body,
    messages: Messages,
    progress: RequestProgress,
}

/// Finds where the messages of a body end: each follows a flag and four bytes of length.
#[derive(Debug, Default)]
struct Messages {
    prefix: Vec<u8>,
    left: usize,
}

impl Messages {
    fn is_any_completed_by(&mut self, mut data: &[u8]) -> bool {
        let mut is_completed = false;
        while !data.is_empty() {
            let wanted = if self.left > 0 {
                self.left
            } else {
                PREFIX_BYTES - self.prefix.len()
            };
            let (taken, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            if self.left > 0 {
                self.left -= taken.len();
            } else {
                self.prefix.extend_from_slice(taken);
                let Some([_, length @ ..]) = self.prefix.first_chunk::<PREFIX_BYTES>() else {
                    continue;
                };
                self.left = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                self.prefix.clear();
            }
            is_completed |= self.left == 0;
        }
        is_completed
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        let mut progress = this.progress.lock();
        if polled.is_pending() && matches!(*progress, Progress::Busy) {
            *progress = Progress::Quiet(Instant::now());
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) if !this.inner.is_end_stream() => {
                // Bytes that complete no message are no progress.
                let data = frame.data_ref();
                if data.is_some_and(|data| this.messages.is_any_completed_by(data)) {
                    *progress = Progress::Busy;
                }
            }
            Some(_) | None => *progress = Progress::Ended,
        }
        drop(progress);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        *self.progress.lock() = Progress::Ended;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::StreamBody;
    use rstest::rstest;
    use tokio::sync::mpsc;

    use super::*;
    use crate::observability::metrics::Limit;

    fn pending(max: usize) -> ConcurrencyLimit {
        ConcurrencyLimit::new(
            (max, Limit::PendingMessages),
            (max, Limit::ClientPendingMessages),
        )
    }

    /// A body of the frames that are sent.
    fn body() -> (mpsc::UnboundedSender<&'static [u8]>, Body) {
        let (sender, mut frames) = mpsc::unbounded_channel();
        let frames = stream::poll_fn(move |context| frames.poll_recv(context));
        let frames = futures::StreamExt::map(frames, |data: &[u8]| {
            Ok::<_, Status>(Frame::data(Bytes::from_static(data)))
        });
        (sender, Body::new(StreamBody::new(frames)))
    }

    async fn bytes_of(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_message_that_is_there_needs_no_permit() {
        let whole = Body::new(Full::from("message"));
        let read = read_message(whole, 7, &pending(0), "a").await.unwrap();
        assert_eq!(bytes_of(read).await, "message");
    }

    #[tokio::test]
    async fn a_message_that_comes_in_parts_holds_a_permit_until_it_is_there() {
        let (sender, parts) = body();
        let pending = pending(1);
        let mut read = Box::pin(read_message(parts, 7, &pending, "a"));
        sender.send(b"mess").unwrap();
        assert!((&mut read).now_or_never().is_none());
        assert!(pending.acquire("b").is_none());
        sender.send(b"age").unwrap();
        drop(sender);
        assert_eq!(bytes_of(read.await.unwrap()).await, "message");
        assert!(pending.acquire("b").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_come_makes_room() {
        let (_sender, silent) = body();
        let pending = pending(1);
        let read = read_message(silent, 7, &pending, "a");
        let newcomer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pending.acquire("b")
        };
        let (read, newcomer) = tokio::join!(read, newcomer);
        assert!(newcomer.is_some());
        assert!(matches!(read, Err(Error::Overloaded { .. })));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_not_kept() {
        let (sender, long) = body();
        for _ in 0..3 {
            sender.send(b"12345").unwrap();
        }
        let read = read_message(long, 9, &pending(1), "a").await;
        assert!(matches!(read, Err(Error::InvalidFields(_))));
    }

    #[rstest]
    #[case::whole(12)]
    #[case::byte_by_byte(1)]
    #[case::across_prefixes(7)]
    fn ends_of_messages_are_found_however_the_bytes_are_cut(#[case] piece: usize) {
        let bytes = [&[0, 0, 0, 0, 2, 7, 7][..], &[1, 0, 0, 0, 0]].concat();
        let mut messages = Messages::default();
        let mut ends = Vec::new();
        let mut read = 0;
        for piece in bytes.chunks(piece) {
            read += piece.len();
            if messages.is_any_completed_by(piece) {
                ends.push(read);
            }
        }
        let all = if piece == 12 { vec![12] } else { vec![7, 12] };
        assert_eq!(ends, all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dribble_is_no_request() {
        let (sender, parts) = body();
        let (mut parts, progress) = observed(parts);
        assert!(parts.frame().now_or_never().is_none());
        for byte in [&[0][..], &[0], &[0]] {
            tokio::time::advance(Duration::from_secs(20)).await;
            sender.send(byte).unwrap();
            parts.frame().await.unwrap().unwrap();
        }
        assert_eq!(progress.quiet_for(), Some(Duration::from_mins(1)));
        sender.send(&[0, 1, 7]).unwrap();
        parts.frame().await.unwrap().unwrap();
        assert_eq!(progress.quiet_for(), None);
        drop(parts);
        assert!(matches!(*progress.lock(), Progress::Ended));
    }
}
